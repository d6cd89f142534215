//! The clients of the simulation: what they send and expect, and how they misbehave.

use std::collections::VecDeque;
use std::fmt;

use super::script::{MARK, OPERATION, TEXT, pattern};
use crate::rng::Rng;

/// Protocol of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Operations that use every path of the engine.
    Script,
    /// The same, and what ends a session early resets its connection.
    ScriptWithResets,
    /// The math quiz.
    Math,
    /// Echo.
    Echo,
    /// Greetings. The server ends after a number of clients.
    Hello,
}

/// Number of questions of a quiz.
pub(super) const ROUNDS: u16 = 3;
/// Secret of a quiz.
pub(super) const SECRET: [u8; 8] = *b"simulate";

/// How a client disturbs a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// It follows the protocol.
    Correct,
    /// It closes its socket after it has sent this number of bytes.
    Closes(usize),
    /// It resets the connection after it has sent this number of bytes.
    Resets(usize),
    /// It sends nothing more after this number of bytes.
    FallsSilent(usize),
    /// It reads nothing more after this number of bytes.
    StopsReading(usize),
    /// It disappears after it has sent this number of bytes: its system answers nothing.
    Vanishes(usize),
    /// It sends another byte in place of the one at this offset.
    Errs(usize),
}

/// What a client expects at the end of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// The server's end of stream.
    Close,
    /// A reset.
    Reset,
}

/// Bytes that are sent once the client has received a number of bytes.
#[derive(Debug)]
struct Chunk {
    after: usize,
    bytes: Vec<u8>,
}

/// Byte of the server that it sends after a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Its offset.
    pub(super) at: usize,
    /// Time without a byte of the client in milliseconds. `None`: another thread works.
    pub(super) quiet_ms: Option<u16>,
    /// Number of the client's bytes, without a header, up to the operation's end.
    asked_by: usize,
    /// Whether nothing delays the start of that time once all before it has been sent.
    pub(super) is_prompt: bool,
}

/// A client's program.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) behaviour: Behaviour,
    pub(super) finish: Finish,
    /// Bytes to be sent.
    pub(super) outbox: VecDeque<u8>,
    chunks: VecDeque<Chunk>,
    /// Expected bytes of the server; `None` for the quiz, whose numbers are random.
    expected: Option<Vec<u8>>,
    /// Offsets of the server's bytes before which there is a message boundary, in order.
    pub(super) boundaries: VecDeque<usize>,
    /// Bytes that the server sends after a time, in order.
    pub(super) marks: VecDeque<Mark>,
    /// Whether the client closes its sending side when it has nothing more to send.
    half_closes: bool,
    /// Whether it sends more than the server reads.
    pub(super) talks: bool,
    /// Offsets of the server's bytes at which payload starts and ends.
    payloads: Vec<(usize, usize)>,
    /// Offsets of the client's bytes at which messages of echo end.
    message_ends: Vec<usize>,
    /// Bytes of an incomplete message of the quiz.
    message: Vec<u8>,
    questions: u16,
    has_secret: bool,
    /// Length of the PROXY header that the balancer in front of the client sends.
    pub(super) header: usize,
    pub(super) has_header: bool,
    pub(super) sent: usize,
    pub(super) received: usize,
    /// Largest number of bytes that the client sends and reads at a time.
    pub(super) cut: usize,
    pub(super) read: usize,
    /// Longest pause in microseconds before a send or a read.
    pub(super) gap: usize,
}

/// What it does, shortly.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { behaviour, finish, cut, read, gap, .. } = self;
        write!(f, "{behaviour:?}, {finish:?}, cut {cut}, reads {read}, gap {gap}: ")?;
        let first: Vec<u8> = self.outbox.iter().copied().take(30).collect();
        write!(f, "\"{}\"", first.escape_ascii())?;
        for Chunk { after, bytes } in &self.chunks {
            let bytes = bytes.get(..30).unwrap_or(bytes).escape_ascii();
            write!(f, ", after {after} \"{bytes}\"")?;
        }
        write!(f, "; {} bytes expected", self.reply_len())
    }
}

impl Client {
    /// `header` is empty if the server expects none.
    pub(super) fn new(protocol: Protocol, header: &[u8], rng: &mut Rng) -> Self {
        let mut client = Self {
            behaviour: Behaviour::Correct,
            finish: Finish::Close,
            outbox: VecDeque::new(),
            chunks: VecDeque::new(),
            expected: Some(Vec::new()),
            boundaries: VecDeque::new(),
            marks: VecDeque::new(),
            half_closes: false,
            talks: false,
            payloads: Vec::new(),
            message_ends: Vec::new(),
            message: Vec::new(),
            questions: 0,
            has_secret: false,
            header: 0,
            has_header: false,
            sent: 0,
            received: 0,
            cut: if rng.percent(50) { usize::MAX } else { rng.within(1, 40) },
            read: if rng.percent(60) { usize::MAX } else { rng.within(1, 300) },
            gap: 0,
        };
        match protocol {
            Protocol::Script | Protocol::ScriptWithResets => client.script(rng),
            Protocol::Math => client.expected = None,
            Protocol::Echo => client.echo(rng),
            Protocol::Hello => {
                client.expect(socklab::hello::SERVER_GREETING);
                client.expect(b"\n");
            }
        }
        let total = client.chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>();
        let total = if protocol == Protocol::Math { usize::from(ROUNDS) * 4 } else { total };
        let total = total + header.len();
        let at = if rng.percent(10) { total } else { rng.within(0, total) };
        client.behaviour = match rng.below(100) {
            0..64 => Behaviour::Correct,
            64..72 => Behaviour::Closes(at),
            72..80 => Behaviour::Resets(at),
            80..86 => Behaviour::FallsSilent(at),
            86..90 => Behaviour::StopsReading(rng.within(0, 600)),
            90..94 => Behaviour::Vanishes(at),
            // An error in a header may give another valid one.
            _ => Behaviour::Errs(rng.within(header.len(), total.max(1))),
        };
        client.header = header.len();
        // Some balancers are not configured for it.
        client.has_header = !header.is_empty() && client.behaviour != Behaviour::Errs(header.len());
        if client.has_header {
            client.outbox.extend(header);
        }
        client.released();
        client
    }

    fn expect(&mut self, bytes: &[u8]) {
        self.expected.get_or_insert_default().extend_from_slice(bytes);
    }

    fn expected_len(&self) -> usize {
        self.expected.as_ref().map_or(0, Vec::len)
    }

    /// Adds bytes to be sent after everything expected so far has been received.
    fn chunk(&mut self, bytes: Vec<u8>, waits: bool) {
        let after = if waits { self.expected_len() } else { 0 };
        self.chunks.push_back(Chunk { after, bytes });
    }

    fn script(&mut self, rng: &mut Rng) {
        // After a time of silence and after a boundary that is to be seen, the next operation waits for the reply.
        let mut waits = false;
        // Whether a pause is the last that the server has to do, and not a reply.
        let mut ends_with_pause = false;
        for _ in 0..rng.within(1, 6) {
            let operation = *b"RRRBBPPIST".get(rng.below(10)).unwrap_or(&b'R');
            let n = match operation {
                // Longer than most limits for idle sessions, which a session that sleeps is not.
                b'S' if rng.percent(30) => rng.within(1000, 9000),
                // Longer than the time until the notice about an incomplete message.
                b'T' if rng.percent(30) => rng.within(1000, 1300),
                b'I' | b'S' | b'T' => rng.within(1, 900),
                b'B' if rng.percent(10) => 0,
                b'P' if rng.percent(20) => rng.within(0, 20_000),
                _ if rng.percent(15) => rng.within(0, 9000),
                _ => rng.within(0, 60),
            };
            let [.., high, low] = n.to_be_bytes();
            let mut bytes = vec![operation, high, low];
            if operation == b'T' {
                bytes.resize(OPERATION + rng.within(0, 6), TEXT);
            }
            self.chunk(bytes, waits || rng.percent(30));
            waits = false;
            match operation {
                b'I' | b'S' | b'T' => {
                    let quiet_ms = (operation != b'S').then(|| u16::from_be_bytes([high, low]));
                    let (at, is_prompt) = (self.expected_len(), !ends_with_pause);
                    let asked_by = self.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
                    self.marks.push_back(Mark { at, quiet_ms, asked_by, is_prompt });
                    self.expect(&[MARK]);
                    ends_with_pause = false;
                    waits = true;
                }
                _ => {
                    if operation == b'B' {
                        self.boundaries.push_back(self.expected_len());
                    }
                    let at = self.expected_len();
                    if operation == b'P' {
                        self.payloads.push((at, at + n));
                    }
                    ends_with_pause = n == 0 && (ends_with_pause || operation == b'B');
                    let reply: Vec<u8> = (0..n).map(pattern).collect();
                    self.expect(&reply);
                }
            }
        }
        if rng.percent(5) {
            // More than the server reads at once.
            self.chunk(b"R\0\0".repeat(2000), waits);
            waits = false;
        }
        match rng.below(10) {
            0..6 => {
                let [.., high, low] = rng.within(1, 900).to_be_bytes();
                let end = if rng.percent(15) { [b'E', high, low] } else { [b'F'; OPERATION] };
                self.chunk(end.to_vec(), waits);
                self.talks = rng.percent(30);
                if self.talks {
                    self.chunk(vec![b'x'; rng.within(1, 3000)], false);
                }
            }
            6..9 => {
                self.chunk(Vec::new(), waits);
                self.half_closes = true;
            }
            _ => {
                // Everything before a reset has to have been read.
                self.chunk(vec![b'A'; OPERATION], true);
                self.finish = Finish::Reset;
            }
        }
    }

    fn echo(&mut self, rng: &mut Rng) {
        for _ in 0..rng.within(0, 5) {
            let n = if rng.percent(15) { rng.within(0, 9000) } else { rng.within(0, 60) };
            // ASCII, so that ten characters are ten bytes.
            let payload: Vec<u8> = (0..n).map(|i| b' ' + pattern(i + n) % 64).collect();
            let length = u32::try_from(n).unwrap_or(0).to_be_bytes();
            let message = [&length[..], &payload].concat();
            self.message_ends.push(self.message_ends.last().unwrap_or(&0) + message.len());
            let waits = rng.percent(30);
            self.chunk(message, waits);
            let rest = payload.get(10..).unwrap_or_default();
            let length = u32::try_from(rest.len()).unwrap_or(0).to_be_bytes();
            self.expect(&length);
            self.expect(rest);
        }
        self.chunk(Vec::new(), rng.percent(50));
        self.half_closes = true;
    }

    /// Moves the chunks that may be sent now to the outbox.
    fn released(&mut self) {
        while let Some(chunk) = self.chunks.front()
            && self.received >= chunk.after
            && let Some(chunk) = self.chunks.pop_front()
        {
            self.outbox.extend(chunk.bytes);
        }
    }

    /// Handles bytes of the server. Returns what is wrong with them.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Option<String> {
        let at = self.received;
        self.received += bytes.len();
        match &self.expected {
            Some(expected) if expected.get(at..self.received) == Some(bytes) => {}
            Some(_) if matches!(self.behaviour, Behaviour::Errs(_)) => {}
            Some(expected) => {
                return Some(format!(
                    "bytes {at} to {} of {} differ from those expected",
                    self.received,
                    expected.len()
                ));
            }
            None => return self.quiz(bytes),
        }
        self.released();
        None
    }

    fn quiz(&mut self, bytes: &[u8]) -> Option<String> {
        self.message.extend_from_slice(bytes);
        while self.message.len() >= 9 {
            let message: Vec<u8> = self.message.drain(..9).collect();
            let number = |at: usize| -> Option<u32> {
                Some(u32::from_be_bytes(message.get(at..at + 4)?.try_into().ok()?))
            };
            match message.first() {
                Some(b'Q') if self.questions < ROUNDS && !self.has_secret => {
                    self.questions += 1;
                    let sum = number(1)?.wrapping_add(number(5)?);
                    self.outbox.extend(sum.to_be_bytes());
                }
                Some(b'S') if self.questions == ROUNDS && message.get(1..) == Some(&SECRET) => {
                    self.has_secret = true;
                }
                _ => return Some(format!("the message {message:?} is out of turn")),
            }
        }
        None
    }

    /// Returns whether payload follows and precedes this number of bytes of the server.
    pub(super) fn is_in_payload(&self, at: usize) -> bool {
        self.payloads.iter().any(|&(start, end)| start < at && at < end)
    }

    /// Returns whether the server has read whole messages of echo.
    pub(super) fn is_between_messages(&self, read: usize) -> bool {
        let read = read.checked_sub(self.header);
        read.is_some_and(|read| read == 0 || self.message_ends.contains(&read))
    }

    /// Returns whether the client has sent too little for the end of its session.
    pub(super) fn has_more(&self) -> bool {
        !self.talks && (!self.outbox.is_empty() || !self.chunks.is_empty())
    }

    /// Returns whether everything expected has been received.
    pub(super) fn is_complete(&self) -> bool {
        match &self.expected {
            Some(expected) => self.received >= expected.len() && self.chunks.is_empty(),
            None => self.has_secret,
        }
    }

    /// Returns the number of bytes that a correct server sends, if that is known.
    pub(super) fn reply_len(&self) -> usize {
        self.expected.as_ref().map_or(usize::from(ROUNDS) * 9 + 9, Vec::len)
    }

    /// Returns whether the client closes its sending side now.
    pub(super) fn closes_sending(&self) -> bool {
        self.half_closes && self.outbox.is_empty() && self.chunks.is_empty()
    }

    /// Takes the next bytes to be sent, at most `room`.
    pub(super) fn take(&mut self, room: usize, rng: &mut Rng) -> Vec<u8> {
        let limit = match self.behaviour {
            Behaviour::Closes(at)
            | Behaviour::Resets(at)
            | Behaviour::FallsSilent(at)
            | Behaviour::Vanishes(at) => at.saturating_sub(self.sent),
            _ => usize::MAX,
        };
        let most = self.outbox.len().min(room).min(limit);
        let most = match self.outbox.iter().position(|byte| *byte == TEXT) {
            // The bytes of a text come one after the other.
            Some(at) if self.sends_text() => most.min(at.max(1)),
            _ => most,
        };
        let n = if most == 0 { 0 } else { rng.within(1, most.min(self.cut)).min(most) };
        let mut bytes: Vec<u8> = self.outbox.drain(..n).collect();
        if let Behaviour::Errs(at) = self.behaviour
            && let Some(byte) = at.checked_sub(self.sent).and_then(|at| bytes.get_mut(at))
        {
            *byte ^= 0x55;
        }
        self.sent += n;
        bytes
    }

    /// Returns whether the client has operations with a text.
    fn sends_text(&self) -> bool {
        !self.marks.is_empty()
    }

    /// Returns the time in milliseconds after which the server takes a text as complete, if a byte of one is next.
    pub(super) fn text_ms(&self) -> Option<u16> {
        self.outbox.front().filter(|byte| **byte == TEXT)?;
        self.marks.front()?.quiet_ms
    }

    /// Returns whether the server has nothing to send, before a byte that it sends after a time.
    pub(super) fn awaits_mark(&self, written: usize) -> bool {
        let mark = self.marks.front().filter(|mark| mark.is_prompt && mark.at == written);
        mark.is_some() && !matches!(self.behaviour, Behaviour::Errs(_))
    }

    /// Returns whether the server has read an operation for which another thread works now.
    pub(super) fn is_asleep(&self, read: usize, written: usize) -> bool {
        let mark = self.marks.front().filter(|mark| mark.at == written && mark.quiet_ms.is_none());
        mark.is_some_and(|mark| read >= self.header + mark.asked_by)
            && !matches!(self.behaviour, Behaviour::Errs(_))
    }

    /// Returns the byte sent after a time that the server's byte at this offset is, once.
    pub(super) fn take_mark(&mut self, written: usize) -> Option<Mark> {
        while self.marks.front().is_some_and(|mark| mark.at < written) {
            self.marks.pop_front();
        }
        if self.marks.front()?.at == written { self.marks.pop_front() } else { None }
    }

    /// Returns whether the disturbance is due.
    pub(super) fn is_due(&self) -> bool {
        match self.behaviour {
            Behaviour::Closes(at)
            | Behaviour::Resets(at)
            | Behaviour::FallsSilent(at)
            | Behaviour::Vanishes(at) => self.sent >= at,
            Behaviour::StopsReading(at) => self.received >= at,
            Behaviour::Correct | Behaviour::Errs(_) => false,
        }
    }
}
