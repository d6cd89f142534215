//! Clients and a server of `udp`, connected by a simulated, faulty network with virtual time.
//!
//! One seed chooses everything: the messages, what the network drops, duplicates and delays, what others send with
//! forged addresses, and what the network reports. Each client is compared with its
//! [model](crate::role::UdpClientModel) at every input. The network knows which message each datagram belongs to, which
//! the machines cannot.

use std::time::Duration;

use socklab_core::datagram::{Datagram, Input, Machine, Payload, Step, Timer, Transmit};
use socklab_core::udp::client::{Client, Event, Limits, Summary};
use socklab_core::udp::server::{self, Server};

use crate::faults::datagrams::{Chance, Fate, Faults, Schedule, Step as Next};
use crate::rng::Rng;
use crate::role::{UdpClientModel, udp_reply};

/// Address of an end. Clients are numbered from 1.
pub type Address = u16;

/// Address of the server.
pub const SERVER: Address = 0;
/// Address of someone else.
pub const STRANGER: Address = 1000;
/// Number of rounds that no run needs.
const ENDLESS: usize = 1_000_000;

/// What a network does, and who uses it.
#[derive(Clone, Debug)]
pub struct Network {
    /// Faults of the way to the server, and of the way back.
    pub faults: [Faults; 2],
    /// Number of clients.
    pub clients: u16,
    /// Number of messages of each.
    pub messages: usize,
    /// Limits of each.
    pub limits: Limits,
    /// Whether no two messages of a client have the same reply.
    pub is_distinct: bool,
    /// Probability in percent that someone sends a forged datagram when a client sends.
    pub forged: usize,
    /// Probability in percent that the loss of a client's datagram is reported.
    pub reported: usize,
    /// Size of the buffers of server and clients.
    pub buffers: [usize; 2],
}

impl Network {
    /// Draws faults of every kind.
    pub fn draw(rng: &mut Rng) -> Self {
        let faults = [(); 2].map(|()| Self::draw_faults(rng));
        Self {
            faults,
            clients: if rng.percent(50) { 1 } else { 3 },
            messages: rng.within(1, 20),
            limits: Limits {
                timeout_ms: u32::try_from(rng.within(1, 100)).unwrap_or(1),
                retries: u8::try_from(rng.below(4)).unwrap_or(0),
            },
            is_distinct: rng.percent(30),
            forged: if rng.percent(50) { 0 } else { rng.below(60) },
            reported: rng.below(101),
            buffers: [(); 2].map(|()| if rng.percent(70) { 2048 } else { rng.within(1, 64) }),
        }
    }

    fn draw_faults(rng: &mut Rng) -> Faults {
        let mut chance = || {
            let most = if rng.percent(40) { 1 } else { 60 };
            Chance::percent(u32::try_from(rng.below(most)).unwrap_or(0))
        };
        let (drop, duplicate, reorder) = (chance(), chance(), chance());
        let mut ms = |most| Duration::from_millis(rng.below(most) as u64);
        let (hold, delay, jitter) = (ms(200), ms(80), ms(120));
        Faults { drop, duplicate, reorder, hold, delay, jitter, ..Faults::default() }
    }
}

/// What happened to a message, as the network knows it.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Times at which it was sent.
    pub sent: Vec<Duration>,
    /// Times at which replies to it arrived, whole.
    pub replies: Vec<Duration>,
    /// Time at which it was given up.
    pub lost: Option<Duration>,
}

/// What happened to a client.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its summary.
    pub summary: Summary,
    /// Its messages.
    pub messages: Vec<Message>,
    /// Number of replies that were taken for that of another message, all marked as ambiguous.
    pub mistaken: usize,
    /// Number of replies that were taken for that of another message, which the client had forgotten.
    pub forgotten: usize,
}

/// Message that a datagram belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Origin {
    client: Address,
    message: usize,
}

/// A datagram on its way.
#[derive(Clone, Debug)]
struct Packet {
    from: Address,
    to: Address,
    bytes: Vec<u8>,
    /// `None` if it is forged, or the answer to a forged one.
    origin: Option<Origin>,
}

struct End<const H: usize> {
    address: Address,
    machine: Client<Address, H>,
    model: UdpClientModel<Address>,
    waiting: Vec<Vec<u8>>,
    report: Report,
    timer: Option<Duration>,
}

impl<const H: usize> End<H> {
    fn new(address: Address, network: &Network, rng: &mut Rng) -> Self {
        let machine = Client::with_counters(SERVER, network.limits, Summary::default());
        let mut waiting: Vec<_> =
            (0..network.messages).map(|n| message(rng, network.is_distinct.then_some(n))).collect();
        waiting.reverse();
        let summary = Summary::default();
        let report = Report { summary, messages: Vec::new(), mistaken: 0, forgotten: 0 };
        let model = UdpClientModel::new(SERVER, network.limits, H);
        Self { address, machine, model, waiting, report, timer: None }
    }

    fn message(&self) -> &[u8] {
        self.report.messages.last().map_or(&[], |message| &message.bytes)
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && !self.machine.is_waiting()
    }

    /// Starts the next message, if the last one has ended.
    fn send(&mut self, now: Duration) -> Result<Option<Packet>, String> {
        if self.machine.is_waiting() {
            let step = self.machine.send(b"one more");
            return if step.is_err() { Ok(None) } else { Err("a second message in flight".into()) };
        }
        let Some(bytes) = self.waiting.pop() else { return Ok(None) };
        let (step, expected) = (self.machine.send(&bytes), self.model.send(&bytes));
        if step != expected {
            return Err(format!("send: {step:?}, expected {expected:?}"));
        }
        let Ok(step) = step else { return Ok(None) };
        self.report.messages.push(Message { bytes, ..Message::default() });
        Ok(self.take(step, now))
    }

    /// Sets the timer. Returns the datagram to send.
    fn take(&mut self, step: Step<Address, Event>, now: Duration) -> Option<Packet> {
        match step.timer {
            Timer::Keep => {}
            Timer::Start(ms) => self.timer = Some(now + Duration::from_millis(ms.into())),
            Timer::Stop => self.timer = None,
        }
        let Transmit { to, payload } = step.transmit?;
        let bytes = payload.of(self.message(), &[]).to_vec();
        let origin = Origin { client: self.address, message: self.report.messages.len() - 1 };
        self.report.messages.last_mut()?.sent.push(now);
        Some(Packet { from: self.address, to, bytes, origin: Some(origin) })
    }

    /// Gives the machine an input, and compares its step with that of the model.
    fn input(
        &mut self,
        input: Input<'_, Address>,
        origin: Option<Origin>,
        now: Duration,
    ) -> Result<Option<Packet>, String> {
        let message = self.message().to_vec();
        let (was_waiting, may_send) = (self.machine.is_waiting(), input == Input::TimedOut);
        let step = self.machine.step(input, &message);
        let expected = self.model.step(input, &message);
        if step != expected || self.machine.summary() != self.model.summary() {
            let summaries = (self.machine.summary(), self.model.summary());
            return Err(format!("{input:?}: {step:?}, expected {expected:?}; {summaries:?}"));
        }
        if step.transmit.is_some() && !may_send {
            return Err(format!("{input:?} made a client send"));
        }
        if !matches!(step.event, Some(Event::Reply { .. } | Event::Lost { .. }))
            && (was_waiting != self.machine.is_waiting()
                || (step.timer != Timer::Keep) != step.transmit.is_some())
        {
            return Err(format!("{input:?} changed what the client waits for: {step:?}"));
        }
        let Summary { sent, received, lost, .. } = self.machine.summary();
        if sent != received + lost + u32::from(self.machine.is_waiting()) {
            return Err(format!("the sum of {:?} is wrong", self.machine.summary()));
        }
        let current = self.report.messages.len().saturating_sub(1);
        let is_server = matches!(input, Input::Received { from, datagram } if from == SERVER && !datagram.is_truncated);
        if let Some(origin) = origin.filter(|_| is_server) {
            self.report.messages[origin.message].replies.push(now);
        }
        match step.event {
            Some(Event::Reply { is_ambiguous, .. }) => {
                if let Some(origin) = origin.filter(|origin| origin.message != current) {
                    if is_ambiguous {
                        self.report.mistaken += 1;
                    } else if current - origin.message > H {
                        self.report.forgotten += 1;
                    } else {
                        return Err(format!(
                            "the reply to message {} was taken for that of {current}",
                            origin.message
                        ));
                    }
                }
            }
            Some(Event::Lost { .. }) => self.report.messages[current].lost = Some(now),
            _ => {}
        }
        Ok(self.take(step, now))
    }

    /// Checks that each message was sent and given up at the right times.
    fn check_times(&self, limits: Limits) -> Result<(), String> {
        let timeout = Duration::from_millis(limits.timeout_ms.into());
        for message in &self.report.messages {
            for (sent, n) in message.sent.iter().zip(0..) {
                if *sent != message.sent[0] + timeout * n {
                    return Err(format!("sent at {:?} instead of every {timeout:?}", message.sent));
                }
            }
            if message.sent.len() > usize::from(limits.retries) + 1 {
                return Err(format!("sent {} times", message.sent.len()));
            }
            let end = message.sent[0] + timeout * (u32::from(limits.retries) + 1);
            if message.lost.is_some_and(|lost| lost != end) {
                return Err(format!("lost at {:?} instead of {end:?}", message.lost));
            }
        }
        Ok(())
    }
}

/// Draws a message.
fn message(rng: &mut Rng, number: Option<usize>) -> Vec<u8> {
    let front = if rng.percent(60) { 10 } else { rng.below(12) };
    if let Some(number) = number {
        return format!("{}{number}", rng.text(10)).into_bytes();
    }
    let mut message = rng.text(front).into_bytes();
    if message.is_empty() || front < 10 {
        return message;
    }
    match rng.below(4) {
        0 => message.extend(b" and seven"),
        1 => message.extend([0xff, 0, 0xc3]),
        2 => message.extend(rng.text(rng.clone().below(80)).into_bytes()),
        _ => message.push(b'0' + u8::try_from(rng.below(3)).unwrap_or(0)),
    }
    message
}

/// Runs the network until all messages have ended and every datagram has arrived. Returns a report of each client.
///
/// # Errors
///
/// The first law that was broken.
pub fn run<const H: usize>(network: &Network, seed: u64) -> Result<Vec<Report>, String> {
    let mut rng = Rng::new(seed);
    let mut ways = network.faults.map(|faults| Schedule::new(faults, rng.bits()));
    let mut ends: Vec<End<H>> =
        (1..=network.clients).map(|address| End::new(address, network, &mut rng)).collect();
    // One that anyone can reach would answer itself without end.
    let ignores_empty = network.forged > 0;
    let mut server = if ignores_empty { Server::ignoring_empty() } else { Server::new() };
    let mut now = Duration::ZERO;
    for _ in 0..ENDLESS {
        let mut sent = Vec::new();
        for end in &mut ends {
            if end.timer.is_none() && rng.percent(10) {
                // A timer that was stopped too late.
                end.input(Input::TimedOut, None, now)?;
            }
            let packet = end.send(now)?;
            if packet.is_some() && rng.percent(network.forged) {
                sent.push(forge(&mut rng, end));
            }
            sent.extend(packet);
        }
        transmit(network, &mut rng, &mut ways, &mut ends, sent, now)?;
        let mut sent = Vec::new();
        let mut next: Option<Duration> = None;
        let mut has_moved = false;
        for way in &mut ways {
            match way.next(now) {
                Next::Send(departure) => {
                    has_moved = true;
                    for _ in 0..departure.copies {
                        let packet = &departure.datagram;
                        let answer = if packet.to == SERVER {
                            serve(&mut server, packet, network.buffers[0], ignores_empty)?
                        } else {
                            let end = &mut ends[usize::from(packet.to) - 1];
                            let buffer = vec![0; network.buffers[1]];
                            let datagram = received(&packet.bytes, buffer.len());
                            let input = Input::Received { from: packet.from, datagram };
                            end.input(input, packet.origin, now)?
                        };
                        sent.extend(answer);
                    }
                }
                Next::Wait(time) => next = Some(next.map_or(time, |next| next.min(time))),
                Next::Idle => {}
            }
        }
        if !has_moved {
            for end in &mut ends {
                match end.timer {
                    Some(time) if time <= now => {
                        has_moved = true;
                        end.timer = None;
                        sent.extend(end.input(Input::TimedOut, None, now)?);
                    }
                    Some(time) => next = Some(next.map_or(time, |next| next.min(time))),
                    None => {}
                }
            }
        }
        transmit(network, &mut rng, &mut ways, &mut ends, sent, now)?;
        if has_moved {
            continue;
        }
        match next {
            Some(time) => now = time,
            None if ends.iter().all(End::is_done) && ways.iter().all(Schedule::is_empty) => {
                for end in &ends {
                    end.check_times(network.limits)?;
                }
                let report = |end: End<H>| Report { summary: end.machine.summary(), ..end.report };
                return Ok(ends.into_iter().map(report).collect());
            }
            // A message has just ended: the next one starts.
            None => {}
        }
    }
    Err("the run does not end".into())
}

fn received(bytes: &[u8], buffer: usize) -> Datagram<'_> {
    // As `Datagram::in_buffer`, without the buffer: one that fills it is truncated.
    Datagram { bytes: &bytes[..bytes.len().min(buffer)], is_truncated: bytes.len() >= buffer }
}

/// Gives datagrams to the network.
fn transmit<const H: usize>(
    network: &Network,
    rng: &mut Rng,
    ways: &mut [Schedule<Packet>; 2],
    ends: &mut [End<H>],
    packets: Vec<Packet>,
    now: Duration,
) -> Result<(), String> {
    for packet in packets {
        // What the server answers to someone else leaves the network.
        if packet.to != SERVER && !ends.iter().any(|end| end.address == packet.to) {
            continue;
        }
        let way = usize::from(packet.to != SERVER);
        let (from, len) = (packet.from, packet.bytes.len());
        let fate = ways[way].arrive(now, packet, len);
        let is_reported = fate == Fate::Dropped && rng.percent(network.reported);
        if let Some(end) = ends.iter_mut().find(|end| end.address == from && is_reported) {
            end.input(Input::Unreachable, None, now)?;
        }
    }
    Ok(())
}

/// Gives the server a datagram, and checks its answer.
fn serve(
    server: &mut Server,
    packet: &Packet,
    buffer: usize,
    ignores_empty: bool,
) -> Result<Option<Packet>, String> {
    let datagram = received(&packet.bytes, buffer);
    let step = server.step(Input::Received { from: packet.from, datagram }, &[]);
    let answer = check_answer(datagram, packet.from, &step, ignores_empty)?;
    let of = |bytes| Packet { from: SERVER, to: packet.from, bytes, origin: packet.origin };
    Ok(answer.map(of))
}

/// Checks the step of a server, which may ignore empty datagrams. Returns the bytes of its answer.
///
/// # Errors
///
/// What is wrong.
pub fn check_answer<A: PartialEq + std::fmt::Debug>(
    datagram: Datagram<'_>,
    from: A,
    step: &Step<A, server::Event>,
    ignores_empty: bool,
) -> Result<Option<Vec<u8>>, String> {
    let is_ignored = datagram.is_truncated || (ignores_empty && datagram.bytes.is_empty());
    let expected = udp_reply(datagram.bytes).filter(|_| !is_ignored);
    let Some(Transmit { to, payload }) = &step.transmit else {
        let is_refused = matches!(step.event, Some(server::Event::Refused(_)));
        return if expected.is_none() && is_refused && step.timer == Timer::Keep {
            Ok(None)
        } else {
            Err(format!("{datagram:?}: no answer: {step:?}"))
        };
    };
    let Payload::Received(_) = payload else { return Err(format!("{step:?}")) };
    let answer = payload.of(&[], datagram.bytes).to_vec();
    let event = server::Event::Answered { length: datagram.bytes.len(), answer: answer.len() };
    if *to != from
        || Some(&answer) != expected.as_ref()
        || step.event != Some(event)
        || step.timer != Timer::Keep
    {
        return Err(format!("{datagram:?} from {from:?}: {step:?}"));
    }
    Ok(Some(answer))
}

/// Returns a datagram with a forged address, or of someone else.
fn forge<const H: usize>(rng: &mut Rng, end: &End<H>) -> Packet {
    let client = end.address;
    let reply = |message: &[u8]| udp_reply(message).unwrap_or_default();
    let current = end.message().to_vec();
    let earlier = &end.report.messages[rng.below(end.report.messages.len())].bytes;
    let length = rng.below(40);
    let text = rng.text(length).into_bytes();
    let (from, to, bytes) = match rng.below(9) {
        0 => (STRANGER, client, reply(&current)),
        1 => (STRANGER, client, Vec::new()),
        2 => (SERVER, client, reply(&current)),
        3 => (SERVER, client, current),
        4 => (SERVER, client, reply(earlier)),
        5 => (SERVER, client, text),
        // The server answers someone who did not ask.
        6 => (client, SERVER, text),
        7 => (STRANGER, SERVER, vec![0xff; length]),
        // The server answers itself.
        _ => (SERVER, SERVER, text),
    };
    Packet { from, to, bytes, origin: None }
}
