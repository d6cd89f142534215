//! A conversation in lines.

use core::mem::MaybeUninit;
use core::{ptr, slice};

use socklab_core::chat::{Chat, Command, Error, Event};
use socklab_core::session::{Polled, Session};
use socklab_core::wire::{LINE_BYTES, LineError};

use crate::{
    SOCKLAB_CLOSED, SOCKLAB_EVENT, SOCKLAB_FAILED, SocklabResult, SocklabWant, end, result,
    session_functions,
};

/// `socklab_chat`: a session with space for a line in each direction.
#[derive(Debug)]
#[repr(transparent)]
pub struct ChatSession(Session<Chat, [u8; LINE_BYTES], [u8; LINE_BYTES]>);

// The numbers of `socklab.h`.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<ChatSession>() == 2112 && align_of::<ChatSession>() == 8);
#[cfg(target_pointer_width = "32")]
const _: () = assert!(size_of::<ChatSession>() == 2080 && align_of::<ChatSession>() == 4);

/// `socklab_chat_event`: what happened, or why the session failed.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ChatEvent {
    /// First byte of a line. It stands in the session.
    pub text: *const u8,
    /// Number of bytes of the line, or of what was received of it.
    pub size: usize,
    /// Kind of the event or of the failure.
    pub kind: u8,
    /// How the stream ended.
    pub end: u8,
}

const _: () = assert!(size_of::<ChatEvent>() == 3 * size_of::<usize>());

/// The peer sent a line.
pub const SOCKLAB_CHAT_LINE: u8 = 0;
/// The peer sent the last line.
pub const SOCKLAB_CHAT_BYE: u8 = 1;
/// The stream ended between two lines.
pub const SOCKLAB_CHAT_LEFT: u8 = 2;
/// The stream ended in the middle of a line.
pub const SOCKLAB_CHAT_TRUNCATED: u8 = 3;
/// The peer broke the protocol: a line is too long.
pub const SOCKLAB_CHAT_NOT_A_LINE: u8 = 4;

/// The side that listens first.
pub const SOCKLAB_CHAT_CLIENT: u8 = 0;
/// The side that speaks first.
pub const SOCKLAB_CHAT_SERVER: u8 = 1;
/// Either side of a conversation without turns.
pub const SOCKLAB_CHAT_DUPLEX: u8 = 2;

impl ChatEvent {
    const NONE: Self =
        Self { text: ptr::null(), size: 0, kind: SOCKLAB_CHAT_LINE, end: SOCKLAB_CLOSED };

    fn line(event: Event<&[u8]>) -> Self {
        let (kind, text) = match event {
            Event::Line(text) => (SOCKLAB_CHAT_LINE, text),
            Event::Bye(text) => (SOCKLAB_CHAT_BYE, text),
        };
        Self { text: text.as_ptr(), size: text.len(), kind, ..Self::NONE }
    }
}

impl From<Error> for ChatEvent {
    fn from(e: Error) -> Self {
        match e {
            Error::Left(how) => Self { kind: SOCKLAB_CHAT_LEFT, end: end(how), ..Self::NONE },
            Error::Line(LineError::Truncated { how, got }) => Self {
                kind: SOCKLAB_CHAT_TRUNCATED,
                end: end(how),
                size: usize::from(got),
                ..Self::NONE
            },
            // A line that is too long, and what may be added.
            _ => Self { kind: SOCKLAB_CHAT_NOT_A_LINE, ..Self::NONE },
        }
    }
}

/// Writes a session in which nothing has been said.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn socklab_chat_init(session: &mut MaybeUninit<ChatSession>, side: u8) {
    let chat = match side {
        SOCKLAB_CHAT_SERVER => Chat::server(),
        SOCKLAB_CHAT_DUPLEX => Chat::duplex(),
        _ => Chat::client(),
    };
    session.write(ChatSession(Session::with_arrays(chat)));
}

/// Advances until there is an event, or something has to be done, and returns which.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub extern "C" fn socklab_chat_poll(
    session: &mut ChatSession,
    event: &mut MaybeUninit<ChatEvent>,
) -> SocklabWant {
    let (want, what) = match session.0.poll() {
        Ok(Polled::Event(e)) => (SOCKLAB_EVENT, ChatEvent::line(session.0.view(e))),
        Ok(Polled::Want(want)) => (crate::want(want), ChatEvent::NONE),
        Err(e) => (SOCKLAB_FAILED, e.into()),
    };
    event.write(what);
    want
}

/// Says a line, without its newline.
///
/// # Safety
///
/// `text` points to `size` bytes, which do not change during the call and are not part of the session.
/// It may be null if `size` is 0.
// SAFETY: no other function has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn socklab_chat_say(
    session: &mut ChatSession,
    text: *const u8,
    size: usize,
) -> SocklabResult {
    let text = if text.is_null() || size == 0 {
        &[]
    } else {
        // SAFETY: the caller promises that these bytes exist and do not change.
        unsafe { slice::from_raw_parts(text, size) }
    };
    result(session.0.command(Command::Say(text)))
}

session_functions!(
    ChatSession,
    socklab_chat_recv_space,
    socklab_chat_received,
    socklab_chat_transmit,
    socklab_chat_transmitted,
    socklab_chat_flushed,
    socklab_chat_ended,
    socklab_chat_write_ended,
    socklab_chat_time_out,
    socklab_chat_size,
);
