//! A protocol that uses every path of the engine: a client sends operations of three bytes, and the server does what
//! they say.
//!
//! | operation | reply |
//! |---|---|
//! | `R` n | n bytes |
//! | `B` n | a message boundary, then n bytes |
//! | `P` n | n bytes of payload, written by the service |
//! | `I` ms | one byte, after the client has sent nothing for that time |
//! | `T` ms, then `t`s | one byte, after the client has sent no more `t` for that time, as a name without a newline ends |
//! | `S` ms | one byte, after another thread has worked for that time and has woken the session |
//! | `E` ms | the end of the session, after another thread has had it wait for that time, which counts as idle |
//! | `F` | the end of the session |
//! | `A` | a reset |
//! | anything else | the session fails |
//!
//! The end of the client's stream between two operations ends the session in order. A `t` there is late, and ignored.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use socklab::net::{Ended, PayloadWriter, Service, SessionWaker, Work};
use socklab_core::machine::{
    Action, CommandError, Input, Machine, Need, Spans, Step, StreamEnd, StreamState,
};

/// Byte of a text.
pub(super) const TEXT: u8 = b't';

/// Length of an operation in bytes.
pub(super) const OPERATION: usize = 3;
/// Largest number of payload bytes of an operation.
pub(super) const PAYLOAD_MAX: usize = 1 << 16;

/// Returns the byte at this offset of a reply.
#[expect(clippy::cast_possible_truncation, reason = "truncation is intended")]
pub(super) const fn pattern(at: usize) -> u8 {
    (at as u8) ^ (at >> 8) as u8
}

/// Byte that ends the replies of `I`, `T` and `S`.
pub(super) const MARK: u8 = b'!';

/// The server's machine.
#[derive(Clone, Debug)]
pub(super) struct Script(Doing);

#[derive(Clone, Copy, Debug)]
enum Doing {
    Operation,
    /// Bytes sent and to be sent.
    Reply(u16, u16),
    Boundary(u16),
    Payload(u16),
    Quiet(u16),
    Text(u16),
    Asleep,
    Leaving,
    Finished,
    Aborted,
}

/// Event for the service.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// Send the announced payload.
    Payload,
    /// Wake the session after this number of milliseconds.
    Sleep(u16),
    /// The same, and the session counts as idle.
    Wait(u16),
}

impl Spans for Event {
    type View<'i> = Self;

    fn view(self, _: &[u8]) -> Self {
        self
    }

    fn shift(self, _: usize) -> Self {
        self
    }
}

/// Why a session failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// The stream ended in this way inside an operation.
    Cut(StreamEnd),
    /// An operation that does not exist, or bytes in a time of silence.
    Invalid,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Error {}

impl Machine for Script {
    type Command<'c> = ();
    type Event = Event;
    type Error = Error;

    const MIN_INPUT: usize = OPERATION;
    const MIN_OUTPUT: usize = 16;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<Event>, Error> {
        if let StreamState::Ended(how @ (StreamEnd::Reset | StreamEnd::TimedOut)) = input.state {
            // As machines do that handle what was read before a time-out.
            let continues = how == StreamEnd::TimedOut
                && match self.0 {
                    Doing::Operation => matches!(input.bytes, [b'R' | b'B', _, _, ..]),
                    Doing::Reply(..) | Doing::Boundary(_) => true,
                    _ => false,
                };
            if !continues && !matches!(self.0, Doing::Finished | Doing::Aborted) {
                return Err(Error::Cut(how));
            }
        }
        let text = input.bytes.iter().take_while(|byte| **byte == TEXT).count();
        match self.0 {
            Doing::Operation if text > 0 => Ok(Step::new(text, 0, Action::Continue)),
            Doing::Operation => {
                let &[operation, high, low, ..] = input.bytes else {
                    return match input.state {
                        StreamState::Ended(_) if input.bytes.is_empty() => {
                            self.0 = Doing::Finished;
                            Ok(Step::idle(Action::Continue))
                        }
                        StreamState::Ended(how) => Err(Error::Cut(how)),
                        _ => Ok(Step::need(Need::Input)),
                    };
                };
                let n = u16::from_be_bytes([high, low]);
                let (doing, event) = match operation {
                    b'R' => (Doing::Reply(0, n), None),
                    b'B' => (Doing::Boundary(n), None),
                    b'P' => (Doing::Payload(n), Some(Event::Payload)),
                    b'I' => (Doing::Quiet(n), None),
                    b'T' => (Doing::Text(n), None),
                    b'S' => (Doing::Asleep, Some(Event::Sleep(n))),
                    b'E' => (Doing::Leaving, Some(Event::Wait(n))),
                    b'F' => (Doing::Finished, None),
                    b'A' => (Doing::Aborted, None),
                    _ => return Err(Error::Invalid),
                };
                self.0 = doing;
                Ok(Step::new(OPERATION, 0, event.map_or(Action::Continue, Action::Event)))
            }
            Doing::Boundary(n) => {
                self.0 = Doing::Reply(0, n);
                Ok(Step::idle(Action::Boundary))
            }
            Doing::Reply(sent, n) if sent == n => {
                self.0 = Doing::Operation;
                Ok(Step::idle(Action::Continue))
            }
            Doing::Reply(sent, n) => {
                if output.is_empty() {
                    return Ok(Step::need(Need::OutputSpace));
                }
                let room = u16::try_from(output.len()).unwrap_or(u16::MAX).min(n - sent);
                for (i, byte) in output.iter_mut().take(room.into()).enumerate() {
                    *byte = pattern(usize::from(sent) + i);
                }
                self.0 = Doing::Reply(sent + room, n);
                Ok(Step::new(0, room.into(), Action::Continue))
            }
            Doing::Payload(0) => {
                self.0 = Doing::Operation;
                Ok(Step::idle(Action::Continue))
            }
            Doing::Payload(_) | Doing::Asleep | Doing::Leaving => Ok(Step::need(Need::Command)),
            Doing::Quiet(_) if !input.bytes.is_empty() => Err(Error::Invalid),
            Doing::Quiet(ms) => match input.state {
                StreamState::Idle => {
                    let [first, ..] = output else { return Ok(Step::need(Need::OutputSpace)) };
                    *first = MARK;
                    self.0 = Doing::Operation;
                    Ok(Step::new(0, 1, Action::Continue))
                }
                StreamState::Ended(how) => Err(Error::Cut(how)),
                StreamState::Open => Ok(Step::need(Need::InputOrIdle(ms))),
            },
            Doing::Text(_) if text < input.bytes.len() => Err(Error::Invalid),
            Doing::Text(ms) => match input.state {
                StreamState::Open if text > 0 && ms.is_multiple_of(2) => {
                    Ok(Step::new(text, 0, Action::Continue))
                }
                // Otherwise the text remains unread, as a name does whose end has not come.
                StreamState::Open => Ok(Step::need(Need::InputOrIdle(ms))),
                StreamState::Idle | StreamState::Ended(_) => {
                    let [first, ..] = output else { return Ok(Step::need(Need::OutputSpace)) };
                    *first = MARK;
                    self.0 = Doing::Operation;
                    Ok(Step::new(text, 1, Action::Continue))
                }
            },
            Doing::Finished => Ok(Step::idle(Action::Close)),
            Doing::Aborted => Ok(Step::idle(Action::Abort)),
        }
    }

    fn command(&mut self, (): (), output: &mut [u8]) -> Result<usize, CommandError> {
        match self.0 {
            Doing::Asleep => {}
            Doing::Leaving => {
                self.0 = Doing::Finished;
                return Ok(0);
            }
            _ => return Err(CommandError::OutOfTurn),
        }
        let first = output.first_mut().ok_or(CommandError::OutputFull)?;
        *first = MARK;
        self.0 = Doing::Operation;
        Ok(1)
    }

    fn outbound_remaining(&self) -> u64 {
        if let Doing::Payload(left) = self.0 { left.into() } else { 0 }
    }

    fn advance_outbound(&mut self, n: u64) -> Result<(), CommandError> {
        match (&mut self.0, u16::try_from(n)) {
            (_, Ok(0)) => Ok(()),
            (Doing::Payload(left), Ok(n)) if n <= *left => {
                *left -= n;
                Ok(())
            }
            _ => Err(CommandError::OutOfTurn),
        }
    }
}

/// Sessions that sleep, shared with the simulated world, which wakes them.
pub(super) type Sleepers = Arc<Mutex<Vec<Sleeper>>>;

/// A session that sleeps, or has slept.
pub(super) struct Sleeper {
    /// `None` until the session has given it.
    pub(super) waker: Option<SessionWaker>,
    pub(super) ms: u16,
    /// Whether the world has seen it.
    pub(super) is_seen: bool,
    pub(super) is_done: bool,
}

/// The server's application. `RESETS` as in [`Service`].
pub(super) struct Scripts<const RESETS: bool> {
    file: File,
    sleepers: Sleepers,
}

impl<const RESETS: bool> Scripts<RESETS> {
    pub(super) fn new(sleepers: Sleepers) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        let bytes: Vec<u8> = (0..PAYLOAD_MAX).map(pattern).collect();
        file.write_all(&bytes)?;
        file.rewind()?;
        Ok(Self { file, sleepers })
    }
}

/// State of a session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// Number of payload bytes sent.
    sent: u64,
    /// Index of its sleep.
    sleep: Option<usize>,
    /// Whether it counts as idle meanwhile.
    is_idle: bool,
}

impl<const RESETS: bool> Service for Scripts<RESETS> {
    type Machine = Script;
    type State = State;
    type Report = super::Ending;

    const RESETS: bool = RESETS;

    fn open(&mut self) -> (Script, State) {
        (Script(Doing::Operation), State::default())
    }

    fn event(&mut self, state: &mut State, event: Event) {
        match event {
            Event::Payload => *state = State::default(),
            Event::Sleep(ms) | Event::Wait(ms) => {
                state.is_idle = matches!(event, Event::Wait(_));
                let mut all = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
                state.sleep = Some(all.len());
                all.push(Sleeper { waker: None, ms, is_seen: false, is_done: false });
            }
        }
    }

    fn command(&mut self, state: &mut State) -> Option<()> {
        let all = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(state.sleep?)?.is_done.then_some(())?;
        state.sleep = None;
        Some(())
    }

    fn work(&mut self, state: &mut State, writer: &mut PayloadWriter<'_>) -> Work {
        if let Some(sleep) = state.sleep {
            let mut all = self.sleepers.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(sleeper) = all.get_mut(sleep) {
                sleeper.waker.get_or_insert_with(|| writer.waker());
            }
            return if state.is_idle { Work::Wait } else { Work::Sleep };
        }
        if writer.outbound_remaining() == 0 {
            return Work::Wait;
        }
        // Few bytes, so that payload takes several turns, in one or two pieces, or many.
        let pieces =
            if state.sent.is_multiple_of(2) { &[400, 300][..] } else { &[PAYLOAD_MAX as u64] };
        for most in pieces {
            state.sent += writer.send_file(&self.file, state.sent, *most).expect("a readable file");
        }
        Work::Again
    }

    fn finish(&mut self) -> Option<()> {
        Some(())
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        _: &Script,
        _: &mut State,
        ended: Ended<Error>,
    ) -> super::Ending {
        super::Ending::new(peer, &ended)
    }
}
