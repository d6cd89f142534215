//! The connections of the drivers behind one trait, over a transport that [records](Call) each call.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use embedded_io::ErrorKind;
use embedded_nal::TcpClientStack;
use socklab_core::driver::{Error, Next, asynch, blocking, nonblocking, polled};
use socklab_core::machine::{EventView, StreamEnd};
use socklab_tests::role::{Application, Command};
use socklab_tests::transport::{Failed, NetError};

use crate::hostile::{Answer, Call, Choices, Peer};
use crate::model::{KINDS, Outcome, Stop, Style, net_error};

/// How the next thing on a connection is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// `next`.
    Next,
    /// `advance`, then `view`.
    Advance,
    /// `advance_within` where there is one, then `view`.
    Within,
}

/// A connection of one of the drivers.
pub trait Connection<R: Application> {
    /// How the driver uses its transport.
    const STYLE: Style;

    /// Returns what happens next.
    fn next(&mut self, asks: Asks) -> Outcome<Next<R::Event>, R>;
    /// Gives a command.
    fn command(&mut self, command: Command<'_, R>) -> Outcome<(), R>;
    /// Queues payload.
    fn write_payload(&mut self, payload: &[u8]) -> Outcome<usize, R>;
    /// Sends everything.
    fn flush(&mut self) -> Outcome<(), R>;
    /// Waits for the peer in the application's turn.
    fn listen(&mut self) -> Outcome<(), R>;
    /// Starts another session.
    fn restart(&mut self, wire: Wire<R>, machine: R::Machine);
    /// Returns the machine.
    fn machine(&self) -> &R::Machine;
    /// Returns the bytes that the machine has not consumed.
    fn unread(&self) -> &[u8];
    /// Returns how the sending direction ended.
    fn write_closed(&self) -> Option<StreamEnd>;
    /// Returns how long the machine waits, of a driver that says so.
    fn idle_ms(&self) -> Option<Option<u16>>;
    /// Takes the error of the transport, of a driver that keeps it.
    fn fault(&mut self) -> Option<NetError>;
    /// Reports an idle time.
    fn idle(&mut self);
    /// Reports that a wait took as long as it may.
    fn timed_out(&mut self);
    /// Reports that the caller stops waiting.
    fn time_out(&mut self);
}

fn own<R: Application>(next: Next<EventView<'_, R::Machine>>) -> Next<R::Event> {
    next.map(R::own)
}

fn stop<E, T>(error: Error<E, T>) -> Stop<E> {
    match error {
        Error::Protocol(e) => Stop::Protocol(e),
        Error::Transport(_) => Stop::Transport,
        Error::Refused(e) => Stop::Refused(e),
        Error::Law(law) => Stop::Law(law),
        error => panic!("an error without a name: {}", matches!(error, Error::Protocol(_))),
    }
}

fn stop_nb<E, T>(error: nb::Error<Error<E, T>>) -> Stop<E> {
    match error {
        nb::Error::WouldBlock => Stop::Blocks,
        nb::Error::Other(e) => stop(e),
    }
}

/// The transport of any of them: a stack, a stream, or either half of one.
pub struct Wire<R: Application>(pub Rc<RefCell<Peer<R::Event>>>);

impl<R: Application> Clone for Wire<R> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<R: Application> TcpClientStack for Wire<R> {
    type TcpSocket = ();
    type Error = NetError;

    fn socket(&mut self) -> Result<(), NetError> {
        panic!("a driver opens no socket")
    }

    fn connect(&mut self, (): &mut (), _: SocketAddr) -> nb::Result<(), NetError> {
        panic!("a driver does not connect")
    }

    fn send(&mut self, (): &mut (), bytes: &[u8]) -> nb::Result<usize, NetError> {
        nb_answer(self.0.borrow_mut().write(bytes))
    }

    fn receive(&mut self, (): &mut (), space: &mut [u8]) -> nb::Result<usize, NetError> {
        nb_answer(self.0.borrow_mut().read(space))
    }

    fn close(&mut self, (): ()) -> Result<(), NetError> {
        panic!("a driver does not close")
    }
}

fn nb_answer(answer: Answer) -> nb::Result<usize, NetError> {
    match answer {
        Answer::Moved(n) => Ok(n),
        Answer::Nothing => Ok(0),
        Answer::Blocks => Err(nb::Error::WouldBlock),
        Answer::Fails(kind) => Err(nb::Error::Other(net_error(kind))),
    }
}

fn answer(answer: Answer) -> Poll<Result<usize, Failed>> {
    Poll::Ready(match answer {
        Answer::Moved(n) => Ok(n),
        Answer::Nothing => Ok(0),
        Answer::Blocks => return Poll::Pending,
        Answer::Fails(kind) => Err(Failed(KINDS[usize::from(kind)])),
    })
}

/// One that blocks says so with an error that has no name here, as the sockets of std do.
fn at_once(said: Answer) -> Result<usize, Failed> {
    match answer(said) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Failed(ErrorKind::Other)),
    }
}

impl<R: Application> embedded_io::ErrorType for Wire<R> {
    type Error = Failed;
}

impl<R: Application> embedded_io::Read for Wire<R> {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, Failed> {
        at_once(self.0.borrow_mut().read(space))
    }
}

impl<R: Application> embedded_io::Write for Wire<R> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        at_once(self.0.borrow_mut().write(bytes))
    }

    fn flush(&mut self) -> Result<(), Failed> {
        at_once(self.0.borrow_mut().flush()).map(|_| ())
    }
}

fn is_ready(said: Answer) -> Result<bool, Failed> {
    match answer(said) {
        Poll::Ready(result) => result.map(|_| true),
        Poll::Pending => Ok(false),
    }
}

impl<R: Application> embedded_io::ReadReady for Wire<R> {
    fn read_ready(&mut self) -> Result<bool, Failed> {
        is_ready(self.0.borrow_mut().read_ready())
    }
}

impl<R: Application> embedded_io::WriteReady for Wire<R> {
    fn write_ready(&mut self) -> Result<bool, Failed> {
        is_ready(self.0.borrow_mut().write_ready())
    }
}

impl<R: Application> embedded_io_async::Read for Wire<R> {
    async fn read(&mut self, space: &mut [u8]) -> Result<usize, Failed> {
        poll_fn(|_| answer(self.0.borrow_mut().read(space))).await
    }
}

impl<R: Application> embedded_io_async::Write for Wire<R> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        poll_fn(|_| answer(self.0.borrow_mut().write(bytes))).await
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        poll_fn(|_| answer(self.0.borrow_mut().flush())).await.map(|_| ())
    }
}

/// Methods that are the same in every driver.
macro_rules! shared {
    () => {
        fn machine(&self) -> &R::Machine {
            self.connection.machine()
        }

        fn unread(&self) -> &[u8] {
            self.connection.unread()
        }

        fn write_closed(&self) -> Option<StreamEnd> {
            self.connection.write_closed()
        }

        fn idle(&mut self) {
            self.connection.idle();
        }

        fn timed_out(&mut self) {
            self.connection.timed_out();
        }

        fn time_out(&mut self) {
            self.connection.time_out();
        }
    };
}

type Bytes = Vec<u8>;

/// A connection of the blocking driver.
pub struct Blocking<R: Application> {
    /// The connection.
    pub connection: blocking::Connection<Wire<R>, R::Machine, Bytes, Bytes>,
}

impl<R: Application> Connection<R> for Blocking<R> {
    const STYLE: Style = Style::Blocking;

    fn next(&mut self, asks: Asks) -> Outcome<Next<R::Event>, R> {
        let connection = &mut self.connection;
        let next = match asks {
            Asks::Next => return connection.next().map(own::<R>).map_err(stop),
            Asks::Advance => connection.advance(),
            Asks::Within => connection.advance_within(|wire, idle_ms| {
                wire.0.borrow_mut().record(Call::Limit(idle_ms));
            }),
        };
        next.map(|next| own::<R>(next.map(|event| connection.view(event)))).map_err(stop)
    }

    fn command(&mut self, command: Command<'_, R>) -> Outcome<(), R> {
        self.connection.command(command).map_err(stop)
    }

    fn write_payload(&mut self, payload: &[u8]) -> Outcome<usize, R> {
        self.connection.write_payload(payload).map_err(stop)
    }

    fn flush(&mut self) -> Outcome<(), R> {
        self.connection.flush().map_err(stop)
    }

    fn listen(&mut self) -> Outcome<(), R> {
        self.connection.listen().map_err(stop)
    }

    fn restart(&mut self, wire: Wire<R>, machine: R::Machine) {
        self.connection.restart(wire, machine);
    }

    fn idle_ms(&self) -> Option<Option<u16>> {
        None
    }

    fn fault(&mut self) -> Option<NetError> {
        None
    }

    shared!();
}

/// A connection of the polled driver.
pub struct Polled<R: Application> {
    /// The connection.
    pub connection: polled::Connection<Wire<R>, R::Machine, Bytes, Bytes>,
}

impl<R: Application> Connection<R> for Polled<R> {
    const STYLE: Style = Style::Polled;

    fn next(&mut self, asks: Asks) -> Outcome<Next<R::Event>, R> {
        let connection = &mut self.connection;
        if asks == Asks::Next {
            return connection.next().map(own::<R>).map_err(stop_nb);
        }
        let next = connection.advance();
        next.map(|next| own::<R>(next.map(|event| connection.view(event)))).map_err(stop_nb)
    }

    fn command(&mut self, command: Command<'_, R>) -> Outcome<(), R> {
        self.connection.command(command).map_err(stop_nb)
    }

    fn write_payload(&mut self, payload: &[u8]) -> Outcome<usize, R> {
        self.connection.write_payload(payload).map_err(stop_nb)
    }

    fn flush(&mut self) -> Outcome<(), R> {
        self.connection.flush().map_err(stop_nb)
    }

    fn listen(&mut self) -> Outcome<(), R> {
        self.connection.listen().map_err(stop_nb)
    }

    fn restart(&mut self, wire: Wire<R>, machine: R::Machine) {
        self.connection.restart(wire, machine);
    }

    fn idle_ms(&self) -> Option<Option<u16>> {
        Some(self.connection.idle_ms())
    }

    fn fault(&mut self) -> Option<NetError> {
        None
    }

    shared!();
}

/// A connection of the async driver, whose futures are polled again or dropped.
pub struct Async<R: Application, T> {
    /// The connection.
    pub connection: asynch::Connection<T, R::Machine, Bytes, Bytes>,
    /// Its transport.
    pub wire: Wire<R>,
    /// Whether a future is polled again or dropped.
    pub choices: Choices,
}

/// A transport of the async driver.
pub trait Shape<R: Application>: asynch::Transport {
    /// How the driver uses it.
    const STYLE: Style;

    /// Returns a transport over this wire.
    fn new(wire: &Wire<R>) -> Self;
}

impl<R: Application> Shape<R> for asynch::Halves<Wire<R>, Wire<R>> {
    const STYLE: Style = Style::Halves;

    fn new(wire: &Wire<R>) -> Self {
        Self(wire.clone(), wire.clone())
    }
}

impl<R: Application> Shape<R> for asynch::Whole<Wire<R>> {
    const STYLE: Style = Style::Whole;

    fn new(wire: &Wire<R>) -> Self {
        Self(wire.clone())
    }
}

fn poll<X, E, T>(
    choices: &Choices,
    future: impl Future<Output = Result<X, Error<E, T>>>,
) -> Result<X, Stop<E>> {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return result.map_err(stop);
        }
        if choices.next() & 1 == 0 {
            return Err(Stop::Blocks);
        }
    }
}

impl<R: Application, T: Shape<R>> Connection<R> for Async<R, T> {
    const STYLE: Style = T::STYLE;

    fn next(&mut self, asks: Asks) -> Outcome<Next<R::Event>, R> {
        let Self { connection, wire, choices } = self;
        let timer = |idle_ms| {
            let (wire, choices) = (wire.clone(), choices.clone());
            poll_fn(move |_| {
                let fires = choices.next() & 3 == 3;
                wire.0.borrow_mut().record(Call::Timer(idle_ms, fires));
                if fires { Poll::Ready(()) } else { Poll::Pending }
            })
        };
        let next = match asks {
            Asks::Next => {
                return poll(choices, async { connection.next().await.map(own::<R>) });
            }
            Asks::Advance => poll(choices, connection.advance()),
            Asks::Within => poll(choices, connection.advance_within(timer)),
        };
        next.map(|next| own::<R>(next.map(|event| connection.view(event))))
    }

    fn command(&mut self, command: Command<'_, R>) -> Outcome<(), R> {
        poll(&self.choices, self.connection.command(command))
    }

    fn write_payload(&mut self, payload: &[u8]) -> Outcome<usize, R> {
        poll(&self.choices, self.connection.write_payload(payload))
    }

    fn flush(&mut self) -> Outcome<(), R> {
        poll(&self.choices, self.connection.flush())
    }

    fn listen(&mut self) -> Outcome<(), R> {
        poll(&self.choices, self.connection.listen())
    }

    fn restart(&mut self, wire: Wire<R>, machine: R::Machine) {
        self.connection.restart(T::new(&wire), machine);
        self.wire = wire;
    }

    fn idle_ms(&self) -> Option<Option<u16>> {
        Some(self.connection.idle_ms())
    }

    fn fault(&mut self) -> Option<NetError> {
        None
    }

    shared!();
}

/// A connection of the non-blocking driver and its stack.
pub struct Nal<R: Application> {
    /// The connection.
    pub connection: nonblocking::Connection<Wire<R>, R::Machine, Bytes, Bytes>,
    /// Its stack.
    pub stack: Wire<R>,
}

impl<R: Application> Connection<R> for Nal<R> {
    const STYLE: Style = Style::Nal;

    fn next(&mut self, asks: Asks) -> Outcome<Next<R::Event>, R> {
        let Self { connection, stack } = self;
        if asks == Asks::Next {
            return connection.next(stack).map(own::<R>).map_err(stop_nb);
        }
        let next = connection.advance(stack);
        next.map(|next| own::<R>(next.map(|event| connection.view(event)))).map_err(stop_nb)
    }

    fn command(&mut self, command: Command<'_, R>) -> Outcome<(), R> {
        self.connection.command(&mut self.stack, command).map_err(stop_nb)
    }

    fn write_payload(&mut self, payload: &[u8]) -> Outcome<usize, R> {
        self.connection.write_payload(&mut self.stack, payload).map_err(stop_nb)
    }

    fn flush(&mut self) -> Outcome<(), R> {
        self.connection.flush(&mut self.stack).map_err(stop_nb)
    }

    fn listen(&mut self) -> Outcome<(), R> {
        self.connection.listen(&mut self.stack).map_err(stop_nb)
    }

    fn restart(&mut self, wire: Wire<R>, machine: R::Machine) {
        self.connection.restart((), machine);
        self.stack = wire;
    }

    fn idle_ms(&self) -> Option<Option<u16>> {
        Some(self.connection.idle_ms())
    }

    fn fault(&mut self) -> Option<NetError> {
        self.connection.fault()
    }

    shared!();
}
