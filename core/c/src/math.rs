//! The client of the math quiz.

use core::mem::MaybeUninit;

use socklab_core::math::client::{Client, Error, Event};
use socklab_core::session::{Polled, Session};

use crate::{SOCKLAB_CLOSED, SOCKLAB_EVENT, SOCKLAB_FAILED, SocklabWant, end, session_functions};

/// `socklab_math_client`: a session with space for two questions and five answers. Buffers of one
/// size cost less flash than two sizes.
#[derive(Debug)]
#[repr(transparent)]
pub struct MathClient(Session<Client, [u8; 20], [u8; 20]>);

// The numbers of `socklab.h`.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<MathClient>() == 96 && align_of::<MathClient>() == 8);
#[cfg(target_pointer_width = "32")]
const _: () = assert!(size_of::<MathClient>() == 68 && align_of::<MathClient>() == 4);

/// `socklab_math_event`: what happened, or why the session failed.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct MathEvent {
    /// First number of a question.
    pub a: u32,
    /// Second number of a question.
    pub b: u32,
    /// Answer, which is already written.
    pub sum: u32,
    /// Number of questions answered so far.
    pub answered: u32,
    /// The secret, without a terminating zero.
    pub secret: [u8; 8],
    /// Kind of the event or of the failure.
    pub kind: u8,
    /// How the stream ended.
    pub end: u8,
    /// The wrong first byte of a message.
    pub byte: u8,
    /// Number of bytes received of a message that was cut short.
    pub got: u8,
}

const _: () = assert!(size_of::<MathEvent>() == 28);

/// The server asked, and the answer is written.
pub const SOCKLAB_MATH_QUESTION: u8 = 0;
/// The server accepted every answer and sent its secret.
pub const SOCKLAB_MATH_SECRET: u8 = 1;
/// The server closed the connection after an answer, which was wrong in its view.
pub const SOCKLAB_MATH_REJECTED: u8 = 2;
/// A message starts with a byte that is neither `Q` nor `S`.
pub const SOCKLAB_MATH_TAG: u8 = 3;
/// The stream ended too early.
pub const SOCKLAB_MATH_TRUNCATED: u8 = 4;
/// Another failure.
pub const SOCKLAB_MATH_OTHER: u8 = 5;

impl MathEvent {
    const NONE: Self = Self {
        a: 0,
        b: 0,
        sum: 0,
        answered: 0,
        secret: [0; 8],
        kind: SOCKLAB_MATH_QUESTION,
        end: SOCKLAB_CLOSED,
        byte: 0,
        got: 0,
    };
}

impl From<Event> for MathEvent {
    fn from(event: Event) -> Self {
        match event {
            Event::Question(question) => {
                Self { a: question.a, b: question.b, sum: question.sum(), ..Self::NONE }
            }
            Event::Secret(secret) => {
                Self { kind: SOCKLAB_MATH_SECRET, secret: secret.0, ..Self::NONE }
            }
        }
    }
}

impl From<Error> for MathEvent {
    fn from(e: Error) -> Self {
        match e {
            Error::Rejected(_) => Self { kind: SOCKLAB_MATH_REJECTED, ..Self::NONE },
            Error::Tag { byte, .. } => Self { kind: SOCKLAB_MATH_TAG, byte, ..Self::NONE },
            Error::Truncated { cut, .. } => Self {
                kind: SOCKLAB_MATH_TRUNCATED,
                end: end(cut.how),
                got: u8::try_from(cut.got).unwrap_or(u8::MAX),
                ..Self::NONE
            },
            _ => Self { kind: SOCKLAB_MATH_OTHER, ..Self::NONE },
        }
    }
}

/// Writes a session that has received nothing.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn socklab_math_client_init(session: &mut MaybeUninit<MathClient>) {
    session.write(MathClient(Session::with_arrays(Client::new())));
}

/// Advances until there is an event, or something has to be done, and returns which.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn socklab_math_client_poll(
    session: &mut MathClient,
    event: &mut MaybeUninit<MathEvent>,
) -> SocklabWant {
    let (want, mut what) = match session.0.poll() {
        Ok(Polled::Event(e)) => (SOCKLAB_EVENT, e.into()),
        Ok(Polled::Want(want)) => (crate::want(want), MathEvent::NONE),
        Err(e) => (SOCKLAB_FAILED, e.into()),
    };
    what.answered = session.0.machine().answered();
    event.write(what);
    want
}

session_functions!(
    MathClient,
    socklab_math_client_recv_space,
    socklab_math_client_received,
    socklab_math_client_transmit,
    socklab_math_client_transmitted,
    socklab_math_client_flushed,
    socklab_math_client_ended,
    socklab_math_client_write_ended,
    socklab_math_client_time_out,
    socklab_math_client_size,
);
