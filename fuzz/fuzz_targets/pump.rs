//! The loop of servers whose connections share their buffers, with every machine.
//!
//! Invariant: `pump`, which has a loop of its own, does what `Session::poll` does. With the same reads both report
//! the same events, write the same bytes, pause at the same places, and stop for the same reason; so it also
//! shows the bytes of each event as the session does. The session keeps the rules of `socklab_fuzz::hand::Hand`.
//!
//! Covers every role, any cut of what the peer sends, idle times, every end of the stream, an output window from
//! `MIN_OUTPUT` up, and a peer that reads late. The layout is that of `drivers`: `flags` 4 makes the peer read late, and
//! a choice is the length of the next read, or 0 for all there is.
#![no_main]

use std::rc::Rc;

use libfuzzer_sys::{Corpus, fuzz_target};
use socklab_core::machine::{CommandError, EventView, Input, Machine, StreamEnd, StreamState};
use socklab_core::session::{Handler, Polled, Pumped, Stop, Want, pump};
use socklab_fuzz::hand::{ErrorOf, Hand};
use socklab_fuzz::hostile::{Answer, Setting, Target, either};
use socklab_tests::role::{Application, Command};

/// Number of rounds that is enough for any input.
const ROUNDS: usize = 20_000;

/// What the application saw and said.
struct Player<R: Application> {
    role: R,
    events: Vec<R::Event>,
    offered: bool,
}

impl<R: Application> Player<R> {
    fn new(role: &R) -> Self {
        Self { role: role.clone(), events: vec![], offered: false }
    }

    fn given(&mut self) {
        if std::mem::take(&mut self.offered) {
            self.role.given();
        }
    }

    fn emitted(&mut self, event: R::Event) {
        self.given();
        self.role.emitted(&event);
        self.events.push(event);
    }
}

impl<R: Application> Handler<R::Machine> for Player<R> {
    fn event(&mut self, event: EventView<'_, R::Machine>) {
        self.emitted(R::own(event));
    }

    fn command(&mut self) -> Option<Command<'_, R>> {
        self.given();
        self.offered = self.role.command().is_some();
        self.role.command()
    }

    fn payload(&mut self, space: &mut [u8]) -> usize {
        self.given();
        let payload = self.role.payload();
        let n = payload.len().min(space.len());
        space[..n].copy_from_slice(&payload[..n]);
        self.role.advance_outbound(n);
        n
    }
}

/// Where an end stops for the outside world.
#[derive(Debug, PartialEq)]
enum Halt<E> {
    /// It needs this, everything before it has been sent.
    Want(Want),
    Failed(E),
    Refused(CommandError),
}

/// The session that is driven by hand.
struct Session<R: Application> {
    hand: Hand<R>,
    player: Player<R>,
    sent: Vec<u8>,
    boundaries: Vec<usize>,
}

impl<R: Application> Session<R> {
    fn run(&mut self) -> Halt<ErrorOf<R>> {
        for _ in 0..ROUNDS {
            let want = match self.hand.poll() {
                Ok(Polled::Event(event)) => {
                    self.player.emitted(event);
                    continue;
                }
                Ok(Polled::Want(want)) => want,
                Err(e) => return Halt::Failed(e),
            };
            match want {
                Want::Write => self.send(),
                Want::Flush => self.hand.flushed(),
                Want::Boundary => self.boundaries.push(self.sent.len()),
                Want::Command | Want::ReadOrWrite => match self.speaks() {
                    Ok(true) => {}
                    Ok(false) => {
                        self.send();
                        return Halt::Want(want);
                    }
                    Err(e) => return Halt::Refused(e),
                },
                want => {
                    return Halt::Want(want);
                }
            }
        }
        panic!("the session does not come to an end")
    }

    fn send(&mut self) {
        self.sent.extend_from_slice(self.hand.transmit());
        self.hand.transmitted(self.hand.transmit().len());
        self.hand.flushed();
    }

    fn speaks(&mut self) -> Result<bool, CommandError> {
        let owed = usize::try_from(self.hand.outbound_remaining()).unwrap_or(usize::MAX);
        if owed > 0 {
            let payload = self.player.role.payload();
            let n = self.hand.write_payload(&payload[..payload.len().min(owed)]);
            if n > 0 {
                self.player.role.advance_outbound(n);
                return Ok(true);
            }
            if !self.hand.transmit().is_empty() {
                self.send();
                return Ok(true);
            }
        }
        let role = self.player.role.clone();
        let Some(command) = role.command() else { return Ok(false) };
        match self.hand.command(command) {
            Err(CommandError::OutputFull) => {
                self.send();
                self.hand.command(command)?;
            }
            given => given?,
        }
        self.player.role.given();
        Ok(true)
    }
}

/// The same by `pump`, with what is left of the input.
struct Server<R: Application> {
    machine: R::Machine,
    player: Player<R>,
    input: Vec<u8>,
    state: StreamState,
    window: Vec<u8>,
    /// Bytes at the front of the window that the peer has not read.
    queued: usize,
    is_late: bool,
    sent: Vec<u8>,
    boundaries: Vec<usize>,
}

impl<R: Application> Server<R> {
    fn run(&mut self) -> Halt<ErrorOf<R>> {
        for _ in 0..ROUNDS {
            let input = Input { bytes: &self.input, state: self.state };
            let before = self.queued;
            let space = &mut self.window[self.queued..];
            let Pumped { consumed, written, stop } =
                pump(&mut self.machine, &mut self.player, input, space);
            self.input.drain(..consumed);
            self.queued += written;
            let has_space = self.window.len() - self.queued >= R::Machine::MIN_OUTPUT;
            let lacks = before > 0
                && matches!(
                    stop,
                    Stop::Want(Want::Broken(_)) | Stop::Refused(CommandError::OutputFull)
                );
            if lacks || has_space && matches!(stop, Stop::Want(Want::Write)) {
                // The handler's command did not fit: it is given again.
                self.player.offered = false;
            }
            match stop {
                Stop::Want(Want::Write) => self.send(),
                // To `pump`, the window is all the space there is.
                _ if lacks => self.send(),
                Stop::Want(Want::Boundary) => {
                    self.send();
                    self.boundaries.push(self.sent.len());
                }
                Stop::Want(Want::Flush) => panic!("it asks for a flush"),
                stop => {
                    if !self.is_late || !has_space {
                        self.send();
                    }
                    return match stop {
                        Stop::Want(want) => Halt::Want(want),
                        Stop::Failed(e) => Halt::Failed(e),
                        Stop::Refused(e) => Halt::Refused(e),
                    };
                }
            }
        }
        panic!("pump does not come to an end")
    }

    fn send(&mut self) {
        self.sent.extend_from_slice(&self.window[..self.queued]);
        self.queued = 0;
    }
}

struct Pumps;

impl Target for Pumps {
    fn run<R: Application>(role: &R, setting: &Rc<Setting>, mut bytes: &[u8]) {
        let [input, output] = setting.lengths::<R>();
        // Both see the same bytes: what is read must fit.
        let hand = Hand::new(role, [input + bytes.len(), output]);
        let mut session =
            Session { hand, player: Player::new(role), sent: vec![], boundaries: vec![] };
        let most = if setting.most == usize::MAX { 0 } else { setting.most };
        let mut server = Server::<R> {
            machine: role.machine(),
            player: Player::new(role),
            input: vec![],
            state: StreamState::Open,
            window: vec![0; R::Machine::MIN_OUTPUT + most],
            queued: 0,
            is_late: setting.flags & 4 != 0,
            sent: vec![],
            boundaries: vec![],
        };
        for _ in 0..ROUNDS {
            let (by_hand, by_pump) = (session.run(), server.run());
            if matches!(by_hand, Halt::Refused(CommandError::OutputFull))
                || matches!(by_pump, Halt::Refused(CommandError::OutputFull))
            {
                // The buffers differ in length on purpose, and the command fits one of them.
                return;
            }
            assert_eq!(by_hand, by_pump, "{:?}", session.hand);
            assert_eq!(session.player.events, server.player.events);
            let is_over = match by_hand {
                Halt::Want(want) => want.is_last(),
                _ => true,
            };
            if is_over || !server.is_late {
                server.send();
                session.send();
                assert_eq!(session.sent, server.sent, "bytes sent");
            }
            assert_eq!(session.boundaries, server.boundaries, "pauses");
            if is_over {
                assert_eq!(session.hand.unread(), server.input, "bytes left");
                return;
            }
            let waits = matches!(by_hand, Halt::Want(Want::Read { idle_ms: Some(_) }));
            let choice = setting.choices.next();
            if session.hand.has_ended() {
                // The application has nothing to say, and the machine waits for it.
                return;
            }
            if waits && choice & 7 == 7 && server.state == StreamState::Open {
                session.hand.idle();
                server.state = StreamState::Idle;
                continue;
            }
            if bytes.is_empty() {
                let how = match setting.end() {
                    Answer::Nothing => StreamEnd::Closed,
                    Answer::Fails(1) => StreamEnd::Reset,
                    Answer::Fails(_) => StreamEnd::TimedOut,
                    _ => return,
                };
                session.hand.ended(how);
                server.state = StreamState::Ended(how);
                continue;
            }
            let n = if choice == 0 { bytes.len() } else { bytes.len().min(choice.into()) };
            let (read, rest) = bytes.split_at(n);
            bytes = rest;
            session.hand.received(read);
            server.input.extend_from_slice(read);
            server.state = StreamState::Open;
        }
        panic!("it does not come to an end");
    }
}

fuzz_target!(|data: &[u8]| -> Corpus { either::<Pumps>(data) });
