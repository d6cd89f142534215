//! The application of each machine. It decides from the events alone, so a run depends only on the
//! bytes received.

pub mod add;
pub mod chat;
pub mod coin;
pub mod echo;
pub mod file;
pub mod guess;
pub mod hello;
pub mod math;
pub mod rps;

use std::fmt::Debug;

use socklab_core::machine::{EventView, Machine};

use crate::draw::Draw;

pub use add::{AddClient, AddEvent, AddServer, add_agrees};
pub use chat::{ChatEvent, ChatSide, Words, chat_agrees};
pub use coin::{CoinClient, CoinEvent, CoinServer, coin_agrees, coin_replies};
pub use echo::{EchoClient, EchoServer, Message, Reply, ShortEchoServer};
pub use file::{FileClient, FileEvent, FileServer, FileServerEvent, file_agrees};
pub use guess::{GuessClient, GuessEvent, GuessServer, guess_agrees, guess_game};
pub use hello::{HelloClient, HelloServer, hello_agrees};
pub use math::{MathClient, MathServer};
pub use rps::{RpsClient, RpsEvent, RpsServer, rps_agrees};

/// A command of the machine of a role.
pub type Command<'c, R> = <<R as Role>::Machine as Machine>::Command<'c>;

/// A machine's application, and how its events compare.
pub trait Role: Clone {
    /// The machine it drives.
    type Machine: Machine + PartialEq + Debug;
    /// The machine's event in a form that owns its bytes.
    type Event: Clone + PartialEq + Debug;

    /// Whether the application gives commands only when the machine asks with `Need::Command`.
    /// Otherwise it gives them at the start and after each event.
    ///
    /// With turns, a reset or a timeout races with the command: the machine may end the session at
    /// once, or let the application have its turn first. Everything before that point must still be
    /// the same.
    const TAKES_TURNS: bool = false;

    /// Whether an orderly close ends the application's turn as a reset does. This holds for
    /// protocols that cannot continue once the peer has closed its sending side.
    const CLOSE_ENDS_TURN: bool = false;

    /// Whether the machine may ask for
    /// [`Need::InputOrIdle`](socklab_core::machine::Need::InputOrIdle). Then the first read that
    /// times out is reported as idle, and the second as the end.
    const WAITS_FOR_IDLE: bool = false;

    /// Creates the machine in its initial state.
    fn machine(&self) -> Self::Machine;

    /// Converts an event into one that owns its bytes.
    fn own(event: EventView<'_, Self::Machine>) -> Self::Event;

    /// Appends `next` to `last` and returns `true` if both are pieces of one message.
    fn append(last: &mut Self::Event, next: &Self::Event) -> bool {
        let _ = (last, next);
        false
    }

    /// Called for each event, before its pieces are joined.
    fn emitted(&mut self, event: &Self::Event) {
        let _ = event;
    }

    /// Returns the next command of the application.
    fn command(&self) -> Option<Command<'_, Self>> {
        None
    }

    /// Called when the machine has accepted the [`command`](Self::command).
    fn given(&mut self) {}

    /// Called when the command does not fit in an empty output buffer. Returns whether it can be
    /// given in a smaller form.
    fn split(&mut self) -> bool {
        false
    }

    /// Returns the outbound payload that is not sent yet.
    fn payload(&self) -> &[u8] {
        &[]
    }

    /// Called when `n` bytes of the payload have been sent.
    fn advance_outbound(&mut self, n: usize) {
        let _ = n;
    }

    /// Returns the event for inbound payload that did not pass through the machine.
    fn advance_inbound(bytes: &[u8], last: bool) -> Option<Self::Event> {
        let _ = (bytes, last);
        None
    }

    /// Returns a command that must be refused after the end.
    fn probe() -> Option<Command<'static, Self>> {
        None
    }
}

/// Number of a role in the first byte of a fuzz input, from the table in the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleNumber {
    /// The number. It is never changed and never used again.
    pub number: u8,
    /// Name of the protocol.
    pub protocol: &'static str,
    /// Name of the role in its module.
    pub role: &'static str,
    /// Whether a server pool can have it.
    pub is_server: bool,
}

/// What is done with a role that was drawn.
pub trait RoleVisitor {
    /// Gets the role, and what its peer sends.
    fn visit<R: Role>(self, role: &R, bytes: &[u8]);
}

macro_rules! roles {
    ($([$side:ident] $number:literal $module:ident $role:ident,)*) => {
        /// Every role that is drawn by number.
        pub const ROLES: &[RoleNumber] = &[$(RoleNumber {
            number: $number,
            protocol: stringify!($module),
            role: stringify!($role),
            is_server: matches!(stringify!($side).as_bytes(), b"server"),
        }),*];

        /// Draws the role with this number, and gives it to the visitor with the rest of the input. Returns whether
        /// there is one. What `flag` means is the role's.
        #[deny(unreachable_patterns, reason = "two roles have the same number")]
        pub fn visit_role(
            number: u8,
            draw: &mut Draw<'_>,
            flag: bool,
            visitor: impl RoleVisitor,
        ) -> bool {
            match number {
                $($number => visitor.visit(&$module::$role(draw, flag), draw.rest()),)*
                _ => return false,
            }
            true
        }
    };
}

socklab_core::for_each_role!(roles);
