//! Machines, their sessions and dissectors, without any transport.

use core::fmt;

use socklab_core::machine::{Input, Machine};
use socklab_core::session::{self, Buffer, Pumped, Session};
use socklab_core::wire::{self, Dissect};
use socklab_core::{echo, math};

use crate::world::Player;
use crate::{Function, Kept};

/// What every image of a machine alone keeps: its step and its command.
const fn alone<M: Machine>() -> Kept<2> {
    Kept([M::step as Function, M::command as Function])
}

/// The math client.
pub static MATH_CLIENT: Kept<2> = alone::<math::Client>();
/// The math server.
pub static MATH_SERVER: Kept<2> = alone::<math::Server>();
/// The echo client.
pub static ECHO_CLIENT: Kept<2> = alone::<echo::Client>();
/// The echo server.
pub static ECHO_SERVER: Kept<2> = alone::<echo::Server>();

/// What a machine says of bulk payload.
const fn bulk<M: Machine>() -> Kept<4> {
    Kept([M::owed as Function, M::paid as Function, M::due as Function, M::taken as Function])
}

/// The payload of an echo client.
pub static ECHO_CLIENT_BULK: Kept<4> = bulk::<echo::Client>();
/// The payload of an echo server.
pub static ECHO_SERVER_BULK: Kept<4> = bulk::<echo::Server>();
/// The payload of a math client: none.
pub static MATH_CLIENT_BULK: Kept<4> = bulk::<math::Client>();
/// The payload of a math server: none.
pub static MATH_SERVER_BULK: Kept<4> = bulk::<math::Server>();

/// Buffers of a length that nobody knows.
pub type Bytes = &'static mut [u8];

fn pump<M: Machine>(
    machine: &mut M,
    player: &mut Player<M>,
    input: Input<'_>,
    output: &mut [u8],
) -> Pumped<M::Error> {
    session::pump(machine, player, input, output)
}

const fn session<M: Machine>() -> Kept<14> {
    type Of<M> = Session<M, Bytes, Bytes>;
    Kept([
        Of::<M>::new as Function,
        Of::<M>::step as Function,
        Of::<M>::advance as Function,
        Of::<M>::command as Function,
        Of::<M>::pay as Function,
        Of::<M>::room as Function,
        Of::<M>::room_and_pending as Function,
        Of::<M>::received as Function,
        Of::<M>::silent as Function,
        Of::<M>::ended as Function,
        Of::<M>::pending as Function,
        Of::<M>::sent as Function,
        Of::<M>::cannot_send as Function,
        pump::<M> as Function,
    ])
}

/// Session and pump of a math client.
pub static MATH_CLIENT_SESSION: Kept<14> = session::<math::Client>();
/// Session and pump of a math server.
pub static MATH_SERVER_SESSION: Kept<14> = session::<math::Server>();
/// Session and pump of an echo client.
pub static ECHO_CLIENT_SESSION: Kept<14> = session::<echo::Client>();
/// Session and pump of an echo server.
pub static ECHO_SERVER_SESSION: Kept<14> = session::<echo::Server>();

/// A buffer by itself.
pub static BUFFER: Kept<6> = Kept([
    Buffer::<Bytes>::capacity as Function,
    Buffer::<Bytes>::bytes as Function,
    Buffer::<Bytes>::room as Function,
    Buffer::<Bytes>::fill as Function,
    Buffer::<Bytes>::consume as Function,
    Buffer::<Bytes>::clear as Function,
]);

/// What protocols share, and what is for traces.
pub static WIRE: Kept<6> = Kept([
    wire::length_of as Function,
    wire::put_length as Function,
    wire::prefix_of_chars as Function,
    math::ServerBytes::dissect as Function,
    math::ClientBytes::dissect as Function,
    echo::Messages::dissect as Function,
]);

const fn shown<T: fmt::Display>() -> Function {
    T::fmt as Function
}

/// The sentences for people.
pub static SENTENCES: Kept<10> = Kept([
    shown::<math::client::Error>(),
    shown::<math::server::Error>(),
    shown::<echo::client::Error>(),
    shown::<echo::server::Error>(),
    shown::<wire::Cut>(),
    shown::<wire::Escaped<'_>>(),
    shown::<math::ServerMessage>(),
    shown::<math::Answer>(),
    shown::<echo::Part<'_>>(),
    shown::<session::TooSmall>(),
]);
