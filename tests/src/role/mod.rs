//! The application of each machine: says what to do and when, from nothing but the events it was
//! told, so that a run depends on the bytes alone.

mod add;
mod chat;
mod coin;
mod echo;
mod file;
mod guess;
mod hello;
mod math;
mod rps;

use std::fmt::Debug;

use socklab_core::machine::Machine;

pub use add::{AddClient, AddServer, AddTold, add_agrees};
pub use chat::{ChatSide, ChatTold, chat_agrees};
pub use coin::{CoinClient, CoinServer, CoinTold, coin_agrees, coin_replies};
pub use echo::{EchoClient, EchoServer, Message, Reply, ShortEchoServer};
pub use file::{FileAsked, FileClient, FileGot, FileServer, file_agrees};
pub use guess::{GuessClient, GuessServer, GuessTold, guess_agrees, guess_game};
pub use hello::{HelloClient, HelloServer, hello_agrees};
pub use math::{MathClient, MathServer};
pub use rps::{RpsClient, RpsServer, RpsTold, rps_agrees};

/// A command of the machine of a role.
pub type Command<'c, R> = <<R as Role>::Machine as Machine>::Command<'c>;

/// A machine's application, and how its events compare.
pub trait Role: Clone {
    /// What it drives.
    type Machine: Machine + PartialEq + Debug;
    /// An event that owns what it shows.
    type Event: Clone + PartialEq + Debug;

    /// Whether the application speaks only when the machine asks with `Need::Command`. Else it
    /// speaks at the start and right after an event.
    ///
    /// Where it takes turns, a reset or a timeout races with the command: the machine may end
    /// the session at once, or let the application have its turn first. What the peer did before
    /// is told the same way up to there.
    const TAKES_TURNS: bool = false;

    /// Whether an orderly close ends the application's turn as a reset does, because a peer that has
    /// closed its sending side has nothing left to say that the protocol could go on with.
    const CLOSE_ENDS_TURN: bool = false;

    /// Whether the machine may wait for silence: then a read that times out is that first, and an end
    /// only when it happens again.
    const HEARS_SILENCE: bool = false;

    /// A fresh machine.
    fn machine(&self) -> Self::Machine;

    /// The event, owned.
    fn own(event: <Self::Machine as Machine>::Event<'_>) -> Self::Event;

    /// Appends `next` to `last` if they are two pieces of one thing. How it is cut has no meaning.
    fn append(last: &mut Self::Event, next: &Self::Event) -> bool {
        let _ = (last, next);
        false
    }

    /// The machine says this. Pieces come one by one.
    fn emitted(&mut self, event: &Self::Event) {
        let _ = event;
    }

    /// What the application wants to say now.
    fn command(&self) -> Option<Command<'_, Self>> {
        None
    }

    /// The machine took the [`command`](Self::command).
    fn given(&mut self) {}

    /// The command does not fit into the whole of the output. Says whether it can be said in a
    /// way that takes less room.
    fn split(&mut self) -> bool {
        false
    }

    /// Payload that is owed.
    fn payload(&self) -> &[u8] {
        &[]
    }

    /// So much of it is on its way.
    fn advance_outbound(&mut self, n: usize) {
        let _ = n;
    }

    /// The event that stands for payload taken from the input without the machine.
    fn advance_inbound(bytes: &[u8], last: bool) -> Option<Self::Event> {
        let _ = (bytes, last);
        None
    }

    /// A command to see refused when all is over.
    fn probe() -> Option<Command<'static, Self>> {
        None
    }
}
