//! The connections of the three drivers, with each machine, over a transport that does what the fuzzer
//! likes, and with a caller that does.
//!
//! Invariant: no panic; every call returns, and says that it would block only when the transport did;
//! whatever the transport says, what is sent and told is what the same session run by hand sends and
//! tells, byte for byte and event for event; nothing is read with bytes unflushed, and nothing read or
//! written after Done or Abort; a command refused by hand is refused, and no other; a transport that
//! fails is reported once, and the call can be repeated: payload is taken once.
#![no_main]

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use embedded_io::ErrorKind;
use embedded_nal::{TcpClientStack, TcpErrorKind};
use libfuzzer_sys::{Corpus, fuzz_target};
use socklab_core::driver::{Error, Next, asynch, blocking, nonblocking};
use socklab_core::machine::{EventView, Action, CommandError, Machine, Need, StreamEnd};
use socklab_fuzz::hostile::{Choices, Hand, Means, Said, Setting, Target, Why, buffers, either};
use socklab_tests::role::{Command, Role};
use socklab_tests::transport::{Failed, NetError};

/// So many calls are enough for any input.
const CALLS: usize = 5000;

/// Why a call of a driver gave nothing.
enum Stop<E> {
    /// It would block, or waits.
    Blocks,
    Transport,
    Protocol(E),
    Refused(CommandError),
}

type Fault<R> = Stop<<<R as Role>::Machine as Machine>::Error>;

/// One of the drivers.
trait Way<R: Role> {
    /// All is flushed before the caller has its turn.
    const FLUSHES: bool;

    /// The next event, or only that there is one.
    fn next(&mut self, peeks: bool) -> Result<Next<Option<R::Event>>, Fault<R>>;
    fn command(&mut self, command: Command<'_, R>) -> Result<(), Fault<R>>;
    fn write_payload(&mut self, payload: &[u8]) -> Result<usize, Fault<R>>;
    fn flush(&mut self) -> Result<(), Fault<R>>;
    fn outbound_remaining(&self) -> u64;
    fn silence(&self) -> Option<u16>;
    fn write_closed(&self) -> Option<StreamEnd>;
    fn timed_out(&mut self);
    fn time_out(&mut self);
}

fn own<R: Role>(next: Next<EventView<'_, R::Machine>>) -> Next<Option<R::Event>> {
    match next {
        Next::Event(event) => Next::Event(Some(R::own(event))),
        other => bare(other),
    }
}

fn bare<E, F>(next: Next<E>) -> Next<Option<F>> {
    match next {
        Next::Event(_) => Next::Event(None),
        Next::Command => Next::Command,
        Next::Boundary => Next::Boundary,
        Next::Close => Next::Close,
        Next::Abort => Next::Abort,
    }
}

fn stop<E, T>(error: Error<E, T>) -> Stop<E> {
    match error {
        Error::Protocol(e) => Stop::Protocol(e),
        Error::Transport(_) => Stop::Transport,
        Error::Refused(e) => Stop::Refused(e),
    }
}

fn stop_nb<E, T>(error: nb::Error<Error<E, T>>) -> Stop<E> {
    match error {
        nb::Error::WouldBlock => Stop::Blocks,
        nb::Error::Other(e) => stop(e),
    }
}

/// The transport of any of them: a stack, a stream, or either half of one.
struct Wire<R: Role>(Rc<RefCell<Hand<R>>>);

impl<R: Role> TcpClientStack for Wire<R> {
    type TcpSocket = ();
    type Error = NetError;

    fn socket(&mut self) -> Result<(), NetError> {
        Ok(())
    }

    fn connect(&mut self, (): &mut (), _: SocketAddr) -> nb::Result<(), NetError> {
        Ok(())
    }

    fn send(&mut self, (): &mut (), bytes: &[u8]) -> nb::Result<usize, NetError> {
        let hand = &mut *self.0.borrow_mut();
        match hand.send(bytes) {
            Said::Moved(n) => Ok(n),
            Said::Nothing => Ok(0),
            Said::Blocks => Err(nb::Error::WouldBlock),
            Said::Fails(kind) => {
                let (error, how) = fault(kind);
                hand.sending(Means::Ends(how));
                Err(nb::Error::Other(error))
            }
        }
    }

    fn receive(&mut self, (): &mut (), room: &mut [u8]) -> nb::Result<usize, NetError> {
        let hand = &mut *self.0.borrow_mut();
        match hand.receive(room) {
            Said::Moved(n) => Ok(n),
            Said::Nothing => {
                hand.reading(Means::Ends(StreamEnd::Closed));
                Ok(0)
            }
            Said::Blocks => Err(nb::Error::WouldBlock),
            Said::Fails(kind) => {
                let (error, how) = fault(kind);
                hand.reading(Means::Ends(how));
                Err(nb::Error::Other(error))
            }
        }
    }

    fn close(&mut self, (): ()) -> Result<(), NetError> {
        Ok(())
    }
}

fn fault(kind: u8) -> (NetError, StreamEnd) {
    match kind % 2 {
        0 => (NetError(TcpErrorKind::PipeClosed), StreamEnd::Closed),
        _ => (NetError(TcpErrorKind::Other), StreamEnd::Reset),
    }
}

const KINDS: [ErrorKind; 16] = [
    ErrorKind::Interrupted,
    ErrorKind::ConnectionReset,
    ErrorKind::TimedOut,
    ErrorKind::Other,
    ErrorKind::Interrupted,
    ErrorKind::Other,
    ErrorKind::BrokenPipe,
    ErrorKind::ConnectionAborted,
    ErrorKind::NotConnected,
    ErrorKind::WriteZero,
    ErrorKind::TimedOut,
    ErrorKind::OutOfMemory,
    ErrorKind::Interrupted,
    ErrorKind::InvalidData,
    ErrorKind::ConnectionReset,
    ErrorKind::Unsupported,
];

/// What it says of sending that a write or a flush failed like this.
const fn unsent(kind: ErrorKind) -> Means {
    match kind {
        ErrorKind::Interrupted => Means::Again,
        ErrorKind::TimedOut => Means::TimesOut,
        ErrorKind::BrokenPipe | ErrorKind::NotConnected | ErrorKind::WriteZero => {
            Means::Ends(StreamEnd::Closed)
        }
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Means::Ends(StreamEnd::Reset),
        _ => Means::Fails,
    }
}

impl<R: Role> Wire<R> {
    fn write(&self, bytes: &[u8]) -> Poll<Result<usize, Failed>> {
        let hand = &mut *self.0.borrow_mut();
        let said = hand.send(bytes);
        let (result, means) = match said {
            Said::Moved(n) => (Ok(n), Means::Again),
            Said::Nothing => (Ok(0), Means::Ends(StreamEnd::Closed)),
            Said::Blocks => return Poll::Pending,
            Said::Fails(kind) => {
                let kind = KINDS[usize::from(kind)];
                (Err(Failed(kind)), unsent(kind))
            }
        };
        hand.sending(means);
        Poll::Ready(result)
    }

    fn read(&self, room: &mut [u8]) -> Poll<Result<usize, Failed>> {
        let hand = &mut *self.0.borrow_mut();
        let said = hand.receive(room);
        let is_flushed = !hand.unflushed || hand.stood() == Ok(Action::Need(Need::InputOrCommand));
        assert!(is_flushed || matches!(said, Said::Moved(_)), "it reads, and has not flushed");
        let (result, means) = match said {
            Said::Moved(n) => (Ok(n), Means::Again),
            Said::Nothing => (Ok(0), Means::Ends(StreamEnd::Closed)),
            Said::Blocks => return Poll::Pending,
            Said::Fails(kind) => {
                let kind = KINDS[usize::from(kind)];
                let means = match kind {
                    ErrorKind::Interrupted => Means::Again,
                    ErrorKind::TimedOut => Means::TimesOut,
                    ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe => Means::Ends(StreamEnd::Reset),
                    _ => Means::Fails,
                };
                (Err(Failed(kind)), means)
            }
        };
        hand.reading(means);
        Poll::Ready(result)
    }

    /// What says that the peer takes no more is as with a write. Any other failure is reported, and the
    /// flush is still to be done.
    fn flush(&self) -> Poll<Result<(), Failed>> {
        let hand = &mut *self.0.borrow_mut();
        match hand.said(0) {
            Said::Blocks => {
                hand.has_blocked = true;
                return Poll::Pending;
            }
            Said::Fails(kind) => {
                let kind = KINDS[usize::from(kind)];
                let means = unsent(kind);
                hand.sending(means);
                hand.unflushed &= !matches!(means, Means::Ends(_) | Means::TimesOut);
                return Poll::Ready(Err(Failed(kind)));
            }
            Said::Moved(_) | Said::Nothing => hand.unflushed = false,
        }
        Poll::Ready(Ok(()))
    }

    /// One that blocks says so with an error that has no name here, as those of std do.
    fn at_once<X>(&self, poll: Poll<Result<X, Failed>>) -> Result<X, Failed> {
        match poll {
            Poll::Ready(result) => result,
            Poll::Pending => {
                self.0.borrow_mut().failed = true;
                Err(Failed(ErrorKind::Other))
            }
        }
    }
}

impl<R: Role> embedded_io::ErrorType for Wire<R> {
    type Error = Failed;
}

impl<R: Role> embedded_io::Read for Wire<R> {
    fn read(&mut self, room: &mut [u8]) -> Result<usize, Failed> {
        self.at_once(Wire::read(self, room))
    }
}

impl<R: Role> embedded_io::Write for Wire<R> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        self.at_once(Wire::write(self, bytes))
    }

    fn flush(&mut self) -> Result<(), Failed> {
        self.at_once(Wire::flush(self))
    }
}

impl<R: Role> embedded_io_async::Read for Wire<R> {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, Failed> {
        poll_fn(|_| Wire::read(self, room)).await
    }
}

impl<R: Role> embedded_io_async::Write for Wire<R> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        poll_fn(|_| Wire::write(self, bytes)).await
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        poll_fn(|_| Wire::flush(self)).await
    }
}

type Bytes = Vec<u8>;

impl<R: Role> Way<R> for blocking::Connection<Wire<R>, R::Machine, Bytes, Bytes> {
    const FLUSHES: bool = true;

    fn next(&mut self, peeks: bool) -> Result<Next<Option<R::Event>>, Fault<R>> {
        if peeks {
            return self.advance().map(bare).map_err(stop);
        }
        self.next().map(own::<R>).map_err(stop)
    }

    fn command(&mut self, command: Command<'_, R>) -> Result<(), Fault<R>> {
        self.command(command).map_err(stop)
    }

    fn write_payload(&mut self, payload: &[u8]) -> Result<usize, Fault<R>> {
        self.write_payload(payload).map_err(stop)
    }

    fn flush(&mut self) -> Result<(), Fault<R>> {
        self.flush().map_err(stop)
    }

    fn outbound_remaining(&self) -> u64 {
        self.machine().outbound_remaining()
    }

    fn silence(&self) -> Option<u16> {
        self.silence()
    }

    fn write_closed(&self) -> Option<StreamEnd> {
        self.write_closed()
    }

    fn timed_out(&mut self) {
        self.timed_out();
    }

    fn time_out(&mut self) {
        self.time_out();
    }
}

/// A connection of the async driver, whose futures are polled or dropped as the fuzzer likes.
struct Async<R: Role> {
    connection: asynch::Connection<Wire<R>, Wire<R>, R::Machine, Bytes, Bytes>,
    choices: Choices,
}

fn poll<T, E>(
    choices: &Choices,
    future: impl Future<Output = Result<T, Stop<E>>>,
) -> Result<T, Stop<E>> {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return result;
        }
        if choices.next() & 1 == 0 {
            return Err(Stop::Blocks);
        }
    }
}

impl<R: Role> Way<R> for Async<R> {
    const FLUSHES: bool = true;

    fn next(&mut self, peeks: bool) -> Result<Next<Option<R::Event>>, Fault<R>> {
        let Self { connection, choices } = self;
        poll(choices, async {
            if peeks {
                return connection.advance().await.map(bare).map_err(stop);
            }
            connection.next().await.map(own::<R>).map_err(stop)
        })
    }

    fn command(&mut self, command: Command<'_, R>) -> Result<(), Fault<R>> {
        self.connection.command(command).map_err(stop)
    }

    fn write_payload(&mut self, payload: &[u8]) -> Result<usize, Fault<R>> {
        Ok(self.connection.write_payload(payload))
    }

    fn flush(&mut self) -> Result<(), Fault<R>> {
        let Self { connection, choices } = self;
        poll(choices, async { connection.flush().await.map_err(stop) })
    }

    fn outbound_remaining(&self) -> u64 {
        self.connection.machine().outbound_remaining()
    }

    fn silence(&self) -> Option<u16> {
        self.connection.silence()
    }

    fn write_closed(&self) -> Option<StreamEnd> {
        self.connection.write_closed()
    }

    fn timed_out(&mut self) {
        self.connection.timed_out();
    }

    fn time_out(&mut self) {
        self.connection.time_out();
    }
}

/// A connection of the non-blocking driver and its stack.
struct Nal<R: Role> {
    connection: nonblocking::Connection<Wire<R>, R::Machine, Bytes, Bytes>,
    stack: Wire<R>,
}

impl<R: Role> Way<R> for Nal<R> {
    const FLUSHES: bool = false;

    fn next(&mut self, peeks: bool) -> Result<Next<Option<R::Event>>, Fault<R>> {
        if peeks {
            return self.connection.advance(&mut self.stack).map(bare).map_err(stop_nb);
        }
        self.connection.next(&mut self.stack).map(own::<R>).map_err(stop_nb)
    }

    fn command(&mut self, command: Command<'_, R>) -> Result<(), Fault<R>> {
        self.connection.command(&mut self.stack, command).map_err(stop_nb)
    }

    fn write_payload(&mut self, payload: &[u8]) -> Result<usize, Fault<R>> {
        self.connection.write_payload(&mut self.stack, payload).map_err(stop_nb)
    }

    fn flush(&mut self) -> Result<(), Fault<R>> {
        Ok(())
    }

    fn outbound_remaining(&self) -> u64 {
        self.connection.machine().outbound_remaining()
    }

    fn silence(&self) -> Option<u16> {
        self.connection.silence()
    }

    fn write_closed(&self) -> Option<StreamEnd> {
        self.connection.write_closed()
    }

    fn timed_out(&mut self) {
        match self.connection.silence() {
            Some(_) => self.connection.idle(),
            None => self.connection.time_out(),
        }
    }

    fn time_out(&mut self) {
        self.connection.time_out();
    }
}

/// The caller, who has an application.
struct Caller<R: Role, W> {
    role: R,
    way: W,
    hand: Rc<RefCell<Hand<R>>>,
    /// It is its turn.
    may_speak: bool,
    /// It was asked to speak, and has not.
    is_asked: bool,
    is_over: bool,
    /// The last call gave nothing.
    is_stuck: bool,
}

impl<R: Role, W: Way<R>> Caller<R, W> {
    fn next(&mut self, peeks: bool) {
        (self.may_speak, self.is_asked, self.is_stuck) = (!R::TAKES_TURNS, false, false);
        let result = self.way.next(peeks);
        let hand = &mut *self.hand.borrow_mut();
        if !matches!(result, Err(Stop::Transport | Stop::Protocol(_))) {
            assert!(!hand.failed, "the transport failed, and nobody is told");
        }
        match result {
            Ok(Next::Event(Some(event))) => {
                hand.emitted(&event);
                self.role.emitted(&event);
            }
            Ok(Next::Event(None)) => assert_eq!(hand.stands(), Ok(Action::Event(()))),
            Ok(Next::Command) => {
                assert_eq!(hand.stands(), Ok(Action::Need(Need::Command)));
                assert!(!W::FLUSHES || hand.is_drained() && !hand.unflushed, "not all is sent");
                (self.may_speak, self.is_asked) = (true, true);
            }
            Ok(Next::Boundary) => {
                assert_eq!(hand.stands(), Ok(Action::Boundary));
                assert!(!W::FLUSHES || !hand.unflushed, "not all is sent");
                assert!(hand.passes(false), "a boundary, and not all before it is sent");
            }
            Ok(Next::Close) => {
                assert!(!W::FLUSHES || !hand.unflushed, "not all is sent");
                assert_eq!(self.way.write_closed(), hand.write_closed(), "it hides what is lost");
                hand.over(Why::Done);
                self.is_over = true;
            }
            Ok(Next::Abort) => {
                hand.over(Why::Aborted);
                self.is_over = true;
            }
            Err(Stop::Protocol(e)) => {
                hand.over(Why::Failed(e));
                self.is_over = true;
            }
            Err(Stop::Transport) => {
                assert!(std::mem::take(&mut hand.failed), "the transport has not failed");
                hand.pauses();
                self.is_stuck = true;
            }
            Err(Stop::Blocks) => {
                assert!(hand.has_blocked, "the transport does not block");
                hand.pauses();
                self.is_stuck = true;
            }
            Err(Stop::Refused(e)) => panic!("no command, and {e:?}"),
        }
    }

    /// Whether the application said something.
    fn speaks(&mut self) -> bool {
        let Self { role, way, hand, .. } = self;
        if !role.payload().is_empty() && hand.borrow().outbound_remaining() > 0 {
            let owed = usize::try_from(hand.borrow().outbound_remaining()).unwrap_or(usize::MAX);
            let payload = role.payload();
            let payload = payload.get(..owed).unwrap_or(payload);
            let n = write_payload(way, hand, payload);
            self.is_stuck = n == 0;
            role.advance_outbound(n);
            return n > 0;
        }
        let Some(command) = role.command() else { return false };
        match give(way, hand, command) {
            Ok(()) => {
                role.given();
                true
            }
            Err(Some(CommandError::OutputFull)) => role.split(),
            Err(_) => false,
        }
    }
}

fn write_payload<R: Role>(way: &mut impl Way<R>, hand: &RefCell<Hand<R>>, payload: &[u8]) -> usize {
    let owed = way.outbound_remaining();
    assert_eq!(owed, hand.borrow().outbound_remaining());
    hand.borrow_mut().only_sends = true;
    hand.borrow_mut().pays(payload);
    let said = way.write_payload(payload);
    let mut hand = hand.borrow_mut();
    hand.only_sends = false;
    let n = match said {
        Ok(n) => n,
        // It can be repeated.
        Err(Stop::Transport) => {
            assert!(std::mem::take(&mut hand.failed), "the transport has not failed");
            0
        }
        Err(Stop::Blocks) => 0,
        Err(Stop::Refused(CommandError::Invalid)) => {
            assert!(payload.len() as u64 > hand.outbound_remaining(), "it is owed");
            0
        }
        Err(Stop::Refused(_) | Stop::Protocol(_)) => panic!("payload that it is owed is refused"),
    };
    assert!(!hand.failed, "the transport failed, and nobody is told");
    assert_eq!(owed - way.outbound_remaining(), n as u64, "it says that it took {n}");
    hand.has_paid(n);
    n
}

/// Gives a command. Refused why; `None`: the transport is in the way.
fn give<R: Role>(
    way: &mut impl Way<R>,
    hand: &RefCell<Hand<R>>,
    command: Command<'_, R>,
) -> Result<(), Option<CommandError>> {
    hand.borrow_mut().only_sends = true;
    let said = way.command(command);
    let mut hand = hand.borrow_mut();
    hand.only_sends = false;
    match said {
        Err(Stop::Transport) => {
            assert!(std::mem::take(&mut hand.failed), "the transport has not failed");
            Err(None)
        }
        Err(Stop::Blocks) => {
            assert!(!hand.is_drained(), "all is sent");
            assert_eq!(hand.command(command), Err(CommandError::OutputFull));
            Err(None)
        }
        Ok(()) => {
            assert_eq!(hand.command(command), Ok(()));
            Ok(())
        }
        Err(Stop::Refused(e)) => {
            assert_eq!(hand.command(command), Err(e));
            Err(Some(e))
        }
        Err(Stop::Protocol(_)) => panic!("a command is no step"),
    }
}

fn talk<R: Role, W: Way<R>>(role: &R, choices: &Choices, hand: &Rc<RefCell<Hand<R>>>, way: W) {
    let may_speak = !R::TAKES_TURNS;
    let mut caller = Caller {
        role: role.clone(),
        way,
        hand: Rc::clone(hand),
        may_speak,
        is_asked: false,
        is_over: false,
        is_stuck: false,
    };
    let mut calls = 0;
    while !caller.is_over {
        calls += 1;
        assert!(calls < CALLS, "it goes round without end");
        let choice = choices.next();
        let is_rare = choice >= 128;
        let peeks = match choice & 15 {
            1 => true,
            2 if is_rare => {
                caller.way.time_out();
                hand.borrow_mut().time_out();
                false
            }
            3 if is_rare => {
                // The one that it says is what it does.
                match caller.way.silence() {
                    Some(_) => hand.borrow_mut().idle(),
                    None => hand.borrow_mut().time_out(),
                }
                caller.way.timed_out();
                false
            }
            5 => {
                hand.borrow_mut().only_sends = true;
                let said = caller.way.flush();
                let mut hand = hand.borrow_mut();
                hand.only_sends = false;
                let failed = std::mem::take(&mut hand.failed);
                assert_eq!(matches!(said, Err(Stop::Transport)), failed);
                continue;
            }
            6 => {
                if let Some(command) = R::probe() {
                    let _ = give(&mut caller.way, hand, command);
                }
                continue;
            }
            7 if hand.borrow().outbound_remaining() == 0 => {
                assert_eq!(write_payload(&mut caller.way, hand, b"more"), 0, "it is owed nothing");
                continue;
            }
            _ if caller.may_speak && caller.speaks() => {
                caller.is_asked = false;
                continue;
            }
            _ => false,
        };
        let is_asked = caller.is_asked;
        caller.next(peeks);
        // All goes well by now, and nothing comes of it.
        if choices.is_empty() && !caller.is_over && (caller.is_stuck || is_asked && caller.is_asked)
        {
            let has_ended = hand.borrow().has_ended();
            if has_ended {
                // Neither has anything more to say, and the application may stay.
                return;
            }
            caller.way.time_out();
            hand.borrow_mut().time_out();
        }
    }
    for peeks in [true, false] {
        caller.next(peeks);
        assert!(caller.is_over, "it was over");
    }
}

struct Drivers;

impl Target for Drivers {
    fn run<R: Role>(role: &R, setting: &Rc<Setting>, bytes: &[u8]) {
        let hand = Rc::new(RefCell::new(Hand::new(role, setting, bytes)));
        let wire = || Wire(Rc::clone(&hand));
        let [input, output] = buffers::<R>(setting);
        let (machine, choices) = (role.machine(), &setting.choices);
        let fits = "they are large enough";
        match setting.flags >> 2 & 3 {
            0 => {
                let way = blocking::Connection::new(wire(), machine, input, output).expect(fits);
                talk(role, choices, &hand, way);
            }
            1 => {
                let connection =
                    asynch::Connection::new(wire(), wire(), machine, input, output).expect(fits);
                talk(role, choices, &hand, Async { connection, choices: choices.clone() });
            }
            _ => {
                let connection =
                    nonblocking::Connection::new((), machine, input, output).expect(fits);
                talk(role, choices, &hand, Nal { connection, stack: wire() });
            }
        }
    }
}

fuzz_target!(|data: &[u8]| -> Corpus { either::<Drivers>(data) });
