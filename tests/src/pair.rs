//! A client and a server, joined over a simulated link with virtual time.
//!
//! One seed chooses everything: buffer sizes, how much the link holds, where reads and writes are
//! cut, how long bytes travel, when a side stops reading for a while, when the connection is
//! reset. The same seed gives the same run; every failure names it.

use std::collections::VecDeque;

use socklab_core::machine::{Action, CommandError, Machine, Need, StreamEnd};
use socklab_core::math::{Question, Secret};
use socklab_core::session::Session;
use socklab_core::{echo, math};

use crate::oracle::echo_reply_bytes;
use crate::rng::Rng;
use crate::role::{EchoClient, EchoServer, MathClient, MathServer, Message, Role};

/// So long nothing may happen before it counts as a deadlock, in ticks. Bytes travel for less.
const DEADLOCK: u64 = 2_000;

/// What the link does to the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// The connection is reset after so many bytes have been handed over in both directions
    /// together.
    pub reset_after: Option<usize>,
    /// So many bytes one direction holds at most: what is not read pushes back.
    pub link: usize,
    /// Each buffer has so many bytes more than its machine needs, at the most.
    pub spare: usize,
    /// Bytes travel for so many ticks at the most.
    pub delay: u64,
    /// The client closes its sending side as soon as it has nothing more to say.
    pub half_close: bool,
    /// The server reads nothing while a byte of its own has not been read.
    pub strict_server: bool,
}

impl Faults {
    /// No faults but small windows and delays, all of them chosen by `rng`.
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

/// How one side fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side<E, X> {
    /// What its application was told, pieces put together.
    pub events: Vec<E>,
    /// How it ended.
    pub ended: Result<(), X>,
}

/// How both fared.
pub type Both<C, S> = (
    Side<<C as Role>::Event, <<C as Role>::Machine as Machine>::Error>,
    Side<<S as Role>::Event, <<S as Role>::Machine as Machine>::Error>,
);

/// One direction of the link.
#[derive(Debug, Default)]
struct Lane {
    /// Each byte and when it can be read.
    bytes: VecDeque<(u64, u8)>,
    /// The sender has closed.
    closed: bool,
}

struct End<R: Role> {
    role: R,
    session: Session<R::Machine, Vec<u8>, Vec<u8>>,
    events: Vec<R::Event>,
    ended: Option<Result<(), <R::Machine as Machine>::Error>>,
    sent_fin: bool,
    /// It does nothing before this time.
    busy_until: u64,
}

impl<R: Role> End<R> {
    fn new(role: &R, rng: &mut Rng, spare: usize) -> Self {
        let input = vec![0; R::Machine::MIN_INPUT + rng.below(spare + 1)];
        let output = vec![0; R::Machine::MIN_OUTPUT + rng.below(spare + 1)];
        let session = Session::new(role.machine(), input, output).expect("the sizes are enough");
        let role = role.clone();
        Self { role, session, events: Vec::new(), ended: None, sent_fin: false, busy_until: 0 }
    }

    /// Gives the commands that can be given now. Says whether there was one.
    fn speak(&mut self) -> Result<bool, String> {
        let mut spoke = false;
        loop {
            if self.session.machine().outbound_remaining() > 0 {
                let n = self.session.write_payload(self.role.payload());
                self.role.advance_outbound(n);
                spoke |= n > 0;
                if self.session.machine().outbound_remaining() > 0 {
                    return Ok(spoke);
                }
            }
            let Some(command) = self.role.command() else { return Ok(spoke) };
            match self.session.command(command) {
                Ok(()) => {
                    self.role.given();
                    spoke = true;
                }
                Err(CommandError::OutputFull) if !self.session.transmit().is_empty() => {
                    return Ok(spoke);
                }
                Err(CommandError::OutputFull) if self.role.split() => {}
                // After a reset the machine may have ended before the application had its say.
                Err(CommandError::OutOfTurn) if self.session.has_ended() || R::TAKES_TURNS => {
                    return Ok(spoke);
                }
                Err(refused) => return Err(format!("a command in turn was refused: {refused:?}")),
            }
        }
    }

    /// Goes on as far as it can without the link. Says whether anything happened.
    fn think(&mut self) -> Result<bool, String> {
        let mut moved = false;
        // Every step moves a byte, tells something or waits; both buffers are small.
        for _ in 0..100_000 {
            if self.ended.is_some() {
                return Ok(moved);
            }
            if !R::TAKES_TURNS {
                moved |= self.speak()?;
            }
            match self.session.step() {
                Ok(Action::Event(event)) => {
                    let event = R::own(event);
                    self.role.emitted(&event);
                    if !self.events.last_mut().is_some_and(|last| R::append(last, &event)) {
                        self.events.push(event);
                    }
                }
                Ok(Action::Continue | Action::Boundary) => {}
                Ok(Action::Need(Need::Command)) => {
                    if !self.speak()? {
                        return Ok(moved);
                    }
                }
                Ok(Action::Need(need)) => {
                    let is_full = self.session.room().is_empty();
                    if is_full && !matches!(need, Need::OutputSpace) {
                        return Err(format!("asks for {need:?} with a full input buffer"));
                    }
                    return Ok(moved);
                }
                Ok(Action::Close | Action::Abort) => self.ended = Some(Ok(())),
                Err(e) => {
                    let again = self.session.step().err();
                    if again != Some(e) {
                        return Err(format!("the error {e:?} does not repeat: {again:?}"));
                    }
                    self.ended = Some(Err(e));
                }
            }
            moved = true;
        }
        Err(format!("steps without end: {:?}", self.session.machine()))
    }

    /// Moves bytes between the session and the link. Says whether any moved.
    fn carry(
        &mut self,
        out: &mut Lane,
        back: &mut Lane,
        now: u64,
        rng: &mut Rng,
        faults: &Faults,
        may_read: bool,
    ) -> usize {
        let mut moved = 0;
        // A write takes a part, as a socket does.
        let room = faults.link.saturating_sub(out.bytes.len());
        let n = self.session.transmit().len().min(room);
        let n = if n > 0 { rng.within(1, n) } else { 0 };
        if !out.closed && n > 0 {
            let due = now + rng.below(faults.delay as usize + 1) as u64;
            // Bytes never overtake one another.
            let due = out.bytes.back().map_or(due, |(last, _)| due.max(*last));
            out.bytes.extend(self.session.transmit()[..n].iter().map(|byte| (due, *byte)));
            self.session.sent(n);
            moved += n;
        }
        if self.ended.is_some() {
            // It reads no more, but what comes is taken off the link: it drains before it closes.
            moved += back.bytes.len();
            back.bytes.clear();
        } else if may_read {
            let there = back.bytes.iter().take_while(|(due, _)| *due <= now).count();
            let room = self.session.room();
            let n = there.min(room.len());
            let n = if n > 0 { rng.within(1, n) } else { 0 };
            for (to, (_, byte)) in room.iter_mut().zip(back.bytes.drain(..n)) {
                *to = byte;
            }
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

/// Lets the two talk until both have ended, or neither can go on.
///
/// # Errors
///
/// A deadlock, steps without end, an error that does not repeat: with the seed.
pub fn talk<C: Role, S: Role>(
    client: &C,
    server: &S,
    faults: &Faults,
    seed: u64,
) -> Result<Both<C, S>, String> {
    let named = |what: String| format!("seed {seed:#x}, {faults:?}: {what}");
    let mut rng = Rng::new(seed);
    let mut client = End::new(client, &mut rng, faults.spare);
    let mut server = End::new(server, &mut rng, faults.spare);
    let (mut up, mut down) = (Lane::default(), Lane::default());
    let (mut now, mut quiet_since, mut carried, mut was_reset) = (0_u64, 0_u64, 0_usize, false);
    let mut silences = 0;
    while client.ended.is_none() || server.ended.is_none() {
        now += 1;
        let mut moved = false;
        // Who comes first in a tick must not matter.
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
                moved |= client.think().map_err(|e| named(format!("client: {e}")))?;
                let n = client.carry(&mut up, &mut down, now, &mut rng, faults, true);
                carried += n;
                moved |= n > 0;
                let is_out = client.session.transmit().is_empty();
                // A role without commands left has nothing more to say.
                let is_silent = faults.half_close
                    && client.role.command().is_none()
                    && client.session.machine().outbound_remaining() == 0
                    && client.has_finished();
                if is_out && !client.sent_fin && (client.ended.is_some() || is_silent) {
                    (client.sent_fin, up.closed, moved) = (true, true, true);
                }
            } else {
                moved |= server.think().map_err(|e| named(format!("server: {e}")))?;
                let may_read = !faults.strict_server
                    || (server.session.transmit().is_empty() && down.bytes.is_empty());
                let n = server.carry(&mut down, &mut up, now, &mut rng, faults, may_read);
                carried += n;
                moved |= n > 0;
                let is_out = server.session.transmit().is_empty();
                if is_out && !server.sent_fin && server.ended.is_some() {
                    (server.sent_fin, down.closed, moved) = (true, true, true);
                }
            }
        }
        if !was_reset && faults.reset_after.is_some_and(|after| carried >= after) {
            (was_reset, moved) = (true, true);
            // A reset destroys what is on its way, or comes late enough to destroy nothing.
            if rng.percent(50) {
                up.bytes.clear();
                down.bytes.clear();
            }
            for lane in [&mut up, &mut down] {
                lane.closed = true;
            }
            reset(&mut client, &mut down);
            reset(&mut server, &mut up);
        }
        if moved {
            (quiet_since, silences) = (now, 0);
        } else if now - quiet_since > DEADLOCK && silences < 2 {
            // To those that wait for it, it is a silence.
            if C::HEARS_SILENCE {
                client.session.idle();
            }
            if S::HEARS_SILENCE {
                server.session.idle();
            }
            (quiet_since, silences) = (now, silences + 1);
        } else if now - quiet_since > DEADLOCK {
            let (c, s) = (client.session.machine(), server.session.machine());
            return Err(named(format!(
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
    Ok((client.fared(), server.fared()))
}

/// What has arrived is read as far as there is room, then the reset is seen.
fn reset<R: Role>(end: &mut End<R>, lane: &mut Lane) {
    let room = end.session.room();
    let n = lane.bytes.len().min(room.len());
    for (to, (_, byte)) in room.iter_mut().zip(lane.bytes.drain(..n)) {
        *to = byte;
    }
    end.session.received(n);
    end.session.ended(StreamEnd::Reset);
    end.session.write_ended(StreamEnd::Reset);
    lane.bytes.clear();
    end.busy_until = 0;
}

impl<R: Role> End<R> {
    /// Whether its machine takes no more commands: what it has to say is said.
    fn has_finished(&self) -> bool {
        let Some(probe) = R::probe() else { return false };
        self.session.machine().clone().command(probe, &mut [0; 64]) == Err(CommandError::OutOfTurn)
    }

    fn fared(self) -> Side<R::Event, <R::Machine as Machine>::Error> {
        Side { events: self.events, ended: self.ended.unwrap_or(Ok(())) }
    }
}

/// What the two ends of a quiz have to agree on. The client is right whatever it is asked.
///
/// # Errors
///
/// What they do not agree on.
pub fn math_agrees(
    questions: &[(u32, u32)],
    secret: [u8; 8],
    faults: &Faults,
    (client, server): &Both<MathClient, MathServer>,
) -> Result<(), String> {
    use math::{client, server};
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let asked = questions.iter().map(|&(a, b)| client::Event::Question(Question { a, b }));
    let told: Vec<_> = asked.chain([client::Event::Secret(Secret(secret))]).collect();
    if !told.starts_with(&client.events) {
        return fail("the client was told something else");
    }
    let right = questions.iter().map(|(a, b)| server::Event::Right { answer: a.wrapping_add(*b) });
    if !right.collect::<Vec<_>>().starts_with(&server.events) {
        return fail("the server saw wrong answers");
    }
    if server.events.len() > client.events.len() {
        return fail("the server saw answers to what was never asked");
    }
    let is_whole = client.events == told;
    if is_whole != client.ended.is_ok() {
        return fail("the client is done before its time, or not in time");
    }
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if server.events.len() == questions.len() => Ok(()),
        (None, ..) => fail("no fault, and it failed"),
        (Some(_), Err(client::Error::Truncated { cut, .. }), _) if cut.how == StreamEnd::Reset => {
            Ok(())
        }
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(_), _) => fail("a reset is named something else"),
    }
}

/// What the two ends of echo have to agree on.
///
/// # Errors
///
/// What they do not agree on.
pub fn echo_agrees(
    messages: &[Message],
    faults: &Faults,
    (client, server): &Both<EchoClient, EchoServer>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{what}: {client:?}, {server:?}"));
    let mut whole = 0;
    for (index, reply) in client.events.iter().enumerate() {
        let expected = messages.get(index).and_then(|m| echo_reply_bytes(&m.payload));
        let Some(expected) = expected else { return fail("a reply to no message") };
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
        return fail("the server saw other messages");
    }
    if whole > lengths.len() {
        return fail("the client has replies the server never sent");
    }
    if (whole == messages.len()) != client.ended.is_ok() {
        return fail("the client is done before its time, or not in time");
    }
    match (faults.reset_after, client.ended, server.ended) {
        (None, Ok(()), Ok(())) if lengths.len() == sent.len() => Ok(()),
        (None, ..) => fail("no fault, and it failed"),
        (Some(_), Err(echo::client::Error::Truncated { cut, .. }), _)
            if cut.how == StreamEnd::Reset =>
        {
            Ok(())
        }
        (Some(_), Ok(()), _) => Ok(()),
        (Some(_), Err(_), _) => fail("a reset is named something else"),
    }
}
