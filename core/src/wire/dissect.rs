use core::fmt;

/// Splits one direction of a stream into messages and describes each, for traces and captures.
///
/// A machine reports to its application what the application needs. A dissector describes the bytes for a person,
/// even if they break the protocol. It has a few bytes of state and no buffer: the caller keeps the bytes that are
/// not taken yet, at most a header or a line.
///
/// Every protocol module has two dissectors, `ClientBytes` for what a client sends and `ServerBytes` for what a server
/// sends.
///
/// The same bytes give the same messages, however the stream is cut. A message that is long, or whose end the dissector
/// does not know, may be returned in parts: a payload, a line that is too long, white space, and everything that
/// follows bytes that are not a message. The parts follow each other, and together they are the same bytes.
pub trait Dissect: Default {
    /// A message. It is displayed as one line.
    type Message<'b>: fmt::Display;

    /// What carries the bytes. This is where a program that handles any protocol learns it.
    const TRANSPORT: Transport = Transport::Stream;

    /// Returns the message at the front of `bytes`.
    fn dissect<'b>(&mut self, bytes: &'b [u8]) -> Dissected<Self::Message<'b>>;
}

/// What carries the bytes of a protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Transport {
    /// A connection of TCP, or any other stream of bytes. A dissector is given what is not taken yet.
    #[default]
    Stream,
    /// Datagrams of UDP, for example. A dissector is given one at a time, and takes all of it.
    Datagrams,
}

/// Result of [`Dissect::dissect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Dissected<M> {
    /// A message or a part of a long one, and the number of bytes that it occupies, more than 0.
    Message(usize, M),
    /// The message or its header is incomplete. It has this number of bytes.
    Partial(usize),
    /// The message is incomplete, and only its end shows its length: a line.
    Unterminated,
}
