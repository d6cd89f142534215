//! The pool of the non-blocking driver, with each server, over a stack that does what the fuzzer likes.
//!
//! Invariant: no panic; every poll returns, with at most 64 turns for a client; whatever the stack says
//! to a call, each client's session is what the same one run by hand is, byte for byte and event for
//! event; each is reported once, as it ended, and its slot is there for the next; pauses are kept, a
//! silence is told and a client given up when their time has come and not before. A pool that says it
//! would block has nothing to do. A command for all reaches each client once, also one that reads late.
#![no_main]

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use embedded_nal::{TcpClientStack, TcpErrorKind, TcpFullStack};
use libfuzzer_sys::{Corpus, fuzz_target};
use socklab_core::driver::nonblocking::{Ended, Outcome, Server};
use socklab_core::machine::{EventView, Action, CommandError, Machine, Need, StreamEnd};
use socklab_core::session::Handler;
use socklab_fuzz::hostile::{Choices, Hand, Means, Said, Setting, Target, Why, buffers, server};
use socklab_tests::role::{Command, Role};
use socklab_tests::transport::NetError;

/// The pause at a boundary.
const PACE: u16 = 30;

/// Who does more than this in a poll may not be finished; less is no reason to be polled at once.
const BUSY: usize = 16;

/// So many polls are enough for any input.
const POLLS: usize = 5000;

/// A client, and its session run by hand.
struct Line<R: Role> {
    hand: Hand<R>,
    /// In ms, without wrapping.
    now: u64,
    timeout: Option<u32>,
    /// It was found waiting after something had gone through, the application thought, or a pause began.
    since: u64,
    /// All before a boundary was sent then.
    rests: Option<u64>,
    /// The application had nothing to say in this poll.
    thinks: bool,
    fault: Option<NetError>,
    is_closed: bool,
    is_reported: bool,
    /// Nothing can be sent to it any more. What happens then does not show in the calls of the stack, so
    /// it is not compared: the stack says that the client has ended. `drivers` looks closer.
    is_deaf: bool,
    /// It had no room for a command that all got.
    misses: bool,
    /// What was done for it in this poll.
    acts: usize,
}

impl<R: Role> Line<R> {
    fn begin(&mut self, now: u64) {
        self.hand.begins();
        (self.now, self.thinks, self.hand.is_blocked, self.acts) = (now, false, false, 0);
    }

    fn end(&mut self) {
        if self.is_reported || self.is_deaf || self.thinks {
            return;
        }
        if self.hand.is_blocked {
            let is_time = self.is_time();
            // Given up while it sends what is before a boundary: the pause comes first, and is not seen.
            let is_hidden = is_time && self.hand.stands() == Ok(Action::Boundary);
            assert!(!is_time || is_hidden, "its time has come, and nothing was done");
            if is_hidden {
                self.hand.is_blocked = false;
            }
        }
        if self.rests() && self.rests.is_none() {
            (self.rests, self.since) = (Some(self.now), self.now);
        }
    }

    /// It is at a boundary, and has sent all before that.
    fn rests(&mut self) -> bool {
        // In this order: out of turns, the client may not have been stepped up to the boundary yet.
        self.hand.stands() == Ok(Action::Boundary) && self.hand.is_drained()
    }

    /// The pool does something for this client.
    fn goes_on(&mut self, sends: bool) {
        self.acts += 1;
        assert!(!self.is_reported, "it is over");
        if self.is_deaf {
            assert!(!sends, "nobody takes it");
            return;
        }
        assert!(!self.thinks, "the application has nothing to say, and it goes on");
        if std::mem::take(&mut self.hand.is_blocked) {
            assert!(self.is_time(), "the stack would block, and it goes on");
        }
        while self.hand.passes(sends) {
            let rests = self.rests.take();
            let paused = rests.is_none_or(|rests| self.now - rests >= PACE.into());
            assert!(paused, "no pause: {rests:?}, {}", self.now);
        }
    }

    /// The stack would block: whether there is something to do all the same, which is then done by hand.
    fn is_time(&mut self) -> bool {
        if std::mem::take(&mut self.hand.has_moved) {
            self.since = self.now;
        }
        // The clock is no wider.
        let waited = (self.now - self.since) as u32;
        let silence = self.hand.silence.filter(|_| !self.hand.is_silent && !self.hand.has_ended());
        if silence.is_some_and(|ms| waited >= ms.into()) {
            self.hand.idle();
        } else if self.timeout.is_some_and(|ms| waited >= ms) {
            self.hand.time_out();
            self.since = self.now;
        } else {
            return false;
        }
        true
    }

    fn asked(&mut self) {
        if self.is_deaf {
            self.acts += 1;
            return;
        }
        let is_asked =
            matches!(self.hand.stands(), Ok(Action::Need(Need::Command | Need::InputOrCommand)));
        if is_asked && self.hand.is_drained() {
            self.hand.is_blocked = false;
        }
        self.goes_on(false);
        let action = self.hand.stands();
        let may = matches!(action, Ok(Action::Need(Need::Command | Need::InputOrCommand)));
        assert!(may && self.hand.is_drained(), "it is asked at {action:?}");
    }

    fn says_nothing(&mut self) {
        if self.hand.stands() == Ok(Action::Need(Need::Command)) {
            (self.thinks, self.since) = (true, self.now);
        } else {
            self.hand.is_blocked = true;
        }
    }
}

type Lines<R> = Rc<RefCell<Vec<Rc<RefCell<Line<R>>>>>>;

struct Stack<R: Role> {
    lines: Lines<R>,
    /// What a client is before it comes.
    role: R,
    setting: Rc<Setting>,
    bytes: Vec<u8>,
    timeout: Option<u32>,
    coming: usize,
    now: u64,
    failed: bool,
    broadcasts: bool,
}

fn error(kind: u8) -> NetError {
    NetError(if kind.is_multiple_of(2) { TcpErrorKind::PipeClosed } else { TcpErrorKind::Other })
}

impl<R: Role> Line<R> {
    fn said(
        &mut self,
        said: Said,
        sends: bool,
    ) -> (nb::Result<usize, NetError>, Option<StreamEnd>) {
        match said {
            Said::Moved(n) => (Ok(n), None),
            Said::Nothing => (Ok(0), Some(StreamEnd::Closed)),
            Said::Blocks => (Err(nb::Error::WouldBlock), None),
            Said::Fails(kind) => {
                let error = error(kind);
                let is_closed = error.0 == TcpErrorKind::PipeClosed;
                // That a client has closed is not a fault, unless something was to be sent to it.
                if sends || !is_closed {
                    self.fault = Some(error);
                }
                let how = if is_closed { StreamEnd::Closed } else { StreamEnd::Reset };
                (Err(nb::Error::Other(error)), Some(how))
            }
        }
    }
}

impl<R: Role> TcpClientStack for Stack<R> {
    type TcpSocket = usize;
    type Error = NetError;

    fn socket(&mut self) -> Result<usize, NetError> {
        panic!("a pool opens no socket")
    }

    fn connect(&mut self, _: &mut usize, _: SocketAddr) -> nb::Result<(), NetError> {
        panic!("a pool connects to nobody")
    }

    fn send(&mut self, socket: &mut usize, bytes: &[u8]) -> nb::Result<usize, NetError> {
        let lines = self.lines.borrow();
        let line = &mut *lines[*socket].borrow_mut();
        if !self.broadcasts {
            line.goes_on(true);
        }
        let said = line.hand.send(bytes);
        line.hand.is_bounded();
        let (said, how) = line.said(said, true);
        line.is_deaf |= how.is_some() && said.is_err();
        said
    }

    fn receive(&mut self, socket: &mut usize, room: &mut [u8]) -> nb::Result<usize, NetError> {
        let lines = self.lines.borrow();
        let line = &mut *lines[*socket].borrow_mut();
        line.goes_on(false);
        if line.is_deaf {
            return Ok(0);
        }
        let said = line.hand.receive(room);
        line.hand.is_bounded();
        let (said, how) = line.said(said, false);
        if let Some(how) = how {
            line.hand.reading(Means::Ends(how));
        }
        said
    }

    fn close(&mut self, socket: usize) -> Result<(), NetError> {
        let lines = self.lines.borrow();
        let mut line = lines[socket].borrow_mut();
        assert!(!std::mem::replace(&mut line.is_closed, true), "it is closed twice");
        if self.setting.choices.next() & 15 == 3 {
            line.fault.get_or_insert(error(1));
            return Err(error(1));
        }
        Ok(())
    }
}

impl<R: Role> TcpFullStack for Stack<R> {
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
                return Err(nb::Error::Other(error(1)));
            }
            _ => {}
        }
        self.coming = self.coming.checked_sub(1).ok_or(nb::Error::WouldBlock)?;
        let mut lines = self.lines.borrow_mut();
        let socket = lines.len();
        lines.push(Rc::new(RefCell::new(Line {
            hand: Hand::new(&self.role, &self.setting, &self.bytes),
            now: self.now,
            timeout: self.timeout,
            since: self.now,
            rests: None,
            thinks: false,
            fault: None,
            is_closed: false,
            is_reported: false,
            is_deaf: false,
            misses: false,
            acts: 0,
        })));
        Ok((socket, (Ipv4Addr::LOCALHOST, u16::try_from(socket).expect("few")).into()))
    }
}

/// The application of a client.
struct Player<R: Role> {
    role: R,
    line: Rc<RefCell<Line<R>>>,
    choices: Choices,
    offered: bool,
}

impl<R: Role> Player<R> {
    /// What was offered has been taken, as by hand.
    fn advance_inbound(&mut self) {
        if std::mem::take(&mut self.offered) {
            self.role.given();
        }
    }
}

impl<R: Role> Handler<R::Machine> for Player<R> {
    fn event(&mut self, event: EventView<'_, R::Machine>) {
        self.advance_inbound();
        let event = R::own(event);
        let mut line = self.line.borrow_mut();
        line.goes_on(false);
        if !line.is_deaf {
            line.hand.emitted(&event);
            line.hand.is_bounded();
        }
        self.role.emitted(&event);
    }

    fn command(&mut self) -> Option<Command<'_, R>> {
        self.advance_inbound();
        let mut line = self.line.borrow_mut();
        line.asked();
        let command = if self.choices.next() & 15 == 1 { None } else { self.role.command() };
        match command {
            _ if line.is_deaf => self.offered = command.is_some(),
            Some(command) => {
                self.offered = line.hand.command(command).is_ok();
                line.hand.turn();
                line.hand.is_bounded();
            }
            None => line.says_nothing(),
        }
        command
    }

    fn payload(&mut self, room: &mut [u8]) -> usize {
        self.advance_inbound();
        let mut line = self.line.borrow_mut();
        line.asked();
        assert!(!room.is_empty(), "payload is asked for, and there is no room");
        let owed = line.hand.outbound_remaining();
        assert!(line.is_deaf || room.len() as u64 <= owed, "more payload than is owed");
        let choice = self.choices.next();
        let most = match choice & 15 {
            1 => 0,
            4.. => 1 + usize::from(choice >> 4),
            _ => usize::MAX,
        };
        let payload = self.role.payload();
        let n = payload.len().min(room.len()).min(most);
        room[..n].copy_from_slice(&payload[..n]);
        if !line.is_deaf {
            line.hand.pays(&payload[..n]);
            line.hand.has_paid(n);
        }
        if n > 0 && !line.is_deaf {
            line.hand.turn();
            line.hand.is_bounded();
        }
        self.role.advance_outbound(n);
        n
    }
}

struct Pool;

impl Target for Pool {
    fn run<R: Role>(role: &R, setting: &Rc<Setting>, bytes: &[u8]) {
        if setting.flags & 4 == 0 {
            serve::<R, 2>(role, setting, bytes);
        } else {
            serve::<R, 3>(role, setting, bytes);
        }
    }
}

type Served<R, const N: usize> =
    Server<Stack<R>, <R as Role>::Machine, Player<R>, Vec<u8>, Vec<u8>, N>;

/// What is done between two polls: the clock goes on, and sometimes all get a command.
fn pause<R: Role, const N: usize>(
    pool: &mut Served<R, N>,
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
    let lines = stack.lines.borrow().clone();
    let begins = choice & 15 == 6;
    // Those who had no room for the last one get it before there is another.
    let misses = lines.iter().any(|line| line.borrow().misses);
    if !begins && !misses {
        return;
    }
    for line in &lines {
        let line = &mut *line.borrow_mut();
        line.misses |= !misses;
        line.hand.only_sends = true;
    }
    stack.broadcasts = true;
    let given =
        if misses { pool.command_missed(stack, command) } else { pool.command(stack, command) };
    stack.broadcasts = false;
    for line in &lines {
        let line = &mut *line.borrow_mut();
        line.hand.only_sends = false;
        if line.misses {
            // Refused or not, as to the machine in the pool. Only one that takes nothing misses it.
            line.misses = !line.is_reported
                && line.hand.command(command) == Err(CommandError::OutputFull)
                && !line.is_deaf
                && !line.hand.is_drained();
        }
    }
    let misses = lines.iter().any(|line| line.borrow().misses);
    assert_eq!(given == Err(nb::Error::WouldBlock), misses, "who has not got the command");
}

fn serve<R: Role, const N: usize>(role: &R, setting: &Rc<Setting>, bytes: &[u8]) {
    let timeout = if setting.flags & 16 == 0 { 10_000 } else { 1 << 31 };
    let timeout = (setting.flags & 8 != 0).then_some(timeout);
    let coming = 1 + N + usize::from(setting.flags >> 5 & 1);
    let lines = Lines::default();
    let mut stack = Stack {
        lines: Rc::clone(&lines),
        role: role.clone(),
        setting: Rc::clone(setting),
        bytes: bytes.to_vec(),
        timeout,
        coming,
        // It wraps soon.
        now: u64::from(u32::MAX) - 40,
        failed: false,
        broadcasts: false,
    };
    let slots = [(); N].map(|()| buffers::<R>(setting)).map(|[input, output]| (input, output));
    let mut pool = Server::new(9, slots).expect("they are large enough");
    pool.set_pace(PACE);
    pool.set_timeout(timeout);
    let mut reported = 0;
    for polls in 0.. {
        assert!(polls < POLLS, "it goes round without end");
        let now = stack.now;
        for line in lines.borrow().iter() {
            line.borrow_mut().begin(now);
        }
        (stack.failed, stack.now) = (false, now);
        let is_settled = setting.choices.is_empty();
        let before = (reported, lines.borrow().len());
        let open = |peer: SocketAddr| {
            let line = Rc::clone(&lines.borrow()[usize::from(peer.port())]);
            let player = Player {
                role: role.clone(),
                line,
                choices: setting.choices.clone(),
                offered: false,
            };
            (role.machine(), player)
        };
        let polled = pool.poll(&mut stack, now as u32, open, |over: Ended<'_, Player<R>, _, _>| {
            let mut line = over.application.line.borrow_mut();
            assert!(Rc::ptr_eq(
                &over.application.line,
                &lines.borrow()[usize::from(over.peer.port())]
            ));
            if matches!(over.outcome, Outcome::Refused(_)) {
                line.hand.is_blocked = false;
            }
            line.goes_on(false);
            if !line.is_deaf {
                line.hand.over(match over.outcome {
                    Outcome::Done => Why::Done,
                    Outcome::Aborted => Why::Aborted,
                    Outcome::Failed(e) => Why::Failed(e),
                    Outcome::Refused(e) => Why::Refused(e),
                });
            }
            assert!(line.is_closed, "it is not closed");
            assert_eq!(over.fault, line.fault);
            line.is_reported = true;
            reported += 1;
        });
        for line in lines.borrow().iter() {
            line.borrow_mut().end();
        }
        assert_eq!(pool.clients(), lines.borrow().len() - reported, "clients");
        let wait = pool.wait(now as u32);
        let has_changed = before != (reported, lines.borrow().len());
        match polled {
            Err(nb::Error::WouldBlock) => {
                assert!(!stack.failed && !has_changed, "it would block, and something changed");
                assert_ne!(wait, Some(0), "it would spin");
                for line in lines.borrow().iter().filter(|line| !line.borrow().is_reported) {
                    let line = &mut line.borrow_mut();
                    let waits = line.is_deaf || line.hand.is_blocked || line.thinks || line.rests();
                    assert!(waits, "it would block, and there is something to do");
                }
            }
            Err(nb::Error::Other(_)) => {
                assert!(stack.failed, "the listener has not failed");
                for line in lines.borrow().iter().filter(|line| !line.borrow().is_reported) {
                    let mut line = line.borrow_mut();
                    assert!(
                        line.acts > 0 || line.is_deaf || line.rests(),
                        "the listener failed, and it is not served"
                    );
                }
            }
            Ok(()) => {
                let is_busy = lines.borrow().iter().any(|line| line.borrow().acts >= BUSY);
                assert!(!stack.failed && (has_changed || is_busy), "it would spin");
            }
        }
        if is_settled && polled.is_err() && wait.is_none() {
            break;
        }
        let wait = wait.filter(|_| polled.is_err());
        pause(&mut pool, &mut stack, wait);
    }
    // All has gone well for a while: who is still there is waited for.
    for line in lines.borrow().iter() {
        let line = line.borrow();
        let is_quiet = setting.end() == Said::Blocks;
        assert!(
            line.is_reported || line.thinks || line.is_deaf || is_quiet,
            "it is never reported"
        );
    }
    assert!(stack.coming == 0 || pool.clients() == N, "a slot is lost");
}

fuzz_target!(|data: &[u8]| -> Corpus { server::<Pool>(data) });
