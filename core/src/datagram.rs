//! Vocabulary of the protocols over datagrams.
//!
//! A machine over datagrams is one end of a protocol as a plain value, like a
//! [`Machine`](crate::Machine) over a stream. It never sends, receives, waits or looks at a clock. An
//! input is one datagram, or what the caller's clock or network reports. At most one datagram leaves
//! for each.
//!
//! ```text
//!   datagram received | time-out | unreachable
//!                       |
//!                       v
//!   message ---send--> machine --event--> application
//!                       |
//!                       v
//!        at most one datagram to send, and a timer
//! ```
//!
//! The caller keeps the bytes: the message that waits for its reply, and the datagram received last. A
//! datagram that leaves is one of these or a part of it, so nothing is copied.

use crate::machine::{CommandError, Span};

/// Most bytes that a datagram can carry over IPv4: 65,535 without an IPv4 header of 20 bytes (RFC 791)
/// and a UDP header of 8 bytes (RFC 768).
pub const DATAGRAM_MAX: usize = 65_507;

/// Number of bytes up to which document 003 advises to keep a datagram, so that it is not fragmented.
/// Every host can receive an IPv4 packet of this size (RFC 791).
pub const DATAGRAM_SAFE: usize = 576;

/// A received datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Datagram<'d> {
    /// Its payload, as much as the receiver's buffer holds. It may be empty.
    pub bytes: &'d [u8],
    /// Whether it was longer than the buffer.
    pub is_truncated: bool,
}

impl<'d> Datagram<'d> {
    /// Returns a datagram that has been received as a whole.
    #[must_use]
    pub const fn whole(bytes: &'d [u8]) -> Self {
        Self { bytes, is_truncated: false }
    }

    /// Returns the datagram of `len` bytes at the front of a buffer.
    ///
    /// Many systems cut a datagram without a report, so one that fills the buffer counts as truncated.
    /// A buffer therefore needs one byte more than the longest datagram that it is for.
    #[must_use]
    pub fn in_buffer(buffer: &'d [u8], len: usize) -> Self {
        match buffer.get(..len) {
            Some(bytes) if len < buffer.len() => Self::whole(bytes),
            _ => Self { bytes: buffer.get(..len).unwrap_or(buffer), is_truncated: true },
        }
    }
}

/// Input of a machine. `A` is the address of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Input<'d, A> {
    /// A datagram has arrived.
    Received {
        /// Address of its sender.
        from: A,
        /// The datagram.
        datagram: Datagram<'d>,
    },
    /// The time of the [timer](Step::timer) has passed.
    TimedOut,
    /// The network reports that a datagram did not arrive: ICMP "port unreachable", which a connected
    /// socket returns as "connection refused" (RFC 1122, 4.1.3.3).
    Unreachable,
}

/// Result of an input.
#[must_use = "the datagram has to be sent, and the timer has to be set"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Step<A, E> {
    /// The datagram that the caller must send now.
    pub transmit: Option<Transmit<A>>,
    /// What the caller must do with its timer. There is one for each machine.
    pub timer: Timer,
    /// What the application may want to know.
    pub event: Option<E>,
}

impl<A, E> Step<A, E> {
    /// Returns a step that only emits an event.
    pub const fn event(event: E) -> Self {
        Self { transmit: None, timer: Timer::Keep, event: Some(event) }
    }

    /// Returns a step without effect.
    pub const fn none() -> Self {
        Self { transmit: None, timer: Timer::Keep, event: None }
    }
}

/// A datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Transmit<A> {
    /// Address of the receiver.
    pub to: A,
    /// Its payload.
    pub payload: Payload,
}

/// Payload of a datagram to be sent, as a part of what the caller keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Payload {
    /// The message, as a whole.
    Message,
    /// A part of the datagram that has just been received.
    Received(Span),
}

impl Payload {
    /// Returns the bytes.
    #[must_use]
    pub fn of<'b>(self, message: &'b [u8], received: &'b [u8]) -> &'b [u8] {
        match self {
            Self::Message => message,
            Self::Received(span) => span.slice(received),
        }
    }
}

/// What the caller must do with its timer. A caller's timer that rings between an input and the next one
/// may be an old one: [`Start`](Self::Start) and [`Stop`](Self::Stop) cancel it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Timer {
    /// Nothing.
    #[default]
    Keep,
    /// Start it, from now on: [`Input::TimedOut`] after this number of milliseconds.
    Start(u32),
    /// Stop it.
    Stop,
}

/// One end of a protocol over datagrams. `A` is the address of a peer.
///
/// # Laws
///
/// 1. For each input at most one datagram leaves. A span lies inside the datagram of the same input.
/// 2. The answer to a datagram goes to its sender, and has no more bytes: a machine amplifies no attack. A
///    [message](Payload::Message) leaves only at [`send`](Self::send) and at a time-out.
/// 3. A datagram that does not come from the peer, is truncated or does not fit the protocol changes neither the
///    timer nor what the machine waits for: a forged one cannot delay a time-out.
/// 4. [`Input::TimedOut`] without a running timer, such as one that was stopped too late, has no effect.
/// 5. A `send` that is rejected has no effect.
pub trait Machine<A> {
    /// What the machine emits.
    type Event: Copy;

    /// Starts a message, which the caller keeps until its reply has come or it is lost.
    ///
    /// # Errors
    ///
    /// [`CommandError::OutOfTurn`] while another message waits for its reply, or if this end only
    /// answers. [`CommandError::Invalid`] if the protocol cannot express the message.
    fn send(&mut self, message: &[u8]) -> Result<Step<A, Self::Event>, CommandError>;

    /// Handles an input. `message` is that of the last [`send`](Self::send), empty if there was none.
    fn step(&mut self, input: Input<'_, A>, message: &[u8]) -> Step<A, Self::Event>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_that_fills_the_buffer_counts_as_truncated() {
        let buffer = *b"abcd";
        assert_eq!(Datagram::in_buffer(&buffer, 3), Datagram::whole(b"abc"));
        assert_eq!(Datagram::in_buffer(&buffer, 0), Datagram::whole(b""));
        for len in [4, 5] {
            let datagram = Datagram::in_buffer(&buffer, len);
            assert_eq!(datagram, Datagram { bytes: b"abcd", is_truncated: true });
        }
        assert!(Datagram::in_buffer(&[], 0).is_truncated);
    }

    #[test]
    fn a_payload_is_the_message_or_a_part_of_what_was_received() {
        assert_eq!(Payload::Message.of(b"message", b"received"), b"message");
        assert_eq!(Payload::Received(Span::new(2, 3)).of(b"message", b"received"), b"cei");
        assert_eq!(Payload::Received(Span::new(2, 9)).of(b"message", b"received"), b"");
    }
}
