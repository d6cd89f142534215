//! Machines, their sessions and dissectors, without a transport.

use core::fmt;

use socklab_core::machine::{Input, Machine};
use socklab_core::session::{self, Buffer, Pumped, Session};
use socklab_core::wire::{self, Dissect};
use socklab_core::{add, chat, coin, echo, file, guess, hello, math, rps};

use crate::world::Player;
use crate::{Function, Kept};

/// Functions that the image of a single machine keeps: step and command.
const fn alone<M: Machine>() -> Kept<2> {
    Kept([M::step as Function, M::command as Function])
}

/// Makes a table with one entry for each machine.
#[macro_export]
macro_rules! of_each_machine {
    ($entry:ident) => {
        [
            $entry::<::socklab_core::math::Client>(),
            $entry::<::socklab_core::math::Server>(),
            $entry::<::socklab_core::add::Client>(),
            $entry::<::socklab_core::add::Server>(),
            $entry::<::socklab_core::file::Client>(),
            $entry::<::socklab_core::file::Server>(),
            $entry::<::socklab_core::echo::Client>(),
            $entry::<::socklab_core::echo::Server>(),
            $entry::<::socklab_core::hello::Client>(),
            $entry::<::socklab_core::hello::Server>(),
            $entry::<::socklab_core::chat::Chat>(),
            $entry::<::socklab_core::coin::Client>(),
            $entry::<::socklab_core::coin::Server>(),
            $entry::<::socklab_core::guess::Client>(),
            $entry::<::socklab_core::guess::Server>(),
            $entry::<::socklab_core::rps::Client>(),
            $entry::<::socklab_core::rps::Server>(),
        ]
    };
}

/// Number of machines. Both sides of a chat are the same one.
pub const MACHINES: usize = 17;

/// Every machine without session or driver.
pub static ALONE: [Kept<2>; MACHINES] = of_each_machine!(alone);

/// The math client.
pub static MATH_CLIENT: Kept<2> = alone::<math::Client>();
/// The math server.
pub static MATH_SERVER: Kept<2> = alone::<math::Server>();
/// The add client.
pub static ADD_CLIENT: Kept<2> = alone::<add::Client>();
/// The add server.
pub static ADD_SERVER: Kept<2> = alone::<add::Server>();
/// The file client.
pub static FILE_CLIENT: Kept<2> = alone::<file::Client>();
/// The file server.
pub static FILE_SERVER: Kept<2> = alone::<file::Server>();
/// The echo client.
pub static ECHO_CLIENT: Kept<2> = alone::<echo::Client>();
/// The echo server.
pub static ECHO_SERVER: Kept<2> = alone::<echo::Server>();
/// The hello client.
pub static HELLO_CLIENT: Kept<2> = alone::<hello::Client>();
/// The hello server.
pub static HELLO_SERVER: Kept<2> = alone::<hello::Server>();
/// Either side of a chat.
pub static CHAT: Kept<2> = alone::<chat::Chat>();
/// The coin client.
pub static COIN_CLIENT: Kept<2> = alone::<coin::Client>();
/// The coin server.
pub static COIN_SERVER: Kept<2> = alone::<coin::Server>();
/// The guess client.
pub static GUESS_CLIENT: Kept<2> = alone::<guess::Client>();
/// The guess server.
pub static GUESS_SERVER: Kept<2> = alone::<guess::Server>();
/// The rps client.
pub static RPS_CLIENT: Kept<2> = alone::<rps::Client>();
/// The rps server.
pub static RPS_SERVER: Kept<2> = alone::<rps::Server>();

/// The echo machines with 2-byte lengths. Their images are like those with 4-byte lengths, so they
/// have no budget of their own.
pub static SHORT: [Kept<2>; 2] = [alone::<echo::Client<2>>(), alone::<echo::Server<2>>()];

/// Functions of a machine for bulk payload.
const fn bulk<M: Machine>() -> Kept<4> {
    Kept([
        M::outbound_remaining as Function,
        M::advance_outbound as Function,
        M::inbound_remaining as Function,
        M::advance_inbound as Function,
    ])
}

/// The payload functions of each machine.
pub static BULK: [Kept<4>; MACHINES] = of_each_machine!(bulk);

/// Buffers of unknown length.
pub type Bytes = &'static mut [u8];

fn pump<M: Machine>(
    machine: &mut M,
    handler: &mut Player<M>,
    input: Input<'_>,
    output: &mut [u8],
) -> Pumped<M::Error> {
    session::pump(machine, handler, input, output)
}

const fn session<M: Machine>() -> Kept<14> {
    type MachineSession<M> = Session<M, Bytes, Bytes>;
    Kept([
        MachineSession::<M>::new as Function,
        MachineSession::<M>::step as Function,
        MachineSession::<M>::advance as Function,
        MachineSession::<M>::command as Function,
        MachineSession::<M>::write_payload as Function,
        MachineSession::<M>::room as Function,
        MachineSession::<M>::recv_space_and_transmit as Function,
        MachineSession::<M>::received as Function,
        MachineSession::<M>::idle as Function,
        MachineSession::<M>::ended as Function,
        MachineSession::<M>::transmit as Function,
        MachineSession::<M>::sent as Function,
        MachineSession::<M>::write_ended as Function,
        pump::<M> as Function,
    ])
}

/// Session and pump of each machine.
pub static SESSIONS: [Kept<14>; MACHINES] = of_each_machine!(session);

/// A buffer on its own.
pub static BUFFER: Kept<6> = Kept([
    Buffer::<Bytes>::capacity as Function,
    Buffer::<Bytes>::bytes as Function,
    Buffer::<Bytes>::room as Function,
    Buffer::<Bytes>::fill as Function,
    Buffer::<Bytes>::consume as Function,
    Buffer::<Bytes>::clear as Function,
]);

/// Functions that protocols share, and those for traces.
pub static WIRE: Kept<18> = Kept([
    wire::length_of::<4> as Function,
    wire::put_length::<4> as Function,
    wire::prefix_of_chars as Function,
    wire::put_line as Function,
    wire::decimal as Function,
    wire::put_decimal as Function,
    wire::LineScanner::next as Function,
    wire::LineScanner::next_or_idle as Function,
    math::ServerBytes::dissect as Function,
    math::ClientBytes::dissect as Function,
    echo::Messages::<4>::dissect as Function,
    wire::LineMessages::dissect as Function,
    wire::PromptMessages::dissect as Function,
    file::ClientBytes::dissect as Function,
    file::ServerBytes::dissect as Function,
    file::Request::parse as Function,
    file::Request::emit as Function,
    chat::says_bye as Function,
]);

const fn shown<T: fmt::Display>() -> Function {
    T::fmt as Function
}

/// Texts for the user.
pub static SENTENCES: Kept<34> = Kept([
    shown::<math::client::Error>(),
    shown::<math::server::Error>(),
    shown::<add::client::Error>(),
    shown::<add::server::Error>(),
    shown::<file::client::Error>(),
    shown::<file::server::Error>(),
    shown::<echo::client::Error>(),
    shown::<echo::server::Error>(),
    shown::<hello::client::Error>(),
    shown::<hello::server::Error>(),
    shown::<chat::Error>(),
    shown::<coin::client::Error>(),
    shown::<coin::server::Error>(),
    shown::<guess::client::Error>(),
    shown::<guess::server::Error>(),
    shown::<rps::client::Error>(),
    shown::<rps::server::Error>(),
    shown::<file::Malformed>(),
    shown::<wire::Truncated>(),
    shown::<wire::Escaped<'_>>(),
    shown::<wire::Unexpected>(),
    shown::<wire::DecimalError>(),
    shown::<wire::LineMessage<'_>>(),
    shown::<wire::PromptMessage<'_>>(),
    shown::<math::ServerMessage>(),
    shown::<math::Mistake>(),
    shown::<math::Answer>(),
    shown::<echo::Part<'_>>(),
    shown::<echo::OtherLength>(),
    shown::<echo::client::Error<2>>(),
    shown::<echo::server::Error<2>>(),
    shown::<file::RequestMessage<'_>>(),
    shown::<file::ServerMessage<'_>>(),
    shown::<session::TooSmall>(),
]);
