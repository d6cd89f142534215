//! A conversation with the program under test: what the steps of a case do.

mod datagram_relay;
mod datagrams;
mod limit;
mod process;
mod receive;
mod relay;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use socklab_core::machine::StreamEnd;

use super::connection::Connection;
use super::failure::{Failure, Kind, seconds};
use super::program::{Program, Terminals};
use super::setup::{Inputs, Place, Role, Setup};
use crate::faults::{Cut, Ending, Faults, Schedule, Step};
use crate::net::{Direction, is_self_connected, reason};
use crate::proxy::Flow;
use crate::sys::extra::net::SocketQueues;
use crate::ui::messages::flow;
use crate::ui::recording::{Event, Recording};

use datagrams::Mailbox;
use limit::{Handover, Limit, Stalls};

/// Time for a program to start: to listen, or to connect.
const STARTUP: Duration = Duration::from_secs(15);
/// Time for a descendant to act in place of a program that has ended, where the system does not show whether there is one.
const HANDOVER: Duration = Duration::from_secs(1);
/// Time in which more of a wrong message may arrive, so that it can be shown as a whole.
const MORE: Duration = Duration::from_millis(150);

/// Time in which a program that has broken the connection may end, so that its error message can be shown.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Reasons for which a case is not run, or not to its end.
pub(super) const INTERRUPTED: &str = "interrupted";
pub(super) const LATE: &str = "--total-timeout expired";

pub(super) use self::datagram_relay::Passing;
pub(super) use self::relay::{Exchange, of_side};

/// Result of a step.
pub(super) type Outcome<T = ()> = Result<T, Box<Failure>>;

/// What a parser says about the bytes that have arrived.
#[derive(Debug)]
pub(super) enum Parsed {
    /// The message is incomplete.
    More,
    /// The message has this number of bytes.
    Done(usize),
    /// It is another message. Contains the expected bytes, if they are known, and what is wrong.
    Wrong(Option<Vec<u8>>, String),
}

/// Program that serves the next case too, and its address.
pub(super) struct Kept {
    place: Place,
    program: Program,
}

/// A conversation.
pub(super) struct Talk {
    pub(super) setup: Arc<Setup>,
    pub(super) inputs: Inputs,
    pub(super) program: Option<Program>,
    terminals: Terminals,
    /// Address of the program, if it is a server; ours, if it is a client.
    place: Place,
    connections: Vec<Connection>,
    /// Sockets for datagrams.
    mailboxes: Vec<Mailbox>,
    /// Addresses of clients that have sent datagrams, and the last of them.
    clients: Vec<SocketAddr>,
    client: Option<SocketAddr>,
    /// Whether a datagram of the program has arrived.
    has_answered: bool,
    /// The last message of a client, and when it came.
    received: Option<(Vec<u8>, Instant)>,
    /// Number of the current connection or socket, from 0.
    current: usize,
    faults: Faults,
    /// Number of seeds that have been used.
    draws: u64,
    /// What the last sends have sent since something was received: their writes.
    pub(super) sent: Vec<Vec<u8>>,
    /// A number that a step leaves for later ones.
    pub(super) noted: i64,
    /// A message that a step leaves for later ones.
    pub(super) message: Vec<u8>,
    queues: SocketQueues,
    stalls: Stalls,
    has_started: bool,
    /// Whether the program has served the case before.
    pub(super) is_kept: bool,
    /// Whether the port of a program that has closed first stays in TIME-WAIT.
    pub(super) leaves_port: bool,
    /// The server, if both ends are under test. This conversation is that with the client then.
    partner: Option<Box<Self>>,
    pub(super) exchange: Exchange,
    /// Why a relay has ended before both programs had.
    pub(super) late: Option<Box<Failure>>,
    pub(super) recording: Recording,
}

impl Talk {
    /// Starts a conversation. A program that is a client finds a listener. `kept` is the program of the case before.
    pub(super) fn new(
        setup: &Arc<Setup>,
        inputs: Inputs,
        terminals: Terminals,
        kept: Option<Kept>,
    ) -> Outcome<Self> {
        let (place, program) = match kept {
            Some(Kept { place, program }) => (place, Some(program)),
            None => (Self::place(setup)?, None),
        };
        Ok(Self {
            setup: Arc::clone(setup),
            inputs,
            has_started: program.is_some(),
            is_kept: program.is_some(),
            program,
            terminals,
            place,
            connections: Vec::new(),
            mailboxes: Vec::new(),
            clients: Vec::new(),
            client: None,
            has_answered: false,
            received: None,
            current: 0,
            faults: Faults::default(),
            draws: 0,
            sent: Vec::new(),
            noted: 0,
            message: Vec::new(),
            queues: SocketQueues::new(),
            stalls: Stalls::default(),
            leaves_port: false,
            partner: None,
            exchange: Exchange::default(),
            late: None,
            recording: Recording::new(setup.observed(), setup.dissectors()),
        })
    }

    fn place(setup: &Setup) -> Outcome<Place> {
        setup.place().map_err(|e| {
            let port =
                setup.port.map_or_else(|| "a port".to_owned(), |port| format!("port {port}"));
            let text = format!("cannot use {port}: {}", reason(&e));
            Box::new(Failure::new(Kind::NotStarted, text))
        })
    }

    /// Returns the recording, and the program for the next case if it still runs.
    pub(super) fn into_parts(self) -> (Recording, Option<Kept>) {
        let Self { mut recording, program, place, .. } = self;
        recording.finish();
        let kept = program.and_then(|mut program| {
            let is_running = program.exit().is_none();
            program.stdout.forget();
            program.stderr.forget();
            is_running.then_some(Kept { place, program })
        });
        (recording, kept)
    }

    fn record(&mut self, event: &Event<'_>) {
        self.recording.record(self.current as u64 + 1, event);
    }

    /// Returns the direction of what we send.
    fn our_flow(&self) -> Flow {
        flow(self.setup.our_side(), Direction::Sent)
    }

    /// Calls `look` until it returns a value, for this time at most. Time in which the machine was stalled, or gave the
    /// program no processor, does not count.
    fn wait<T>(
        &mut self,
        limit: Duration,
        mut look: impl FnMut(&mut Self) -> Outcome<Option<T>>,
    ) -> Outcome<Option<T>> {
        let mut limit = Limit::new(Instant::now(), limit);
        let mut pause = Duration::from_micros(100);
        loop {
            if self.setup.cancelled.load(Ordering::Relaxed) {
                return Err(Box::new(Failure::new(Kind::System, INTERRUPTED)));
            }
            if self.setup.is_late() {
                return Err(Box::new(Failure::new(Kind::System, LATE)));
            }
            // Looked at once more after the limit: this thread may have slept longer.
            let now = Instant::now();
            let is_late = limit.is_over(now);
            if let Some(value) = look(self)? {
                return Ok(Some(value));
            }
            if limit.needs_start(now) {
                limit.started(self.activity());
            }
            if is_late && !limit.extends(self.activity()) {
                return Ok(None);
            }
            let asleep = Instant::now();
            thread::sleep(pause);
            limit.slept(pause, asleep.elapsed());
            self.stalls.slept(pause, asleep.elapsed());
            pause = (pause * 2).min(Duration::from_millis(5));
        }
    }

    /// Returns the longest stall of the machine that the program may have taken for the end of a message.
    pub(super) fn stall(&self) -> Option<Duration> {
        self.stalls.noticeable()
    }

    /// Returns the number of the current connection, from 0.
    fn number(&self) -> usize {
        self.current
    }

    /// Makes another connection the current one.
    pub(super) fn use_connection(&mut self, number: usize) {
        self.current = number;
    }

    fn adopt(&mut self, stream: TcpStream) -> Outcome {
        let connection = Connection::new(stream).map_err(|e| system(&e))?;
        self.connections.push(connection);
        self.current = self.connections.len() - 1;
        self.sent.clear();
        self.record(&Event::Connected);
        Ok(())
    }

    /// Connects to a server, which is started first. The first connection shows that it listens.
    pub(super) fn connect(&mut self) -> Outcome {
        self.start()?;
        // A descendant that serves in place of the program has listened since the first connection.
        let has_started = self.has_started;
        let limit = if has_started { self.setup.timeout } else { STARTUP };
        let mut handover = Handover::default();
        let mut error = None;
        let stream = self.wait(limit, |talk| {
            let attempt = Duration::from_secs(2);
            match TcpStream::connect_timeout(&talk.place.addr, attempt) {
                Ok(stream) if is_self_connected(&SockRef::from(&stream)) => {
                    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                }
                Ok(stream) => return Ok(Some(stream)),
                Err(e) => error = Some(e),
            }
            let is_over = handover.is_over(talk.program.as_mut());
            if is_over || (has_started && handover.has_begun()) {
                return Err(Box::new(talk.not_listening(&handover)));
            }
            Ok(None)
        })?;
        if stream.is_none() && handover.has_begun() {
            return Err(Box::new(self.not_listening(&handover)));
        }
        let Some(stream) = stream else {
            let e = error.map(|e| reason(&e)).unwrap_or_default();
            let addr = self.place.addr;
            let failure = if self.has_started {
                Failure::new(Kind::NotListening, format!("cannot connect to {addr}: {e}"))
            } else {
                let limit = seconds(limit);
                Failure::new(
                    Kind::NotListening,
                    format!("the program does not listen on {addr} within {limit}: {e}"),
                )
            };
            return Err(Box::new(failure));
        };
        self.has_started = true;
        self.adopt(stream)
    }

    /// Connects to a server that may refuse it.
    pub(super) fn try_to_connect(&mut self) -> Outcome {
        let limit = self.setup.timeout;
        TcpStream::connect_timeout(&self.place.addr, limit).map_or(Ok(()), |s| self.adopt(s))
    }

    fn not_listening(&self, handover: &Handover) -> Failure {
        let when = if self.has_started {
            "before another client could connect"
        } else {
            "before it listened"
        };
        let rest = handover.remainder();
        Failure::new(Kind::NotListening, format!("the program ended {when}{rest}"))
    }

    /// Waits for the connection of a client, which is started first.
    pub(super) fn accept(&mut self) -> Outcome {
        self.start()?;
        let limit = if self.has_started { self.setup.timeout } else { STARTUP };
        let mut handover = Handover::default();
        let without_connection = |handover: &Handover| {
            let text = format!("the program ended without a connection{}", handover.remainder());
            Box::new(Failure::new(Kind::NotConnected, text))
        };
        let stream = self.wait(limit, |talk| {
            // Asked first: it may connect and end between the two.
            let is_over = handover.is_over(talk.program.as_mut());
            if let Some(Ok((stream, _))) = talk.place.listener.as_ref().map(TcpListener::accept) {
                return Ok(Some(stream));
            }
            if is_over { Err(without_connection(&handover)) } else { Ok(None) }
        })?;
        if stream.is_none() && handover.has_begun() {
            return Err(without_connection(&handover));
        }
        let Some(stream) = stream else {
            let text = format!(
                "the program did not connect to {} within {}",
                self.place.addr,
                seconds(limit)
            );
            return Err(Box::new(Failure::new(Kind::NotConnected, text)));
        };
        self.has_started = true;
        self.adopt(stream)
    }

    /// Resets further connections of a client until it ends: one that has lost a connection may try again.
    pub(super) fn refuse_others(&mut self) -> Outcome {
        self.wait(self.setup.timeout, |talk| {
            if let Some(Ok((stream, _))) = talk.place.listener.as_ref().map(TcpListener::accept) {
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            Ok(talk.program.as_mut().and_then(Program::exit))
        })
        .map(|_| ())
    }
    fn connection(&mut self) -> Outcome<&mut Connection> {
        let number = self.number();
        self.connections
            .get_mut(number)
            .ok_or_else(|| Box::new(Failure::new(Kind::System, "the case has no connection")))
    }

    /// Returns whether the program has ended its stream.
    pub(super) fn has_stream_ended(&mut self) -> bool {
        self.connection().is_ok_and(|connection| connection.end.is_some())
    }

    /// Sets the size of the buffer for what arrives. A small one makes the program wait until it is read.
    pub(super) fn set_buffer(&mut self, bytes: usize) -> Outcome {
        self.connection()?.set_buffer(bytes);
        Ok(())
    }

    /// Sets the faults of everything that is sent from now on.
    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Sends bytes, with the faults in force. Succeeds if the program has ended the connection: that shows when
    /// something is expected of it.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Outcome {
        let start = Instant::now();
        let mut kept = bytes.to_vec();
        let mut rest = kept.as_mut_slice();
        let mut schedule = schedule(self.faults, self.setup.seed, &mut self.draws, rest);
        while !rest.is_empty() {
            let now = start.elapsed();
            match schedule.next(now) {
                Step::Write(n) => {
                    let (piece, others) = rest.split_at_mut(n.min(rest.len()));
                    if !self.write(piece)? {
                        return Ok(());
                    }
                    schedule.left(start.elapsed(), piece.len());
                    rest = others;
                    if !rest.is_empty() {
                        self.settle()?;
                    }
                }
                Step::Wait(time) => self.stalls.sleep(time.saturating_sub(now)),
                Step::Fault(Ending::Close) => return self.half_close(),
                Step::Fault(Ending::Reset) => return self.reset(),
                Step::Idle | Step::End(_) | Step::Fault(Ending::Stall) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Sends each part in a write of its own, which the program reads before the next one.
    pub(super) fn send_parts<'p>(&mut self, parts: impl IntoIterator<Item = &'p [u8]>) -> Outcome {
        for (i, part) in parts.into_iter().enumerate() {
            if i > 0 {
                self.settle()?;
            }
            self.send(part)?;
        }
        Ok(())
    }

    /// Waits until the program has read everything.
    pub(super) fn settle(&mut self) -> Outcome {
        let number = self.number();
        if let Some(connection) = self.connections.get_mut(number) {
            connection.wait_until_read(&mut self.queues, &mut |time| self.stalls.sleep(time));
        }
        Ok(())
    }

    /// Writes all of the bytes. Returns `false` if the connection has ended.
    fn write(&mut self, bytes: &[u8]) -> Outcome<bool> {
        // Even if the program has left: that may be the effect.
        self.stalls.written(!self.sent.is_empty());
        let mut done = 0;
        let limit = self.setup.timeout;
        // The limit counts from the last progress.
        while done < bytes.len() {
            let rest = bytes.get(done..).unwrap_or_default();
            let n = self.wait(limit, |talk| {
                // The program may send before it reads on.
                talk.read()?;
                let connection = talk.connection()?;
                let n = connection.write(rest);
                let has_reset = connection.end == Some(StreamEnd::Reset);
                Ok(match n {
                    Some(0) if has_reset => Some(None),
                    Some(0) => None,
                    n => Some(n),
                })
            })?;
            match n {
                Some(Some(n)) => done += n,
                Some(None) => return Ok(false),
                None => {
                    let text = format!(
                        "the program stopped reading after {done} of {} bytes, for {}",
                        bytes.len(),
                        seconds(limit)
                    );
                    return Err(Box::new(Failure::new(Kind::Silent, text)));
                }
            }
        }
        self.sent.push(bytes.to_vec());
        self.record(&Event::Moved(self.our_flow(), bytes));
        Ok(true)
    }

    /// Reads what has arrived on the current connection.
    fn read(&mut self) -> Outcome {
        let (bytes, has_ended) = self.connection()?.read();
        let end = self.connection()?.end;
        let theirs = flow(self.setup.our_side(), Direction::Received);
        if !bytes.is_empty() {
            self.record(&Event::Moved(theirs, &bytes));
        }
        match end {
            Some(StreamEnd::Closed) if has_ended => self.record(&Event::Closed(theirs)),
            Some(_) if has_ended => self.record(&Event::Reset(theirs.from())),
            _ => {}
        }
        Ok(())
    }

    /// Reads what has arrived, a large message in one go: between two looks at it there is a pause.
    fn read_all(&mut self) -> Outcome {
        const READS: usize = 64;
        for _ in 0..READS {
            let before = self.connection()?.unread.len();
            self.read()?;
            if self.connection()?.unread.len() == before {
                break;
            }
        }
        Ok(())
    }

    /// Waits.
    pub(super) fn pause(&mut self, time: Duration) -> Outcome {
        self.wait(time, |_| Ok(None::<()>)).map(|_| ())
    }

    /// Ends our stream in an orderly way. The program can still send.
    pub(super) fn half_close(&mut self) -> Outcome {
        self.connection()?.half_close();
        self.stalls.written(!self.sent.is_empty());
        self.record(&Event::Closed(self.our_flow()));
        Ok(())
    }

    /// Closes the current connection in an orderly way. What the program sends later is refused.
    pub(super) fn close(&mut self) -> Outcome {
        // A program that is a client, or has another port in each case, may have closed its sending side alone: a reset could
        // take from it what it has not read.
        let has_fixed_port = self.setup.role == Role::Server && self.setup.port.is_some();
        let leaves_port = self.leaves_port || !has_fixed_port;
        self.connection()?.close(leaves_port);
        self.record(&Event::Closed(self.our_flow()));
        Ok(())
    }

    /// Resets the current connection.
    pub(super) fn reset(&mut self) -> Outcome {
        self.connection()?.reset();
        self.record(&Event::Reset(self.setup.our_side()));
        Ok(())
    }

    /// Ends the conversation. Resets free the ports at once.
    pub(super) fn finish(&mut self) {
        for connection in &mut self.connections {
            connection.reset();
        }
        self.connections.clear();
        self.mailboxes.clear();
    }
}

fn system(e: &std::io::Error) -> Box<Failure> {
    Box::new(Failure::new(Kind::System, reason(e)))
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// Returns the schedule of a message. Random pieces differ from message to message, and no message of several bytes is sent
/// whole: otherwise the verdict would depend on the seed. `draws` counts the seeds that have been used.
fn schedule(faults: Faults, seed: u64, draws: &mut u64, bytes: &mut [u8]) -> Schedule {
    loop {
        *draws += 1;
        let mut schedule = Schedule::new(faults, seed.wrapping_add(*draws));
        schedule.arrive(Duration::ZERO, bytes);
        let is_whole = schedule.next(Duration::ZERO) == Step::Write(bytes.len());
        if faults.cut != Some(Cut::Random) || bytes.len() < 2 || !is_whole {
            return schedule;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_pieces_cut_every_message_and_differ() {
        let faults = Faults { cut: Some(Cut::Random), ..Faults::default() };
        for seed in 0..200 {
            let (mut draws, mut first) = (0, Vec::new());
            for length in [2, 4, 9, 18].repeat(5) {
                let mut schedule = schedule(faults, seed, &mut draws, &mut vec![b'x'; length]);
                let Step::Write(n) = schedule.next(Duration::ZERO) else { panic!("no write") };
                assert!((1..length).contains(&n), "{n} of {length}");
                first.push((length, n));
            }
            first.sort_unstable();
            first.dedup();
            assert!(first.len() > 4, "{seed}: {first:?}");
        }
    }
}
