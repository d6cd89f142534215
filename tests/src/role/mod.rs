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
pub mod udp;

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
pub use socklab_laws::{Application, Command};
pub use udp::{UdpClientModel, udp_reply};

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
    fn visit<R: Application>(self, role: &R, bytes: &[u8]);
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
