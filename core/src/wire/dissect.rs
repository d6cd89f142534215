use core::fmt;

/// Splits one direction of a stream into messages and names each, for traces and captures.
///
/// A machine tells its application what matters to it; a dissector tells a person what the bytes
/// are, also when they break the protocol. It keeps a few bytes of state and never buffers:
/// the caller keeps what is not taken yet, which is never more than a header or a line.
///
/// Whatever the cut, the same bytes give the same messages. One that is long, or has no end that the
/// dissector knows of, may come in parts: a payload, a line that is too long, white space, and
/// everything behind bytes that are not a message. Its parts follow each other, and taken together they
/// are the same bytes.
pub trait Dissect: Default {
    /// What a message means, as one line.
    type Message<'b>: fmt::Display;

    /// Looks at the message at the front of `bytes`.
    fn dissect<'b>(&mut self, bytes: &'b [u8]) -> Dissected<Self::Message<'b>>;
}

/// What a [`Dissect`] found at the front of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Dissected<M> {
    /// A message, or a part of a long one, that takes so many bytes (more than 0).
    Message(usize, M),
    /// Fewer bytes are there than a message (or its header) has; this many are wanted in all.
    Partial(usize),
    /// A message whose end has not come, and only that will tell how long it is: a line.
    Unterminated,
}
