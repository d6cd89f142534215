//! The client: sends a message, waits for its reply, and sends it again.

use core::fmt;

use super::{Mistake, reply_to};
use crate::datagram::{DATAGRAM_MAX, Input, Machine, Payload, Step, Timer, Transmit};
use crate::machine::{CommandError, Invalid};

/// Number of earlier messages whose late and repeated replies a client recognises.
pub const HISTORY: usize = 8;

/// How long and how often a client tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    /// Time to wait for a reply each time, in milliseconds.
    pub timeout_ms: u32,
    /// Number of times that a message is sent again.
    pub retries: u8,
}

impl Default for Limits {
    /// One second and two retries.
    fn default() -> Self {
        Self { timeout_ms: 1000, retries: 2 }
    }
}

/// Numbers of messages and datagrams. They stop at 2^32 - 1.
///
/// `sent` is `received` and `lost` together, and the message that still waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Summary {
    /// Messages sent.
    pub sent: u32,
    /// Datagrams sent again.
    pub retries: u32,
    /// Messages whose reply came, late ones included.
    pub received: u32,
    /// Messages without a reply.
    pub lost: u32,
    /// Replies that came again.
    pub duplicates: u32,
    /// Replies that came after their message had been given up.
    pub reordered: u32,
    /// Datagrams from the server that are the reply to none of the last messages.
    pub unmatched: u32,
    /// Datagrams longer than the buffer.
    pub truncated: u32,
    /// Datagrams from other addresses.
    pub strangers: u32,
    /// Reports that a datagram did not arrive.
    pub unreachable: u32,
}

/// Client of the exercise with datagrams. 132 bytes with an IPv4 address and port.
///
/// One message is in flight at a time. `A` is the address of a peer. The caller keeps the message, and
/// passes it with each input.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client<A> {
    server: A,
    limits: Limits,
    /// Number of retries left, while a message is in flight.
    left: Option<u8>,
    current: Past,
    summary: Summary,
    past: [Past; HISTORY],
    /// Position of the oldest entry.
    oldest: u8,
}

/// What a client remembers of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Past {
    /// Hash of the reply.
    hash: u32,
    /// Length of the reply in bytes.
    length: u16,
    /// Number of datagrams whose reply may still come.
    open: u8,
    state: Fate,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Fate {
    /// The entry is not used.
    #[default]
    None,
    Answered,
    Lost,
}

impl Past {
    fn is_reply(&self, hash: u32, length: usize) -> bool {
        self.state != Fate::None && self.hash == hash && usize::from(self.length) == length
    }
}

/// FNV-1a of 32 bits. It recognises replies to earlier messages, whose bytes are not kept. The reply to the current one is
/// compared byte by byte.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Event of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event {
    /// The reply has come: the datagram. Send the next message.
    Reply {
        /// Number of times that the message had been sent.
        attempts: u16,
        /// Whether it may be the late reply to an earlier message, which has the same rest.
        is_ambiguous: bool,
    },
    /// No reply has come in time. The message is sent again.
    Again {
        /// Number of times that the message has been sent, with this one.
        attempts: u16,
    },
    /// No reply has come after the last retry. Send the next message.
    Lost {
        /// Number of times that the message has been sent.
        attempts: u16,
    },
    /// The reply to an earlier message has come again.
    Duplicate,
    /// The reply to an earlier message has come after that had been given up.
    Late,
    /// The server sent something that is the reply to none of the last messages.
    Unmatched(Option<Mistake>),
    /// The server sent a datagram that is longer than the buffer.
    Truncated,
    /// A datagram came from another address. It is ignored.
    Stranger,
    /// The network reports that a datagram did not arrive. The timer runs: a server that is being
    /// started may get the next one.
    Unreachable,
}

impl<A> Client<A> {
    /// Returns a client of the server at this address.
    #[must_use]
    pub const fn new(server: A, limits: Limits) -> Self {
        const NONE: Past = Past { hash: 0, length: 0, open: 0, state: Fate::None };
        Self {
            server,
            limits,
            left: None,
            current: NONE,
            summary: Summary {
                sent: 0,
                retries: 0,
                received: 0,
                lost: 0,
                duplicates: 0,
                reordered: 0,
                unmatched: 0,
                truncated: 0,
                strangers: 0,
                unreachable: 0,
            },
            past: [NONE; HISTORY],
            oldest: 0,
        }
    }

    /// Returns the address of the server.
    pub const fn server(&self) -> &A {
        &self.server
    }

    /// Returns the numbers of messages and datagrams until now.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.summary
    }

    /// Whether a message waits for its reply.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.left.is_some()
    }

    /// Number of times that the current message has been sent.
    fn attempts(&self, left: u8) -> u16 {
        u16::from(self.limits.retries).saturating_sub(u16::from(left)).saturating_add(1)
    }

    /// Ends the current message, and remembers it.
    fn finish(&mut self, state: Fate) {
        let place = self.past.get_mut(usize::from(self.oldest));
        if let Some(place) = place {
            *place = Past { state, ..self.current };
        }
        self.left = None;
        let next = self.oldest.wrapping_add(1);
        self.oldest = if usize::from(next) < HISTORY { next } else { 0 };
    }

    /// Returns the last earlier message with this reply, an answer still open preferred.
    fn earlier(&mut self, hash: u32, length: usize) -> Option<&mut Past> {
        let is_open = |past: &Past| past.is_reply(hash, length) && past.open > 0;
        let open = self.past.iter().position(is_open);
        let place = open.or_else(|| self.past.iter().position(|past| past.is_reply(hash, length)));
        self.past.get_mut(place?)
    }
}

fn count(n: &mut u32) {
    *n = n.saturating_add(1);
}

impl<A: Copy + PartialEq> Client<A> {
    /// Handles a datagram of the server.
    fn receive<E>(&mut self, reply: &[u8], message: &[u8]) -> Step<E, Event> {
        let (hash, length) = (hash(reply), reply.len());
        if let Some(left) = self.left
            && reply_to(message) == Some(reply)
        {
            let is_ambiguous =
                self.past.iter().any(|past| past.is_reply(hash, length) && past.open > 0);
            self.current.open = self.current.open.saturating_sub(1);
            let attempts = self.attempts(left);
            self.finish(Fate::Answered);
            count(&mut self.summary.received);
            let event = Event::Reply { attempts, is_ambiguous };
            return Step { transmit: None, timer: Timer::Stop, event: Some(event) };
        }
        let earlier = self.earlier(hash, length).map(|past| {
            past.open = past.open.saturating_sub(1);
            core::mem::replace(&mut past.state, Fate::Answered)
        });
        Step::event(match earlier {
            Some(Fate::Lost) => {
                count(&mut self.summary.received);
                count(&mut self.summary.reordered);
                self.summary.lost = self.summary.lost.saturating_sub(1);
                Event::Late
            }
            Some(_) => {
                count(&mut self.summary.duplicates);
                Event::Duplicate
            }
            None => {
                count(&mut self.summary.unmatched);
                Event::Unmatched(self.left.and_then(|_| Mistake::of(message, reply)))
            }
        })
    }

    fn time_out(&mut self) -> Step<A, Event> {
        let Some(left) = self.left else { return Step::none() };
        let attempts = self.attempts(left);
        let Some(rest) = left.checked_sub(1) else {
            self.finish(Fate::Lost);
            count(&mut self.summary.lost);
            let event = Event::Lost { attempts };
            return Step { transmit: None, timer: Timer::Stop, event: Some(event) };
        };
        self.left = Some(rest);
        count(&mut self.summary.retries);
        let event = Event::Again { attempts: attempts.saturating_add(1) };
        Step { event: Some(event), ..self.transmit() }
    }

    /// Sends the message once more.
    fn transmit(&mut self) -> Step<A, Event> {
        self.current.open = self.current.open.saturating_add(1);
        Step {
            transmit: Some(Transmit { to: self.server, payload: Payload::Message }),
            timer: Timer::Start(self.limits.timeout_ms),
            event: None,
        }
    }
}

impl<A: Copy + PartialEq> Machine<A> for Client<A> {
    type Event = Event;

    /// Sends a message of up to [`DATAGRAM_MAX`] bytes, whose first ten characters are UTF-8.
    fn send(&mut self, message: &[u8]) -> Result<Step<A, Event>, CommandError> {
        if self.left.is_some() {
            return Err(CommandError::OutOfTurn);
        }
        if message.len() > DATAGRAM_MAX {
            return Err(Invalid::TooLong.into());
        }
        // The server does not answer that.
        let reply = reply_to(message).ok_or(Invalid::NotUtf8)?;
        let length = u16::try_from(reply.len()).unwrap_or(u16::MAX);
        self.current = Past { hash: hash(reply), length, open: 0, state: Fate::None };
        self.left = Some(self.limits.retries);
        count(&mut self.summary.sent);
        Ok(self.transmit())
    }

    fn step(&mut self, input: Input<'_, A>, message: &[u8]) -> Step<A, Event> {
        match input {
            Input::TimedOut => self.time_out(),
            Input::Unreachable => {
                count(&mut self.summary.unreachable);
                Step::event(Event::Unreachable)
            }
            Input::Received { from, .. } if from != self.server => {
                count(&mut self.summary.strangers);
                Step::event(Event::Stranger)
            }
            Input::Received { datagram, .. } if datagram.is_truncated => {
                count(&mut self.summary.truncated);
                Step::event(Event::Truncated)
            }
            Input::Received { datagram, .. } => self.receive(datagram.bytes, message),
        }
    }
}

impl fmt::Display for Summary {
    /// Writes the numbers on one line, without those that are 0 and that every session has not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sent, {} received, {} lost, {} duplicates, {} reordered",
            self.sent, self.received, self.lost, self.duplicates, self.reordered
        )?;
        for (n, what) in [
            (self.retries, "sent again"),
            (self.unmatched, "unexpected"),
            (self.truncated, "truncated"),
            (self.strangers, "from other addresses"),
            (self.unreachable, "unreachable"),
        ] {
            if n > 0 {
                write!(f, ", {n} {what}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::datagram::Datagram;

    const SERVER: u8 = 1;
    const A: &[u8] = b"0123456789 first";
    const B: &[u8] = b"0123456789 second";

    fn client(retries: u8) -> Client<u8> {
        Client::new(SERVER, Limits { timeout_ms: 300, retries })
    }

    fn from<'d>(from: u8, bytes: &'d [u8]) -> Input<'d, u8> {
        Input::Received { from, datagram: Datagram::whole(bytes) }
    }

    fn sends(step: Step<u8, Event>) {
        let transmit = Transmit { to: SERVER, payload: Payload::Message };
        assert_eq!((step.transmit, step.timer), (Some(transmit), Timer::Start(300)));
    }

    #[test]
    fn a_reply_ends_the_message() {
        let mut client = client(2);
        let step = client.send(A).unwrap();
        sends(step);
        assert_eq!(client.send(B), Err(CommandError::OutOfTurn));
        let step = client.step(from(SERVER, b" first"), A);
        let event = Event::Reply { attempts: 1, is_ambiguous: false };
        assert_eq!(step, Step { transmit: None, timer: Timer::Stop, event: Some(event) });
        assert!(!client.is_waiting());
        assert_eq!(
            client.summary().to_string(),
            "1 sent, 1 received, 0 lost, 0 duplicates, 0 reordered"
        );
    }

    #[test]
    fn a_message_is_sent_again_and_then_lost() {
        let mut client = client(2);
        let _ = client.send(A).unwrap();
        for attempts in [2, 3] {
            let step = client.step(Input::TimedOut, A);
            sends(step);
            assert_eq!(step.event, Some(Event::Again { attempts }));
        }
        let step = client.step(Input::TimedOut, A);
        assert_eq!(step.transmit, None);
        assert_eq!((step.timer, step.event), (Timer::Stop, Some(Event::Lost { attempts: 3 })));
        assert_eq!(client.step(Input::TimedOut, A), Step::none());
        // Its reply comes while the next message waits.
        let _ = client.send(B).unwrap();
        assert_eq!(client.step(from(SERVER, b" first"), B).event, Some(Event::Late));
        assert_eq!(client.step(from(SERVER, b" first"), B).event, Some(Event::Duplicate));
        assert!(client.is_waiting());
        assert_eq!(
            client.summary().to_string(),
            "2 sent, 1 received, 0 lost, 1 duplicates, 1 reordered, 2 sent again"
        );
    }

    #[test]
    fn a_second_reply_is_a_duplicate() {
        let mut client = client(0);
        let _ = client.send(A).unwrap();
        let _ = client.step(from(SERVER, b" first"), A);
        assert_eq!(client.step(from(SERVER, b" first"), A), Step::event(Event::Duplicate));
        let _ = client.send(B).unwrap();
        assert_eq!(client.step(from(SERVER, b" first"), B), Step::event(Event::Duplicate));
        assert_eq!(client.summary().duplicates, 2);
    }

    #[test]
    fn a_reply_that_could_be_an_earlier_one_is_ambiguous() {
        let mut client = client(1);
        let _ = client.send(b"short").unwrap();
        let _ = client.step(Input::TimedOut, b"short");
        let reply = |is_ambiguous, attempts| Some(Event::Reply { attempts, is_ambiguous });
        assert_eq!(client.step(from(SERVER, b""), b"short").event, reply(false, 2));
        // One of the two datagrams may still be answered, and the next message has the same reply.
        let _ = client.send(b"tiny").unwrap();
        assert_eq!(client.step(from(SERVER, b""), b"tiny").event, reply(true, 1));
    }

    #[test]
    fn what_another_address_sends_has_no_effect() {
        let mut client = client(1);
        let _ = client.send(A).unwrap();
        assert_eq!(client.step(from(9, b" first"), A), Step::event(Event::Stranger));
        assert!(client.is_waiting());
        assert_eq!(client.summary().strangers, 1);
    }

    #[test]
    fn other_datagrams_of_the_server_do_not_stop_the_timer() {
        let mut client = client(1);
        let _ = client.send(A).unwrap();
        let datagram = Datagram { bytes: b" fir", is_truncated: true };
        let truncated = Input::Received { from: SERVER, datagram };
        assert_eq!(client.step(truncated, A), Step::event(Event::Truncated));
        let unmatched = Event::Unmatched(Some(Mistake::NothingRemoved));
        assert_eq!(client.step(from(SERVER, A), A), Step::event(unmatched));
        assert_eq!(client.step(Input::Unreachable, A), Step::event(Event::Unreachable));
        assert_eq!(
            client.summary().to_string(),
            "1 sent, 0 received, 0 lost, 0 duplicates, 0 reordered, 1 unexpected, 1 truncated, 1 unreachable"
        );
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let mut client = client(1);
        let long = [b'x'; DATAGRAM_MAX + 1];
        assert_eq!(client.send(&long), Err(Invalid::TooLong.into()));
        assert_eq!(client.send(b"abc\xff"), Err(Invalid::NotUtf8.into()));
        assert_eq!(client.summary(), Summary::default());
        assert!(client.send(&long[1..]).is_ok());
    }

    #[test]
    fn the_oldest_message_is_forgotten() {
        let mut client = client(0);
        for n in 0..=HISTORY {
            let message = [&b"0123456789"[..], n.to_string().as_bytes()].concat();
            let _ = client.send(&message).unwrap();
            let reply = &message[10..];
            assert!(matches!(
                client.step(from(SERVER, reply), &message).event,
                Some(Event::Reply { .. })
            ));
        }
        assert_eq!(client.step(from(SERVER, b"0"), b"").event, Some(Event::Unmatched(None)));
        assert_eq!(client.step(from(SERVER, b"1"), b"").event, Some(Event::Duplicate));
    }

    #[test]
    fn a_client_of_an_ipv4_address_has_132_bytes() {
        assert_eq!(size_of::<Client<core::net::SocketAddrV4>>(), 132);
    }
}
