//! What a client and a server of `udp` must do, written in the simplest way. Their machines are over datagrams, so the
//! drivers of streams have no script for them.

use socklab_core::datagram::{DATAGRAM_MAX, Input, Payload, Step, Timer, Transmit};
use socklab_core::machine::{CommandError, Invalid};
use socklab_core::udp::Mistake;
use socklab_core::udp::client::{Event, Limits, Summary};

use crate::samples::{Scripts, Sessions};

/// Lists what runs the same in every driver of streams: nothing.
pub fn scripts(_: &mut impl Scripts) {}

/// Lists what runs without allocating in every driver of streams: nothing.
pub fn sessions(_: &mut impl Sessions) {}

/// Returns the reply to a message: what follows the shortest front that has ten characters.
#[must_use]
pub fn udp_reply(message: &[u8]) -> Option<Vec<u8>> {
    for n in 0..=message.len() {
        if std::str::from_utf8(&message[..n]).is_ok_and(|front| front.chars().count() == 10) {
            return Some(message[n..].to_vec());
        }
    }
    std::str::from_utf8(message).is_ok().then(Vec::new)
}

/// How a message has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Answered,
    Lost,
}

/// A client that keeps all of its messages and replies.
#[derive(Clone, Debug)]
pub struct UdpClientModel<A> {
    server: A,
    limits: Limits,
    /// Number of earlier messages that the machine remembers.
    history: usize,
    /// Replies to the messages that have ended, and how.
    ended: Vec<(Vec<u8>, Ending)>,
    /// Number of times that the current message has been sent.
    attempts: Option<u16>,
    events: Vec<Event>,
    sent: u32,
}

impl<A: Copy + PartialEq> UdpClientModel<A> {
    /// Returns the model of a new client.
    #[must_use]
    pub const fn new(server: A, limits: Limits, history: usize) -> Self {
        Self {
            server,
            limits,
            history,
            ended: Vec::new(),
            attempts: None,
            events: Vec::new(),
            sent: 0,
        }
    }

    /// Returns what `send` must return.
    ///
    /// # Errors
    ///
    /// Those that it must return.
    pub fn send(&mut self, message: &[u8]) -> Result<Step<A, Event>, CommandError> {
        if self.attempts.is_some() {
            return Err(CommandError::OutOfTurn);
        }
        if message.len() > DATAGRAM_MAX {
            return Err(Invalid::TooLong.into());
        }
        udp_reply(message).ok_or(Invalid::NotUtf8)?;
        self.attempts = Some(1);
        self.sent += 1;
        Ok(self.transmit(None))
    }

    fn transmit(&self, event: Option<Event>) -> Step<A, Event> {
        let transmit = Some(Transmit { to: self.server, payload: Payload::Message });
        Step { transmit, timer: Timer::Start(self.limits.timeout_ms), event }
    }

    /// Returns what `step` must return.
    pub fn step(&mut self, input: Input<'_, A>, message: &[u8]) -> Step<A, Event> {
        let step = self.next(input, message);
        self.events.extend(step.event);
        step
    }

    fn next(&mut self, input: Input<'_, A>, message: &[u8]) -> Step<A, Event> {
        let stop = |event| Step { transmit: None, timer: Timer::Stop, event: Some(event) };
        let current = udp_reply(message).unwrap_or_default();
        let bytes = match input {
            Input::TimedOut => {
                let Some(attempts) = self.attempts else { return Step::none() };
                if attempts <= u16::from(self.limits.retries) {
                    self.attempts = Some(attempts + 1);
                    return self.transmit(Some(Event::Again { attempts: attempts + 1 }));
                }
                self.attempts = None;
                self.ended.push((current, Ending::Lost));
                return stop(Event::Lost { attempts });
            }
            Input::Received { from, .. } if from != self.server => {
                return Step::event(Event::Stranger);
            }
            Input::Received { datagram, .. } if datagram.is_truncated => {
                return Step::event(Event::Truncated);
            }
            Input::Received { datagram, .. } => datagram.bytes,
            _ => return Step::event(Event::Unreachable),
        };
        let remembered = self.ended.len().saturating_sub(self.history);
        let same = |ended: &&mut (Vec<u8>, Ending)| ended.0 == bytes;
        let mut earlier: Vec<_> = self.ended[remembered..].iter_mut().rev().filter(same).collect();
        if let Some(attempts) = self.attempts
            && current == bytes
        {
            let is_ambiguous = !earlier.is_empty();
            self.attempts = None;
            self.ended.push((current, Ending::Answered));
            return stop(Event::Reply { attempts, is_ambiguous });
        }
        Step::event(if let Some(lost) = earlier.iter_mut().find(|one| one.1 == Ending::Lost) {
            lost.1 = Ending::Answered;
            Event::Late
        } else if earlier.is_empty() {
            Event::Unmatched(self.attempts.and_then(|_| Mistake::of(message, bytes)))
        } else {
            Event::Duplicate
        })
    }

    /// Returns what the summary must be, from the list of all events.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let count = |is: fn(&Event) -> bool| {
            u32::try_from(self.events.iter().filter(|event| is(event)).count()).unwrap_or(u32::MAX)
        };
        let late = count(|event| *event == Event::Late);
        let mut summary = Summary::default();
        summary.sent = self.sent;
        summary.retries = count(|event| matches!(event, Event::Again { .. }));
        summary.received = late + count(|event| matches!(event, Event::Reply { .. }));
        summary.lost = count(|event| matches!(event, Event::Lost { .. })) - late;
        summary.duplicates = count(|event| *event == Event::Duplicate);
        summary.reordered = late;
        summary.unmatched = count(|event| matches!(event, Event::Unmatched(_)));
        summary.truncated = count(|event| *event == Event::Truncated);
        summary.strangers = count(|event| *event == Event::Stranger);
        summary.unreachable = count(|event| *event == Event::Unreachable);
        summary
    }

    /// Whether a message waits for its reply.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.attempts.is_some()
    }
}
