//! The client: sends a message, waits for its reply, and sends it again.

use core::fmt;

use super::{Mistake, reply_to};
use crate::datagram::{DATAGRAM_MAX, Input, Machine, Payload, Step, Timer, Transmit};
use crate::machine::{CommandError, Invalid};

/// Number of earlier messages that a client remembers, by default.
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

/// What counts the events of a client: a [`Summary`], or `()` where that is too large.
pub trait Counters {
    /// Counts a message that is sent for the first time.
    fn sent(&mut self);

    /// Counts an event. Each event of a client is counted once.
    fn event(&mut self, event: &Event);
}

impl Counters for () {
    #[inline]
    fn sent(&mut self) {}

    #[inline]
    fn event(&mut self, _: &Event) {}
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

/// Client of the exercise with datagrams. 116 bytes with a `SocketAddr`.
///
/// One message is in flight at a time. The caller keeps the message, and passes it with each input.
///
/// `A` is the address of a peer. The client remembers the last `H` messages, at most 32, by 4 bytes each:
/// that is how it recognises late and repeated replies. With 0 these are [unmatched](Event::Unmatched),
/// and nothing is ambiguous. `C` counts. So a `Client<SocketAddrV4, 4, ()>` has 36 bytes.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Client<A, const H: usize = HISTORY, C = Summary> {
    server: A,
    // The two limits apart: a `Limits` is padded.
    timeout_ms: u32,
    retries: u8,
    /// Number of retries left, while a message is in flight.
    left: Option<u8>,
    /// Number of messages remembered.
    known: u8,
    /// Hashes of their replies, the last message first.
    past: [u32; H],
    /// Which of them are lost: the lowest bit is that of the last message.
    lost: u32,
    counters: C,
}

/// Returns the FNV-1a hash of 32 bits. It recognises replies to earlier messages, whose bytes are not kept. The reply to
/// the current message is compared byte by byte. So two replies with one hash can only make a number of the summary
/// wrong by one, or an event ambiguous that is not.
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
        /// Whether one of the messages that the client remembers has the same reply. Then this may be
        /// that message's reply, late or duplicated by the network: the protocol cannot tell.
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
        Self::with_counters(
            server,
            limits,
            Summary {
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
        )
    }
}

impl<A, const H: usize> Client<A, H> {
    /// Returns the numbers of messages and datagrams until now.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.counters
    }
}

impl<A, const H: usize, C> Client<A, H, C> {
    /// Returns a client with counters of the caller, `()` say, that remembers `H` messages. A type
    /// annotation chooses `H`.
    ///
    /// ```
    /// use core::net::SocketAddrV4;
    /// use socklab_core::udp::{Client, client::Limits};
    ///
    /// fn small(server: SocketAddrV4) -> Client<SocketAddrV4, 4, ()> {
    ///     Client::with_counters(server, Limits::default(), ())
    /// }
    /// assert_eq!(size_of::<Client<SocketAddrV4, 4, ()>>(), 36);
    /// ```
    #[must_use]
    pub const fn with_counters(server: A, limits: Limits, counters: C) -> Self {
        const { assert!(H <= 32, "a client remembers at most 32 messages") };
        Self {
            server,
            timeout_ms: limits.timeout_ms,
            retries: limits.retries,
            left: None,
            known: 0,
            past: [0; H],
            lost: 0,
            counters,
        }
    }

    /// Returns the address of the server.
    pub const fn server(&self) -> &A {
        &self.server
    }

    /// Whether a message waits for its reply.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.left.is_some()
    }

    /// Number of times that the current message has been sent.
    fn attempts(&self, left: u8) -> u16 {
        u16::from(self.retries).saturating_sub(u16::from(left)).saturating_add(1)
    }

    /// Ends the current message, and remembers the hash of its reply.
    fn finish(&mut self, hash: u32, is_lost: bool) {
        self.left = None;
        let mut moved = hash;
        for place in &mut self.past {
            core::mem::swap(place, &mut moved);
        }
        self.lost = self.lost.wrapping_shl(1) | u32::from(is_lost);
        if usize::from(self.known) < H {
            self.known = self.known.saturating_add(1);
        }
    }

    /// Returns the bit of the last earlier message with this reply, a lost one preferred; 0 if none has it.
    fn earlier(&self, hash: u32) -> u32 {
        let (mut found, mut bit) = (0, 1_u32);
        for past in self.past.iter().take(self.known.into()) {
            let is_better = found == 0 || (self.lost & found == 0 && self.lost & bit != 0);
            if *past == hash && is_better {
                found = bit;
            }
            bit = bit.wrapping_shl(1);
        }
        found
    }

    /// Handles a datagram of the server.
    fn receive(&mut self, reply: &[u8], message: &[u8]) -> Step<A, Event> {
        let hash = hash(reply);
        let earlier = self.earlier(hash);
        if let Some(left) = self.left
            && reply_to(message) == Some(reply)
        {
            let (attempts, is_ambiguous) = (self.attempts(left), earlier != 0);
            self.finish(hash, false);
            let event = Event::Reply { attempts, is_ambiguous };
            return Step { transmit: None, timer: Timer::Stop, event: Some(event) };
        }
        Step::event(if self.lost & earlier != 0 {
            self.lost &= !earlier;
            Event::Late
        } else if earlier != 0 {
            Event::Duplicate
        } else {
            Event::Unmatched(self.left.and_then(|_| Mistake::of(message, reply)))
        })
    }
}

impl<A: Copy, const H: usize, C> Client<A, H, C> {
    fn time_out(&mut self, message: &[u8]) -> Step<A, Event> {
        let Some(left) = self.left else { return Step::none() };
        let attempts = self.attempts(left);
        let Some(rest) = left.checked_sub(1) else {
            self.finish(hash(reply_to(message).unwrap_or_default()), true);
            let event = Event::Lost { attempts };
            return Step { transmit: None, timer: Timer::Stop, event: Some(event) };
        };
        self.left = Some(rest);
        let event = Event::Again { attempts: attempts.saturating_add(1) };
        Step { event: Some(event), ..self.transmit() }
    }

    /// Returns the step that sends the message.
    const fn transmit(&self) -> Step<A, Event> {
        Step {
            transmit: Some(Transmit { to: self.server, payload: Payload::Message }),
            timer: Timer::Start(self.timeout_ms),
            event: None,
        }
    }
}

impl<A: Copy + PartialEq, const H: usize, C: Counters> Machine<A> for Client<A, H, C> {
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
        if reply_to(message).is_none() {
            return Err(Invalid::NotUtf8.into());
        }
        self.left = Some(self.retries);
        self.counters.sent();
        Ok(self.transmit())
    }

    fn step(&mut self, input: Input<'_, A>, message: &[u8]) -> Step<A, Event> {
        let step = match input {
            Input::TimedOut => self.time_out(message),
            Input::Unreachable => Step::event(Event::Unreachable),
            Input::Received { from, .. } if from != self.server => Step::event(Event::Stranger),
            Input::Received { datagram, .. } if datagram.is_truncated => {
                Step::event(Event::Truncated)
            }
            Input::Received { datagram, .. } => self.receive(datagram.bytes, message),
        };
        if let Some(event) = &step.event {
            self.counters.event(event);
        }
        step
    }
}

impl Counters for Summary {
    fn sent(&mut self) {
        count(&mut self.sent);
    }

    fn event(&mut self, event: &Event) {
        count(match event {
            Event::Reply { .. } => &mut self.received,
            Event::Again { .. } => &mut self.retries,
            Event::Lost { .. } => &mut self.lost,
            Event::Late => {
                self.lost = self.lost.saturating_sub(1);
                count(&mut self.received);
                &mut self.reordered
            }
            Event::Duplicate => &mut self.duplicates,
            Event::Unmatched(_) => &mut self.unmatched,
            Event::Truncated => &mut self.truncated,
            Event::Stranger => &mut self.strangers,
            Event::Unreachable => &mut self.unreachable,
        });
    }
}

fn count(n: &mut u32) {
    *n = n.saturating_add(1);
}

impl fmt::Display for Summary {
    /// Writes the numbers on one line, without those that are 0 and that every session has not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sent, {} received, {} lost, {} duplicate{}, {} reordered",
            self.sent,
            self.received,
            self.lost,
            self.duplicates,
            if self.duplicates == 1 { "" } else { "s" },
            self.reordered
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
            "2 sent, 1 received, 0 lost, 1 duplicate, 1 reordered, 2 sent again"
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
        // The other datagram may still be answered, and the next message has the same reply.
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
    fn a_late_reply_is_that_of_the_lost_one_among_equal_messages() {
        let mut client = client(0);
        let lost = Some(Event::Lost { attempts: 1 });
        let _ = client.send(A).unwrap();
        assert_eq!(client.step(Input::TimedOut, A).event, lost);
        let _ = client.send(A).unwrap();
        let event = Event::Reply { attempts: 1, is_ambiguous: true };
        assert_eq!(client.step(from(SERVER, b" first"), A).event, Some(event));
        for event in [Event::Late, Event::Duplicate] {
            assert_eq!(client.step(from(SERVER, b" first"), b""), Step::event(event));
        }
        let Summary { sent, received, lost, .. } = client.summary();
        assert_eq!((sent, received, lost), (2, 2, 0));
    }

    #[test]
    fn a_client_without_history_knows_its_current_message_alone() {
        let mut client: Client<u8, 0, ()> = Client::with_counters(SERVER, Limits::default(), ());
        for _ in 0..2 {
            let _ = client.send(A).unwrap();
            let event = Event::Reply { attempts: 1, is_ambiguous: false };
            assert_eq!(client.step(from(SERVER, b" first"), A).event, Some(event));
            let unmatched = Step::event(Event::Unmatched(None));
            assert_eq!(client.step(from(SERVER, b" first"), A), unmatched);
        }
    }

    #[test]
    fn a_client_remembers_up_to_32_messages() {
        let mut client: Client<u8, 32, ()> =
            Client::with_counters(SERVER, Limits { timeout_ms: 1, retries: 0 }, ());
        let message = |n: usize| [&b"0123456789"[..], n.to_string().as_bytes()].concat();
        for n in 0..33 {
            let _ = client.send(&message(n)).unwrap();
            assert_eq!(
                client.step(Input::TimedOut, &message(n)).event,
                Some(Event::Lost { attempts: 1 })
            );
        }
        let mut event = |n: usize| client.step(from(SERVER, n.to_string().as_bytes()), b"").event;
        assert_eq!(event(0), Some(Event::Unmatched(None)));
        for n in 1..33 {
            assert_eq!(event(n), Some(Event::Late));
            assert_eq!(event(n), Some(Event::Duplicate));
        }
    }

    #[test]
    fn a_client_has_the_stated_sizes() {
        use core::net::{SocketAddr, SocketAddrV4};
        assert_eq!(size_of::<Client<SocketAddr>>(), 116);
        assert_eq!(size_of::<Client<SocketAddrV4>>(), 92);
        assert_eq!(size_of::<Client<SocketAddrV4, 4, ()>>(), 36);
        assert_eq!(size_of::<Client<SocketAddrV4, 0, ()>>(), 20);
        assert_eq!(size_of::<Summary>(), 40);
    }
}
