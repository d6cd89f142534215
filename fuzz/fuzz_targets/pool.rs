//! The server pool of the non-blocking driver with each server, over a stack that answers as the fuzzer chooses.
//!
//! Invariant: in each poll, each client gets the calls of the stack and of its handler that its session gets when
//! it is driven by hand with `Session::poll`, byte for byte and event for event, and no more than 64 turns. It ends
//! as that session does, is reported once, and its slot serves the next. Pauses are kept; idle times and time-outs
//! are reported when their time has come and not before. `poll` returns `WouldBlock`, and `wait` the time until
//! something is due, exactly if nothing can happen until then. A command to all reaches each client once, also one
//! that reads late. The sessions keep the rules of `socklab_fuzz::hand::Hand`. No panic.
//!
//! Covers pools of two and three slots, with and without a time-out, a clock that wraps, a listener that fails, and
//! handlers that are not ready.
#![no_main]

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use embedded_nal::{TcpClientStack, TcpFullStack};
use libfuzzer_sys::{Corpus, fuzz_target};
use socklab_core::driver::nonblocking::{Ended, Outcome, Server};
use socklab_core::machine::{CommandError, EventView, StreamState};
use socklab_core::session::{Handler, Polled, Want};
use socklab_fuzz::hand::ErrorOf;
use socklab_fuzz::hostile::{Answer, Call, Choices, Peer, Setting, Target, server};
use socklab_fuzz::model::{Model, Performed, Style, net_error};
use socklab_tests::role::{Application, Command};
use socklab_tests::transport::NetError;

/// The pause at a boundary, in ms.
const PACE: u16 = 30;

/// Number of turns of a client in one poll.
const TURNS: usize = 64;

/// Number of polls that is enough for any input.
const POLLS: usize = 5000;

type Shared<R> = Rc<RefCell<Peer<<R as Application>::Event>>>;

/// A client, and its session driven by hand.
struct Client<R: Application> {
    peer: Shared<R>,
    model: Model<R>,
    role: R,
    /// When bytes moved last, the handler had its turn, or a pause began, in ms.
    since: u64,
    /// It pauses at a boundary.
    paused: bool,
    /// The handler had no command when it was asked last.
    thinks: bool,
    /// It had no space for the last command to all.
    misses: bool,
    /// The connection was closed, with this error.
    closed: Option<Option<NetError>>,
    reported: bool,
}

/// What a client's turn by hand came to.
enum Turn {
    Wrote,
    Nothing,
    Refused(CommandError),
}

/// The clock of a poll by hand.
struct Clock {
    /// In ms, without wrapping. That of the pool is a u32.
    now: u64,
    timeout: Option<u32>,
    /// Time until something is due, in ms.
    left: u32,
    busy: bool,
}

impl Clock {
    /// Whether `ms` milliseconds have passed since then. If not, notes when they will have.
    fn passed(&mut self, since: u64, ms: u32) -> bool {
        let waited = (self.now - since) as u32;
        if waited < ms {
            self.left = self.left.min(ms - waited);
        }
        waited >= ms
    }
}

impl<R: Application> Client<R> {
    /// Advances the session by hand, over what the pool did in this poll. Returns how it ended.
    fn poll(&mut self, clock: &mut Clock) -> Option<Outcome<ErrorOf<R>>> {
        self.thinks = false;
        if self.is_paused(clock) {
            return None;
        }
        for _ in 0..TURNS {
            match self.model.take() {
                Call::Ready(true) => {}
                Call::Ready(false) => {
                    // What is pending is sent all the same: the handler may wait for its answer.
                    while !self.model.hand.transmit().is_empty()
                        && self.model.write() == Performed::Again
                    {}
                    self.since = clock.now;
                    return None;
                }
                call => panic!("{call:?}, and it was not asked whether it is ready"),
            }
            let want = match self.model.hand.poll() {
                Ok(Polled::Event(event)) => {
                    assert_eq!(self.model.take(), Call::Emitted(event.clone()));
                    self.role.emitted(&event);
                    continue;
                }
                Ok(Polled::Want(want)) => want,
                Err(e) => return Some(Outcome::Failed(e)),
            };
            self.model.note(want);
            let performed = self.model.perform(want, false);
            if performed == Performed::Again {
                continue;
            }
            let waits = performed == Performed::Blocked;
            let accepts = self.model.hand.write_closed().is_none();
            let may_send = want == Want::Command || want == Want::ReadOrWrite && waits && accepts;
            if may_send && self.model.hand.transmit().is_empty() {
                match self.speaks() {
                    Turn::Wrote => continue,
                    Turn::Nothing if want == Want::Command => {
                        (self.thinks, self.since) = (true, clock.now);
                        return None;
                    }
                    Turn::Nothing => {}
                    Turn::Refused(CommandError::OutOfTurn) if waits => {}
                    Turn::Refused(e) => return Some(Outcome::Refused(e)),
                }
            }
            match want {
                Want::Close => return Some(Outcome::Done),
                Want::Abort => return Some(Outcome::Aborted),
                Want::Boundary => {
                    (self.since, self.paused) = (clock.now, true);
                    if self.is_paused(clock) {
                        return None;
                    }
                }
                _ => {
                    if !self.is_due(clock) {
                        return None;
                    }
                }
            }
        }
        clock.busy = true;
        None
    }

    fn is_paused(&mut self, clock: &mut Clock) -> bool {
        self.paused = self.paused && !clock.passed(self.since, PACE.into());
        self.paused
    }

    /// The stack would block. Returns whether it was time for something all the same.
    fn is_due(&mut self, clock: &mut Clock) -> bool {
        if std::mem::take(&mut self.model.has_moved) {
            self.since = clock.now;
        }
        let is_open = self.model.hand.state() == StreamState::Open;
        if let Some(ms) = self.model.idle_ms.filter(|_| is_open)
            && clock.passed(self.since, ms.into())
        {
            self.model.hand.idle();
            return true;
        }
        let is_late = clock.timeout.is_some_and(|ms| clock.passed(self.since, ms));
        if is_late {
            self.since = clock.now;
            self.model.hand.time_out();
        }
        is_late
    }

    /// It is the application's turn.
    fn speaks(&mut self) -> Turn {
        let owed = self.model.hand.outbound_remaining();
        if owed > 0 {
            let call = self.model.take();
            let Call::Payload(space, n) = call else {
                panic!("{call:?}, with payload outstanding")
            };
            assert!(space > 0 && space as u64 <= owed, "space for {space} bytes of {owed}");
            if n > 0 {
                let payload = self.role.payload()[..n].to_vec();
                assert_eq!(self.model.hand.write_payload(&payload), n, "payload taken");
                self.role.advance_outbound(n);
                return Turn::Wrote;
            }
        }
        match self.model.take() {
            Call::Command(false) => Turn::Nothing,
            Call::Command(true) => {
                let role = self.role.clone();
                let command = role.command().expect("the handler gave it");
                let given = self.model.hand.command(command);
                self.role.given();
                given.map_or_else(Turn::Refused, |()| Turn::Wrote)
            }
            call => panic!("{call:?}, and it is the application's turn"),
        }
    }

    /// Gives a command to all to this one, if it misses it.
    fn command(&mut self, command: Command<'_, R>, given: &mut nb::Result<(), CommandError>) {
        while self.misses {
            match self.model.hand.command(command) {
                Err(CommandError::OutputFull) if !self.model.hand.transmit().is_empty() => {
                    if self.model.write() == Performed::Blocked {
                        if given.is_ok() {
                            *given = Err(nb::Error::WouldBlock);
                        }
                        break;
                    }
                    continue;
                }
                Ok(()) | Err(CommandError::OutOfTurn) => {}
                Err(e) => *given = Err(nb::Error::Other(e)),
            }
            self.misses = false;
        }
    }
}

type Clients<R> = Rc<RefCell<Vec<Client<R>>>>;

struct Stack<R: Application> {
    clients: Clients<R>,
    /// What a client is before it comes.
    role: R,
    setting: Rc<Setting>,
    bytes: Vec<u8>,
    coming: usize,
    /// In ms, without wrapping.
    now: u64,
    /// The listener failed in this poll.
    failed: bool,
}

fn answer(answer: Answer) -> nb::Result<usize, NetError> {
    match answer {
        Answer::Moved(n) => Ok(n),
        Answer::Nothing => Ok(0),
        Answer::Blocks => Err(nb::Error::WouldBlock),
        Answer::Fails(kind) => Err(nb::Error::Other(net_error(kind))),
    }
}

impl<R: Application> Stack<R> {
    fn peer(&self, socket: usize) -> Shared<R> {
        Rc::clone(&self.clients.borrow()[socket].peer)
    }
}

impl<R: Application> TcpClientStack for Stack<R> {
    type TcpSocket = usize;
    type Error = NetError;

    fn socket(&mut self) -> Result<usize, NetError> {
        panic!("a pool opens no socket")
    }

    fn connect(&mut self, _: &mut usize, _: SocketAddr) -> nb::Result<(), NetError> {
        panic!("a pool does not connect")
    }

    fn send(&mut self, socket: &mut usize, bytes: &[u8]) -> nb::Result<usize, NetError> {
        answer(self.peer(*socket).borrow_mut().write(bytes))
    }

    fn receive(&mut self, socket: &mut usize, space: &mut [u8]) -> nb::Result<usize, NetError> {
        answer(self.peer(*socket).borrow_mut().read(space))
    }

    fn close(&mut self, socket: usize) -> Result<(), NetError> {
        let fails = self.setting.choices.next() & 15 == 3;
        let error = fails.then_some(net_error(1));
        let before = self.clients.borrow_mut()[socket].closed.replace(error);
        assert_eq!(before, None, "it is closed twice");
        error.map_or(Ok(()), Err)
    }
}

impl<R: Application> TcpFullStack for Stack<R> {
    fn bind(&mut self, _: &mut usize, _: u16) -> Result<(), NetError> {
        panic!("the listener is bound")
    }

    fn listen(&mut self, _: &mut usize) -> Result<(), NetError> {
        panic!("the listener listens")
    }

    fn accept(&mut self, _: &mut usize) -> nb::Result<(usize, SocketAddr), NetError> {
        match self.setting.choices.next() & 15 {
            1 => return Err(nb::Error::WouldBlock),
            3 => {
                self.failed = true;
                return Err(nb::Error::Other(net_error(1)));
            }
            _ => {}
        }
        self.coming = self.coming.checked_sub(1).ok_or(nb::Error::WouldBlock)?;
        let mut clients = self.clients.borrow_mut();
        let socket = clients.len();
        let peer = Rc::new(RefCell::new(Peer::new(&self.setting, &self.bytes)));
        clients.push(Client {
            peer: Rc::clone(&peer),
            model: Model::new(&self.role, &self.setting, Style::Nal, peer),
            role: self.role.clone(),
            since: self.now,
            paused: false,
            thinks: false,
            misses: false,
            closed: None,
            reported: false,
        });
        Ok((socket, (Ipv4Addr::LOCALHOST, u16::try_from(socket).expect("few")).into()))
    }
}

/// The application of a client.
struct Player<R: Application> {
    role: R,
    peer: Shared<R>,
    choices: Choices,
    /// Its readiness is chosen too.
    may_be_busy: bool,
    /// A command was given when it was asked last.
    offered: bool,
}

impl<R: Application> Player<R> {
    /// The command that was given last has been accepted, or the session would have ended.
    fn given(&mut self) {
        if std::mem::take(&mut self.offered) {
            self.role.given();
        }
    }
}

impl<R: Application> Handler<R::Machine> for Player<R> {
    fn ready(&self) -> bool {
        let is_ready = !self.may_be_busy || self.choices.next() & 7 != 7;
        self.peer.borrow_mut().record(Call::Ready(is_ready));
        is_ready
    }

    fn event(&mut self, event: EventView<'_, R::Machine>) {
        self.given();
        let event = R::own(event);
        self.peer.borrow_mut().record(Call::Emitted(event.clone()));
        self.role.emitted(&event);
    }

    fn command(&mut self) -> Option<Command<'_, R>> {
        self.given();
        let command = if self.choices.next() & 15 == 1 { None } else { self.role.command() };
        self.offered = command.is_some();
        self.peer.borrow_mut().record(Call::Command(self.offered));
        command
    }

    fn payload(&mut self, space: &mut [u8]) -> usize {
        self.given();
        let choice = self.choices.next();
        let most = match choice & 15 {
            1 => 0,
            4.. => 1 + usize::from(choice >> 4),
            _ => usize::MAX,
        };
        let payload = self.role.payload();
        let n = payload.len().min(space.len()).min(most);
        space[..n].copy_from_slice(&payload[..n]);
        self.peer.borrow_mut().record(Call::Payload(space.len(), n));
        self.role.advance_outbound(n);
        n
    }
}

type Pool<R, const N: usize> =
    Server<Stack<R>, <R as Application>::Machine, Player<R>, Vec<u8>, Vec<u8>, N>;

/// What happens between two polls: time passes, and sometimes all get a command.
fn pause<R: Application, const N: usize>(
    pool: &mut Pool<R, N>,
    stack: &mut Stack<R>,
    wait: Option<u32>,
) {
    let choice = stack.setting.choices.next();
    stack.now += match choice & 15 {
        1 => 0,
        2 => 1,
        3 => 1 << (choice >> 4),
        4 => 1 << (16 + (choice >> 4)),
        5 => u64::from(u32::MAX) - u64::from(choice >> 4),
        _ => wait.unwrap_or_default().into(),
    };
    let Some(command) = R::probe() else { return };
    // Those that had no space for the last one get it before there is another.
    let is_late = stack.clients.borrow().iter().any(|client| client.misses && !client.reported);
    if !is_late && choice & 15 != 6 {
        return;
    }
    let given =
        if is_late { pool.command_missed(stack, command) } else { pool.command(stack, command) };
    let mut by_hand = Ok(());
    for client in stack.clients.borrow_mut().iter_mut().filter(|client| !client.reported) {
        client.misses |= !is_late;
        client.command(command, &mut by_hand);
        assert!(client.model.is_settled(), "it does {:?} more than by hand", client.model.take());
    }
    // Whose mistake is returned depends on the order of the slots.
    match (&given, &by_hand) {
        (Err(nb::Error::Other(_)), Err(_)) | (Err(_), Err(nb::Error::Other(_))) => {}
        _ => assert_eq!(given, by_hand, "who has not got the command"),
    }
}

struct Pools;

impl Target for Pools {
    fn run<R: Application>(role: &R, setting: &Rc<Setting>, bytes: &[u8]) {
        if setting.flags & 4 == 0 {
            serve::<R, 2>(role, setting, bytes);
        } else {
            serve::<R, 3>(role, setting, bytes);
        }
    }
}

fn serve<R: Application, const N: usize>(role: &R, setting: &Rc<Setting>, bytes: &[u8]) {
    let timeout = if setting.flags & 16 == 0 { 10_000 } else { 1 << 31 };
    let timeout = (setting.flags & 8 != 0).then_some(timeout);
    let clients = Clients::<R>::default();
    let mut stack = Stack {
        clients: Rc::clone(&clients),
        role: role.clone(),
        setting: Rc::clone(setting),
        bytes: bytes.to_vec(),
        coming: 1 + N + usize::from(setting.flags >> 5 & 1),
        // The clock of the pool wraps soon.
        now: u64::from(u32::MAX) - 40,
        failed: false,
    };
    let slots = [(); N].map(|()| setting.buffers::<R>()).map(|[input, output]| (input, output));
    let mut pool = Pool::<R, N>::new(9, slots).expect("the buffers are long enough");
    pool.set_pace(PACE);
    pool.set_timeout(timeout);
    let mut reported = 0;
    for polls in 0.. {
        assert!(polls < POLLS, "the pool does not come to an end");
        let mut clock = Clock { now: stack.now, timeout, left: u32::MAX, busy: false };
        stack.failed = false;
        let is_settled = setting.choices.is_empty();
        let before = clients.borrow().len();
        let open = |peer: SocketAddr| {
            let player = Player {
                role: role.clone(),
                peer: Rc::clone(&clients.borrow()[usize::from(peer.port())].peer),
                choices: setting.choices.clone(),
                may_be_busy: setting.flags & 64 != 0,
                offered: false,
            };
            (role.machine(), player)
        };
        let mut ended = vec![];
        let polled = pool.poll(&mut stack, clock.now as u32, open, |over: Ended<'_, _, _, _>| {
            let Ended { peer, handler, outcome, fault } = over;
            let at = usize::from(peer.port());
            assert!(Rc::ptr_eq(&handler.peer, &clients.borrow()[at].peer), "another handler");
            ended.push((at, outcome, fault));
        });
        clock.busy = before != clients.borrow().len();
        for (at, client) in clients.borrow_mut().iter_mut().enumerate() {
            let over = ended.iter().position(|(ended, ..)| *ended == at);
            let over = over.map(|index| ended.swap_remove(index));
            if client.reported {
                assert!(over.is_none() && client.model.is_settled(), "it is over");
                continue;
            }
            let by_hand = client.poll(&mut clock);
            assert!(
                client.model.is_settled(),
                "it does {:?} more than by hand",
                client.model.take()
            );
            assert_eq!(over.map(|(_, outcome, _)| outcome), by_hand, "{:?}", client.model.hand);
            assert_eq!(over.is_some(), client.closed.is_some(), "closed, if it is over");
            if let (Some((_, _, fault)), Some(closed)) = (over, client.closed) {
                assert_eq!(fault, client.model.fault.or(closed));
                client.reported = true;
                clock.busy = true;
                reported += 1;
            }
        }
        assert!(ended.is_empty(), "a session that did not exist has ended");
        assert_eq!(pool.clients(), clients.borrow().len() - reported, "clients");
        let wait = pool.wait(clock.now as u32);
        assert_eq!(wait, Some(clock.left).filter(|left| *left != u32::MAX), "how long to wait");
        match polled {
            Err(nb::Error::WouldBlock) => assert!(!stack.failed && !clock.busy, "it is not done"),
            Err(nb::Error::Other(_)) => assert!(stack.failed, "the listener has not failed"),
            Ok(()) => assert!(!stack.failed && clock.busy, "it would spin"),
        }
        if is_settled && polled.is_err() && wait.is_none() {
            break;
        }
        let wait = wait.filter(|_| polled.is_err());
        pause(&mut pool, &mut stack, wait);
    }
    // Every call has succeeded for a while: a client that is left waits for its application, or for a silent peer.
    for client in clients.borrow().iter() {
        let is_silent = setting.end() == Answer::Blocks;
        assert!(client.reported || client.thinks || is_silent, "it is never reported");
    }
    assert!(stack.coming == 0 || pool.clients() == N, "a slot is lost");
}

fuzz_target!(|data: &[u8]| -> Corpus { server::<Pools>(data) });
