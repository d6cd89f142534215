//! A client and a server, connected by a simulated link with virtual time.
//!
//! One seed chooses everything: buffer sizes, the capacity of the link, where reads and writes are
//! cut, how long bytes travel, when a side stops reading for a while and when the connection is
//! reset. The same seed gives the same run, and every failure names its seed.

use std::collections::VecDeque;
use std::time::Duration;

use socklab_core::machine::{CommandError, Machine, StreamEnd};
use socklab_core::math::{Question, Secret};
use socklab_core::session::{Polled, Session, Want};
use socklab_core::{echo, math};

use crate::faults::{self, Cut, Schedule, Step};
use crate::oracle::echo_reply_bytes;
use crate::rng::Rng;
use crate::role::{Application, EchoClient, EchoServer, MathClient, MathServer, Message};

/// Number of ticks without progress that counts as a deadlock. It is larger than any delay.
const DEADLOCK: u64 = 2_000;

/// How the link treats the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Number of bytes, counted in both directions together, after which the connection is reset.
    pub reset_after: Option<usize>,
    /// Capacity of each direction in bytes. When it is full, the sender has to wait.
    pub link: usize,
    /// Largest number of bytes by which a buffer exceeds what its machine needs.
    pub spare: usize,
    /// Largest number of ticks that a byte travels.
    pub delay: u64,
    /// Whether the client closes its sending side as soon as it has nothing more to send.
    pub half_close: bool,
    /// Whether the server reads nothing while any byte it sent is unread.
    pub strict_server: bool,
}

impl Faults {
    /// Draws small windows and delays, and no reset.
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            reset_after: None,
            link: rng.within(1, 64),
            spare: rng.below(64),
            delay: rng.below(20) as u64,
            half_close: rng.percent(30),
            strict_server: rng.percent(30),
        }
    }
}

/// Result of one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndResult<E, X> {
    /// Events it emitted, with pieces joined.
    pub events: Vec<E>,
    /// How it ended.
    pub ended: Result<(), X>,
}

/// Results of both ends.
pub type PairResult<C, S> = (
    EndResult<<C as Application>::Event, <<C as Application>::Machine as Machine>::Error>,
    EndResult<<S as Application>::Event, <<S as Application>::Machine as Machine>::Error>,
);

/// One direction of the link. Its schedule says when bytes can be read, and how many at a time.
#[derive(Debug)]
struct Direction {
    schedule: Schedule,
    bytes: VecDeque<u8>,
    /// Whether the sender has closed.
    closed: bool,
}

/// Returns the time of a tick.
const fn time(tick: u64) -> Duration {
    Duration::from_millis(tick)
}

impl Direction {
    fn new(faults: &Faults, rng: &mut Rng) -> Self {
        let faults = faults::Faults {
            cut: Some(Cut::Random),
            jitter: time(faults.delay),
            ..faults::Faults::default()
        };
        let schedule = Schedule::new(faults, rng.bits());
        Self { schedule, bytes: VecDeque::new(), closed: false }
    }

    fn send(&mut self, bytes: &[u8], now: u64) {
        let mut bytes = bytes.to_vec();
        self.schedule.arrive(time(now), &mut bytes);
        self.bytes.extend(bytes);
    }

    /// Returns the number of bytes that can be read now.
    fn readable(&mut self, now: u64) -> usize {
        match self.schedule.next(time(now)) {
            Step::Write(n) => n,
            _ => 0,
        }
    }

    /// Reads bytes from the front, at most as many as there are.
    fn read(&mut self, to: &mut [u8], now: u64) -> usize {
        let n = self.bytes.len().min(to.len());
        for (to, byte) in to.iter_mut().zip(self.bytes.drain(..n)) {
            *to = byte;
        }
        self.schedule.left(time(now), n);
        n
    }

    fn clear(&mut self, now: u64) {
        self.schedule.left(time(now), self.bytes.len());
        self.bytes.clear();
    }
}

struct Endpoint<R: Application> {
    role: R,
    session: Session<R::Machine, Vec<u8>, Vec<u8>>,
    events: Vec<R::Event>,
    ended: Option<Result<(), <R::Machine as Machine>::Error>>,
    sent_fin: bool,
    /// Tick before which it does nothing.
    busy_until: u64,
}

impl<R: Application> Endpoint<R> {
    fn new(role: &R, rng: &mut Rng, spare: usize) -> Self {
        let input = vec![0; R::Machine::MIN_INPUT + rng.below(spare + 1)];
        let output = vec![0; R::Machine::MIN_OUTPUT + rng.below(spare + 1)];
        let session = Session::new(role.machine(), input, output).expect("the sizes are enough");
        let role = role.clone();
        Self { role, session, events: Vec::new(), ended: None, sent_fin: false, busy_until: 0 }
    }

    /// Gives the commands that can be given now. Returns whether there was one.
    fn give_commands(&mut self) -> Result<bool, String> {
        let mut gave_any = false;
        loop {
            if self.session.machine().outbound_remaining() > 0 {
                let n = self.session.write_payload(self.role.payload());
                self.role.advance_outbound(n);
                gave_any |= n > 0;
                if self.session.machine().outbound_remaining() > 0 {
                    return Ok(gave_any);
                }
            }
            let Some(command) = self.role.command() else { return Ok(gave_any) };
            match self.session.command(command) {
                Ok(()) => {
                    self.role.given();
                    gave_any = true;
                }
                Err(CommandError::OutputFull) if !self.session.transmit().is_empty() => {
                    return Ok(gave_any);
                }
                Err(CommandError::OutputFull) if self.role.split() => {}
                // After a reset the machine may have ended before the application's turn.
                Err(CommandError::OutOfTurn) if self.session.has_ended() || R::TAKES_TURNS => {
                    return Ok(gave_any);
                }
                Err(refused) => return Err(format!("a command in turn was refused: {refused:?}")),
            }
        }
    }

    /// Steps as far as possible without the link. Returns whether anything happened.
    fn advance(&mut self) -> Result<bool, String> {
        let mut moved = false;
        // Every step moves a byte, emits an event or waits, and both buffers are small: the bound
        // is never reached.
        for _ in 0..100_000 {
            if self.ended.is_some() {
                return Ok(moved);
            }
            if !R::TAKES_TURNS {
                moved |= self.give_commands()?;
            }
            match self.session.poll() {
                Ok(Polled::Event(event)) => {
                    let event = R::own(self.session.view(event));
                    self.role.emitted(&event);
                    if !self.events.last_mut().is_some_and(|last| R::append(last, &event)) {
                        self.events.push(event);
                    }
                }
                Ok(Polled::Want(Want::Boundary)) => {}
                Ok(Polled::Want(Want::Flush)) => self.session.flushed(),
                Ok(Polled::Want(Want::Command)) => {
                    if !self.give_commands()? {
                        return Ok(moved);
                    }
                }
                Ok(Polled::Want(Want::Broken(law))) => return Err(law.to_string()),
                Ok(Polled::Want(Want::Close | Want::Abort)) => self.ended = Some(Ok(())),
                Ok(Polled::Want(want)) => {
                    let again = self.session.poll();
                    if !matches!(again, Ok(Polled::Want(same)) if same == want) {
                        return Err(format!("wants {want:?}, and then {again:?}"));
                    }
                    return Ok(moved);
                }
                Err(e) => {
                    let again = self.session.poll().err();
                    if again != Some(e) {
                        return Err(format!("the error {e:?} does not repeat: {again:?}"));
                    }
                    self.ended = Some(Err(e));
                }
            }
            moved = true;
        }
        Err(format!("the steps do not end: {:?}", self.session.machine()))
    }

    /// Moves bytes between the session and the link. Returns how many moved.
    fn transfer(
        &mut self,
        out: &mut Direction,
        back: &mut Direction,
        now: u64,
        rng: &mut Rng,
        faults: &Faults,
        may_read: bool,
    ) -> usize {
        let mut moved = 0;
        // A write may be partial, as on a socket.
        let room = faults.link.saturating_sub(out.bytes.len());
        let n = self.session.transmit().len().min(room);
        let n = if n > 0 { rng.within(1, n) } else { 0 };
        if !out.closed && n > 0 && out.schedule.has_room() {
            out.send(&self.session.transmit()[..n], now);
            self.session.transmitted(n);
            moved += n;
        }
        if self.ended.is_some() {
            // An end that has finished still drains the link before it closes.
            moved += back.bytes.len();
            back.clear(now);
        } else if may_read {
            let there = back.readable(now);
            let room = self.session.recv_space();
            let n = there.min(room.len());
            let n = back.read(&mut room[..n], now);
            if n > 0 {
                self.session.received(n);
            } else if back.closed && back.bytes.is_empty() && !self.session.has_ended() {
                self.session.ended(StreamEnd::Closed);
                moved += 1;
            }
            moved += n;
        }
        moved
    }
}

/// Runs both ends until both have ended, or neither can continue.
///
/// # Errors
///
/// A deadlock, steps that do not end, or an error that does not repeat. The message contains the
/// seed.
pub fn run_pair<C: Application, S: Application>(
    client: &C,
    server: &S,
    faults: &Faults,
    seed: u64,
) -> Result<PairResult<C, S>, String> {
    let with_seed = |what: String| format!("seed {seed:#x}, {faults:?}: {what}");
    let mut rng = Rng::new(seed);
    let mut client = Endpoint::new(client, &mut rng, faults.spare);
    let mut server = Endpoint::new(server, &mut rng, faults.spare);
    let (mut up, mut down) = (Direction::new(faults, &mut rng), Direction::new(faults, &mut rng));
    let (mut now, mut last_progress, mut transferred, mut was_reset) =
        (0_u64, 0_u64, 0_usize, false);
    let mut idles = 0;
    while client.ended.is_none() || server.ended.is_none() {
        now += 1;
        let mut moved = false;
        // The order of the two ends within a tick must not matter.
        for turn in [rng.percent(50), true] {
            let is_client = turn ^ (rng.bits() & 1 == 0);
            let busy = if is_client { &mut client.busy_until } else { &mut server.busy_until };
            if *busy > now {
                continue;
            }
            if rng.percent(3) {
                *busy = now + rng.below(50) as u64;
                continue;
            }
            if is_client {
                moved |= client.advance().map_err(|e| with_seed(format!("client: {e}")))?;
                let n = client.transfer(&mut up, &mut down, now, &mut rng, faults, true);
                transferred += n;
                moved |= n > 0;
                let all_sent = client.session.transmit().is_empty();
                // A role without further commands has nothing more to send.
                let has_nothing_to_send = faults.half_close
                    && client.role.command().is_none()
                    && client.session.machine().outbound_remaining() == 0
                    && client.has_finished();
                if all_sent && !client.sent_fin && (client.ended.is_some() || has_nothing_to_send) {
                    (client.sent_fin, up.closed, moved) = (true, true, true);
                }
            } else {
                moved |= server.advance().map_err(|e| with_seed(format!("server: {e}")))?;
                let may_read = !faults.strict_server
                    || (server.session.transmit().is_empty() && down.bytes.is_empty());
                let n = server.transfer(&mut down, &mut up, now, &mut rng, faults, may_read);
                transferred += n;
                moved |= n > 0;
                let all_sent = server.session.transmit().is_empty();
                if all_sent && !server.sent_fin && server.ended.is_some() {
                    (server.sent_fin, down.closed, moved) = (true, true, true);
                }
            }
        }
        if !was_reset && faults.reset_after.is_some_and(|after| transferred >= after) {
            (was_reset, moved) = (true, true);
            // A reset may or may not destroy the bytes in flight.
            if rng.percent(50) {
                up.clear(now);
                down.clear(now);
            }
            for lane in [&mut up, &mut down] {
                lane.closed = true;
            }
            reset(&mut client, &mut down, now);
            reset(&mut server, &mut up, now);
        }
        if moved {
            (last_progress, idles) = (now, 0);
        } else if now - last_progress > DEADLOCK && idles < 2 {
            // A machine that waits for idle input sees this as idle.
            if C::WAITS_FOR_IDLE {
                client.session.idle();
            }
            if S::WAITS_FOR_IDLE {
                server.session.idle();
            }
            (last_progress, idles) = (now, idles + 1);
        } else if now - last_progress > DEADLOCK {
            let (c, s) = (client.session.machine(), server.session.machine());
            return Err(with_seed(format!(
                "deadlock at {now}: client {c:?}, {} to send, ended {:?}; server {s:?}, {} to send, \
                 ended {:?}; {} and {} on the link",
                client.session.transmit().len(),
                client.ended,
                server.session.transmit().len(),
                server.ended,
                up.bytes.len(),
                down.bytes.len(),
            )));
        }
    }
    Ok((client.into_result(), server.into_result()))
}

/// Resets one end. What has arrived is read first, as far as there is space.
fn reset<R: Application>(end: &mut Endpoint<R>, lane: &mut Direction, now: u64) {
    let n = lane.read(end.session.recv_space(), now);
    end.session.received(n);
    end.session.ended(StreamEnd::Reset);
    end.session.write_ended(StreamEnd::Reset);
    lane.clear(now);
    end.busy_until = 0;
}

impl<R: Application> Endpoint<R> {
    /// Returns whether its machine accepts no more commands.
    fn has_finished(&self) -> bool {
        let Some(probe) = R::probe() else { return false };
        self.session.machine().clone().command(probe, &mut [0; 64]) == Err(CommandError::OutOfTurn)
    }

    fn into_result(self) -> EndResult<R::Event, <R::Machine as Machine>::Error> {
        EndResult { events: self.events, ended: self.ended.unwrap_or(Ok(())) }
    }
}

/// Checks that the two ends of a quiz agree. The client's answers are always right.
///
/// # Errors
///
/// A message that names the first disagreement.
pub fn math_agrees(
    questions: &[(u32, u32)],
    secret: [u8; 8],
    faults: &Faults,
    (client, server): &PairResult<MathClient, MathServer>,
) -> Result<(), String> {
    use math::{client, server};
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let asked = questions.iter().map(|&(a, b)| client::Event::Question(Question { a, b }));
    let expected: Vec<_> = asked.chain([client::Event::Secret(Secret(secret))]).collect();
    if !expected.starts_with(&client.events) {
        return fail("the client emitted unexpected events");
    }
    let right = questions.iter().map(|(a, b)| server::Event::Right { answer: a.wrapping_add(*b) });
    if !right.collect::<Vec<_>>().starts_with(&server.events) {
        return fail("the server received wrong answers");
    }
    if server.events.len() > client.events.len() {
        return fail("the server received answers to questions it did not ask");
    }
    let is_whole = client.events == expected;
    if is_whole != client.ended.is_ok() {
        return fail("the client finished too early or too late");
    }
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == questions.len() => Ok(()),
        (None, ..) => fail("a session without faults failed"),
        (Some(_), Err(client::Error::Truncated { cut, .. }), _) if cut.how == StreamEnd::Reset => {
            Ok(())
        }
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(_), _) => fail("a reset was reported as another error"),
    }
}

/// Checks that the two ends of echo agree.
///
/// # Errors
///
/// A message that names the first disagreement.
pub fn echo_agrees(
    messages: &[Message],
    faults: &Faults,
    (client, server): &PairResult<EchoClient, EchoServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let mut whole = 0;
    for (index, reply) in client.events.iter().enumerate() {
        let expected = messages.get(index).and_then(|m| echo_reply_bytes(&m.payload));
        let Some(expected) = expected else { return fail("a reply without a message") };
        if !expected.starts_with(&reply.bytes) || reply.whole != (reply.bytes == expected) {
            return fail("a reply is wrong");
        }
        whole += usize::from(reply.whole);
    }
    let lengths: Vec<usize> = server
        .events
        .iter()
        .map(|echo::server::Event::Echoed { length }| *length as usize)
        .collect();
    let sent: Vec<usize> = messages.iter().map(|m| m.payload.len()).collect();
    if !sent.starts_with(&lengths) {
        return fail("the server received other messages");
    }
    if whole > lengths.len() {
        return fail("the client has replies that the server did not send");
    }
    if (whole == messages.len()) != client.ended.is_ok() {
        return fail("the client finished too early or too late");
    }
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if lengths.len() == sent.len() => Ok(()),
        (None, ..) => fail("a session without faults failed"),
        (Some(_), Err(echo::client::Error::Truncated { cut, .. }), _)
            if cut.how == StreamEnd::Reset =>
        {
            Ok(())
        }
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(_), _) => fail("a reset was reported as another error"),
    }
}
