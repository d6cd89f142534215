//! Machines, their sessions and dissectors, without a transport.

use core::fmt;
use core::net::SocketAddr;

use socklab_core::datagram;
use socklab_core::machine::{Input, Machine};
use socklab_core::session::{self, Buffer, Pumped, Session};
use socklab_core::wire::{self, Dissect, pack};
use socklab_core::{
    echo, for_each_datagram_machine, for_each_dissector, for_each_machine, for_each_protocol,
};

use crate::world::Player;
use crate::{Function, Kept};

/// Functions that the image of a single machine keeps: step and command.
const fn alone<M: Machine>() -> Kept<2> {
    Kept([M::step as Function, M::command as Function])
}

/// Does what [`alone`] does, for a machine over datagrams.
const fn datagrams_alone<M: datagram::Machine<SocketAddr>>() -> Kept<2> {
    Kept([M::step as Function, M::send as Function])
}

/// Makes an array with an entry for each machine over datagrams.
#[macro_export]
macro_rules! of_each_datagram_machine {
    ($entry:ident) => {
        ::socklab_core::for_each_datagram_machine!($crate::entries, $entry =>)
    };
}

/// Makes an array with an entry for each machine.
#[macro_export]
macro_rules! of_each_machine {
    ($entry:ident) => {
        ::socklab_core::for_each_machine!($crate::entries, $entry =>)
    };
}

/// See [`of_each_machine`].
#[macro_export]
macro_rules! entries {
    ($entry:ident => $($image:ident: $machine:ty,)*) => { [$($entry::<$machine>()),*] };
}

macro_rules! names {
    ($($image:ident: $machine:ty,)*) => { [$(stringify!($image)),*] };
}

/// Number of machines. Both sides of a chat are the same one.
pub const MACHINES: usize = for_each_machine!(names).len();

/// Images of one machine each.
const NAMES: [&str; MACHINES] = for_each_machine!(names);

/// Number of machines over datagrams.
pub const DATAGRAM_MACHINES: usize = for_each_datagram_machine!(names).len();

/// Images of one machine over datagrams each.
const DATAGRAM_NAMES: [&str; DATAGRAM_MACHINES] = for_each_datagram_machine!(names);

/// Every machine without session or driver.
pub static ALONE: [Kept<2>; MACHINES] = of_each_machine!(alone);

/// Every machine over datagrams without driver.
pub static DATAGRAMS_ALONE: [Kept<2>; DATAGRAM_MACHINES] =
    of_each_datagram_machine!(datagrams_alone);

/// Returns the functions that the image of a single machine keeps.
///
/// # Panics
///
/// When the compiler evaluates it with a name that no machine has.
#[must_use]
pub const fn named(name: &str) -> Kept<2> {
    let tables: [Kept<2>; MACHINES] = of_each_machine!(alone);
    if let Some(at) = position(&NAMES, name) {
        return Kept(tables[at].0);
    }
    let tables: [Kept<2>; DATAGRAM_MACHINES] = of_each_datagram_machine!(datagrams_alone);
    if let Some(at) = position(&DATAGRAM_NAMES, name) {
        return Kept(tables[at].0);
    }
    panic!("no machine in the table of the core has this name")
}

/// Returns the position of a name, at compile time.
const fn position(names: &[&str], name: &str) -> Option<usize> {
    let mut at = 0;
    while at < names.len() {
        if is_same(names[at].as_bytes(), name.as_bytes()) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// `==`, at compile time.
const fn is_same(one: &[u8], two: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < two.len() && one[at] == two[at] {
        at += 1;
    }
    at == one.len() && at == two.len()
}

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

const fn session<M: Machine>() -> Kept<16> {
    type MachineSession<M> = Session<M, Bytes, Bytes>;
    Kept([
        MachineSession::<M>::new as Function,
        MachineSession::<M>::poll as Function,
        MachineSession::<M>::view as Function,
        MachineSession::<M>::restart as Function,
        MachineSession::<M>::command as Function,
        MachineSession::<M>::write_payload as Function,
        MachineSession::<M>::recv_space as Function,
        MachineSession::<M>::recv_space_and_transmit as Function,
        MachineSession::<M>::received as Function,
        MachineSession::<M>::idle as Function,
        MachineSession::<M>::ended as Function,
        MachineSession::<M>::transmit as Function,
        MachineSession::<M>::transmitted as Function,
        MachineSession::<M>::flushed as Function,
        MachineSession::<M>::write_ended as Function,
        pump::<M> as Function,
    ])
}

/// Session and pump of each machine.
pub static SESSIONS: [Kept<16>; MACHINES] = of_each_machine!(session);

/// Defines a table with these functions.
macro_rules! kept {
    ($(#[$doc:meta])* $name:ident: $($function:expr),+ $(,)?) => {
        $(#[$doc])*
        pub static $name: Kept<{ [$(stringify!($function)),+].len() }> =
            Kept([$($function as Function),+]);
    };
}

kept! {
    /// A buffer on its own.
    BUFFER:
    Buffer::<Bytes>::capacity,
    Buffer::<Bytes>::bytes,
    Buffer::<Bytes>::space,
    Buffer::<Bytes>::fill,
    Buffer::<Bytes>::consume,
    Buffer::<Bytes>::clear,
}

kept! {
    /// Functions that protocols share, and those for traces.
    WIRE:
    wire::length_of::<4>,
    wire::put_length::<4>,
    wire::prefix_of_chars,
    wire::put_line,
    wire::decimal,
    wire::put_decimal,
    <wire::LineScanner>::next,
    <wire::LineScanner>::peek,
    <wire::LineScanner>::next_or_idle,
    wire::LineMessages::dissect,
    wire::PromptMessages::dissect,
}

kept! {
    /// Values as bytes, and back.
    PACK:
    pack::Format::parse,
    pack::Format::fields,
    <pack::Fields<'_> as Iterator>::next,
    pack::Format::pack,
    pack::Format::unpack,
    <pack::Unpacked<'_, '_> as Iterator>::next,
    pack::Field::pack,
    pack::Field::unpack,
    pack::Field::bytes,
    pack::Field::range,
    pack::Field::capacity,
}

macro_rules! dissectors {
    ($($dissector:ty,)*) => {
        kept! {
            /// Dissectors that belong to one protocol.
            DISSECTORS: $(<$dissector>::dissect),*
        }
        kept! {
            /// Their messages, as a trace shows them.
            MESSAGES: $(<<$dissector as Dissect>::Message<'_> as fmt::Display>::fmt),*
        }
    };
}

for_each_dissector!(dissectors);

macro_rules! others {
    ($($module:ident $name:ident {
        about: $about:tt,
        $transport:ident: $machines:tt,
        clients: $clients:tt,
        servers: $servers:tt,
        dissectors: $dissectors:tt,
        functions: [$($function:expr),* $(,)?],
        sentences: [$($sentence:ty),* $(,)?],
        $($rest:tt)*
    })*) => {
        kept! {
            /// Further functions of protocols.
            FUNCTIONS: $($($function,)*)*
        }
        kept! {
            /// Further texts for the user.
            PROTOCOL_SENTENCES: $($(<$sentence as fmt::Display>::fmt,)*)*
        }
    };
}

for_each_protocol!(others);

macro_rules! errors {
    ($($image:ident: $machine:ty,)*) => {
        kept! {
            /// Error of each machine.
            ERRORS: $(<<$machine as Machine>::Error as fmt::Display>::fmt),*
        }
    };
}

for_each_machine!(errors);

kept! {
    /// Texts for the user that protocols share.
    SENTENCES:
    <wire::Truncated as fmt::Display>::fmt,
    <wire::Escaped<'_> as fmt::Display>::fmt,
    <wire::Unexpected as fmt::Display>::fmt,
    <wire::DecimalError as fmt::Display>::fmt,
    <wire::LineMessage<'_> as fmt::Display>::fmt,
    <wire::PromptMessage<'_> as fmt::Display>::fmt,
    <session::TooSmall as fmt::Display>::fmt,
    <pack::Field as fmt::Display>::fmt,
    <pack::Order as fmt::Display>::fmt,
    <pack::FormatError as fmt::Display>::fmt,
    <pack::PackError as fmt::Display>::fmt,
    <pack::ValueError as fmt::Display>::fmt,
    <pack::WrongSize as fmt::Display>::fmt,
}
