//! Checks that machines, pump and drivers do not allocate. While the allocator is armed, an
//! allocation aborts the process.
//!
//! This is a test binary of its own because the allocator belongs to the process. It watches only
//! the thread that armed it, because the test harness allocates in others.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::{Context, Poll, Waker};

use embedded_io::{ErrorKind, ErrorType, Read, Write};
use embedded_nal::{TcpClientStack, TcpErrorKind, TcpFullStack, UdpClientStack, UdpFullStack};
use socklab_core::datagram::Timer;
use socklab_core::driver::nonblocking::{Ended, Outcome};
use socklab_core::driver::{Next, asynch, blocking, datagrams, nonblocking};
use socklab_core::machine::{EventView, Input, Machine, StreamEnd};
use socklab_core::session::{Handler, Pumped, Stop, Want, pump};
use socklab_core::wire::pack::{Format, Value};
use socklab_core::wire::{Dissect, Dissected};
use socklab_core::{echo, math, udp};
use socklab_tests::role;
use socklab_tests::samples::{CommandAt, Sessions};
use socklab_tests::transport::{Failed, NetError};

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
}

struct Watched;

// SAFETY: every call is passed to the system's allocator unchanged, or the process ends. The flag
// is a thread local without destructor and without lazy initialisation, so reading it does not
// allocate.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if ARMED.get() {
            std::process::abort();
        }
        // SAFETY: the caller fulfils the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` was returned by `alloc` above, so by the system's allocator.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Runs `work`. An allocation in it aborts the process.
fn without_allocating<T>(work: impl FnOnce() -> T) -> T {
    ARMED.set(true);
    let done = work();
    ARMED.set(false);
    done
}

/// A transport over arrays that moves at most three bytes a call.
struct Wire<'w> {
    input: &'w [u8],
    sent: [u8; 1024],
    length: usize,
}

impl<'w> Wire<'w> {
    const fn new(input: &'w [u8]) -> Self {
        Self { input, sent: [0; 1024], length: 0 }
    }
}

impl ErrorType for Wire<'_> {
    type Error = Failed;
}

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Failed> {
        let n = buf.len().min(self.input.len()).min(3);
        buf[..n].copy_from_slice(&self.input[..n]);
        self.input = &self.input[n..];
        Ok(n)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Failed> {
        let n = buf.len().min(3).min(self.sent.len() - self.length);
        if n == 0 {
            return Err(Failed(ErrorKind::WriteZero));
        }
        self.sent[self.length..][..n].copy_from_slice(&buf[..n]);
        self.length += n;
        Ok(n)
    }

    fn flush(&mut self) -> Result<(), Failed> {
        Ok(())
    }
}

impl embedded_io_async::Read for Wire<'_> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Failed> {
        Read::read(self, buf)
    }
}

impl embedded_io_async::Write for Wire<'_> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Failed> {
        Write::write(self, buf)
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        Write::flush(self)
    }
}

/// A stack with one connection.
struct Stack<'w>(Wire<'w>);

impl TcpClientStack for Stack<'_> {
    type TcpSocket = ();
    type Error = NetError;

    fn socket(&mut self) -> Result<(), NetError> {
        Ok(())
    }

    fn connect(&mut self, (): &mut (), _: std::net::SocketAddr) -> nb::Result<(), NetError> {
        Ok(())
    }

    fn send(&mut self, (): &mut (), buffer: &[u8]) -> nb::Result<usize, NetError> {
        let gone = |_| nb::Error::Other(NetError(TcpErrorKind::PipeClosed));
        Write::write(&mut self.0, buffer).map_err(gone)
    }

    fn receive(&mut self, (): &mut (), buffer: &mut [u8]) -> nb::Result<usize, NetError> {
        Read::read(&mut self.0, buffer).map_err(|_| nb::Error::WouldBlock)
    }

    fn close(&mut self, (): ()) -> Result<(), NetError> {
        Ok(())
    }
}

/// Size that is enough for any machine.
const BUFFER: usize = 2048;

const QUIZ: &[u8] = b"Q\0\0\0\x01\0\0\0\x02Q\0\0\0\x03\0\0\0\x04Sopensesm";
const ECHO: &[u8] = b"\0\0\0\x0f0123456789abcde\0\0\0\x01x\0\0\0\x0c\xc3\xa90123456789";

/// An application that gives its commands in order and counts the events.
struct CommandsHandler<M: Machine> {
    command_at: CommandAt<M>,
    nth: usize,
    events: usize,
}

impl<M: Machine> Handler<M> for CommandsHandler<M> {
    fn event(&mut self, event: EventView<'_, M>) {
        black_box(event);
        self.events += 1;
    }

    fn command(&mut self) -> Option<M::Command<'_>> {
        self.nth += 1;
        (self.command_at)(&self.nth)
    }
}

/// One session of a machine.
struct TestSession<M: Machine> {
    machine: fn() -> M,
    input: &'static [u8],
    command_at: CommandAt<M>,
    /// Whether it gives its commands at once, without being nth.
    eager: bool,
}

/// Runs the session with the pump and with each driver. Returns the number of events of each.
fn run_session<M: Machine>(session: &TestSession<M>) -> [usize; 4] {
    let &TestSession { machine, input, command_at, eager } = session;
    let mut events = [0; 4];

    let (mut player, mut pumped) =
        (CommandsHandler::<M> { command_at, nth: 0, events: 0 }, machine());
    let mut rest = input;
    loop {
        let input = Input::ended(rest, StreamEnd::Closed);
        let Pumped { consumed, stop, .. } = pump(&mut pumped, &mut player, input, &mut [0; BUFFER]);
        rest = &rest[consumed..];
        if stop != Stop::Want(Want::Boundary) {
            break;
        }
    }
    events[0] = player.events;

    let wire = Wire::new(input);
    let mut connection =
        blocking::Connection::new(wire, machine(), [0; BUFFER], [0; BUFFER]).ok().unwrap();
    let mut nth = 1;
    if eager {
        while let Some(command) = command_at(&nth) {
            connection.command(command).ok().unwrap();
            nth += 1;
        }
    }
    loop {
        match connection.next() {
            Ok(Next::Event(event)) => {
                black_box(event);
                events[1] += 1;
            }
            Ok(Next::Command) if command_at(&nth).is_some() => {
                connection.command(command_at(&nth).unwrap()).ok().unwrap();
                nth += 1;
            }
            Ok(Next::Boundary) => {}
            _ => break,
        }
    }

    let mut stack = Stack(Wire::new(input));
    let mut connection =
        nonblocking::Connection::<Stack<'_>, _, _, _>::new((), machine(), [0; BUFFER], [0; BUFFER])
            .ok()
            .unwrap();
    let mut nth = 1;
    if eager {
        while let Some(command) = command_at(&nth) {
            connection.command(&mut stack, command).ok().unwrap();
            nth += 1;
        }
    }
    loop {
        match connection.next(&mut stack) {
            Ok(Next::Event(event)) => {
                black_box(event);
                events[2] += 1;
            }
            Ok(Next::Command) if command_at(&nth).is_some() => {
                connection.command(&mut stack, command_at(&nth).unwrap()).ok().unwrap();
                nth += 1;
            }
            Ok(Next::Boundary) => {}
            _ => break,
        }
    }

    let wires = (Wire::new(input), Wire::new(b""));
    let mut connection = asynch::Connection::new(
        asynch::Halves(wires.0, wires.1),
        machine(),
        [0; BUFFER],
        [0; BUFFER],
    )
    .ok()
    .unwrap();
    let mut nth = 1;
    if eager {
        while let Some(command) = command_at(&nth) {
            connection.try_command(command).unwrap();
            nth += 1;
        }
    }
    loop {
        let wants_command = {
            let mut next = std::pin::pin!(connection.next());
            let mut context = Context::from_waker(Waker::noop());
            match next.as_mut().poll(&mut context) {
                Poll::Ready(Ok(Next::Event(event))) => {
                    black_box(event);
                    events[3] += 1;
                    false
                }
                Poll::Ready(Ok(Next::Boundary)) => false,
                Poll::Ready(Ok(Next::Command)) if command_at(&nth).is_some() => true,
                _ => return events,
            }
        };
        if wants_command {
            connection.try_command(command_at(&nth).unwrap()).unwrap();
            nth += 1;
        }
    }
}

#[test]
fn an_allocation_aborts() {
    const ROLE: &str = "SOCKLAB_TEST_ALLOCATES";
    match std::env::var(ROLE).as_deref() {
        // The child processes, which run this test again.
        Ok("armed") => without_allocating(|| drop(black_box(Box::new(1_u64)))),
        Ok(_) => drop(black_box(Box::new(1_u64))),
        Err(_) => {
            let child = |role| {
                let mut child = std::process::Command::new(std::env::current_exe().unwrap());
                child.args(["--exact", "an_allocation_aborts"]).env(ROLE, role);
                child.output().unwrap().status
            };
            assert!(child("not armed").success());
            // No exit code: a signal ended the process.
            assert_eq!(child("armed").code(), None);
        }
    }
}

/// Runs each session of a protocol with the allocator armed.
struct WithoutAllocating;

impl Sessions for WithoutAllocating {
    fn session<M: Machine>(
        &mut self,
        machine: fn() -> M,
        input: &'static [u8],
        command_at: CommandAt<M>,
        events: usize,
    ) {
        let session = TestSession { machine, input, command_at, eager: false };
        let counted = without_allocating(|| run_session(&session));
        assert_eq!(counted, [events; 4], "events of the pump and of each driver");
    }

    fn eager_session<M: Machine>(
        &mut self,
        machine: fn() -> M,
        input: &'static [u8],
        command_at: CommandAt<M>,
        events: usize,
    ) {
        let session = TestSession { machine, input, command_at, eager: true };
        // A pump asks for each command.
        let [_, drivers @ ..] = without_allocating(|| run_session(&session));
        assert_eq!(drivers, [events; 3], "events of each driver");
    }
}

macro_rules! protocols {
    ($($module:ident $name:ident { $($rest:tt)* })*) => {
        $(
            #[test]
            fn $module() {
                role::$module::sessions(&mut WithoutAllocating);
            }
        )*
    };
}

mod no_machine_pump_or_driver_allocates {
    use super::*;

    socklab_core::for_each_protocol!(protocols);
}

/// A stack that accepts one client.
struct AcceptsOne<'w>(Stack<'w>, bool);

impl TcpClientStack for AcceptsOne<'_> {
    type TcpSocket = ();
    type Error = NetError;

    fn socket(&mut self) -> Result<(), NetError> {
        Ok(())
    }

    fn connect(&mut self, (): &mut (), to: std::net::SocketAddr) -> nb::Result<(), NetError> {
        self.0.connect(&mut (), to)
    }

    fn send(&mut self, (): &mut (), buffer: &[u8]) -> nb::Result<usize, NetError> {
        self.0.send(&mut (), buffer)
    }

    fn receive(&mut self, (): &mut (), buffer: &mut [u8]) -> nb::Result<usize, NetError> {
        self.0.receive(&mut (), buffer)
    }

    fn close(&mut self, (): ()) -> Result<(), NetError> {
        Ok(())
    }
}

impl TcpFullStack for AcceptsOne<'_> {
    fn bind(&mut self, (): &mut (), _: u16) -> Result<(), NetError> {
        Ok(())
    }

    fn listen(&mut self, (): &mut ()) -> Result<(), NetError> {
        Ok(())
    }

    fn accept(&mut self, (): &mut ()) -> nb::Result<((), std::net::SocketAddr), NetError> {
        if std::mem::replace(&mut self.1, true) {
            return Err(nb::Error::WouldBlock);
        }
        Ok(((), (std::net::Ipv4Addr::LOCALHOST, 1).into()))
    }
}

#[test]
fn the_server_pool_does_not_allocate() {
    let (mut opened, mut done) = (0, 0);
    without_allocating(|| {
        let mut stack = AcceptsOne(Stack(Wire::new(ECHO)), false);
        let mut pool = nonblocking::Server::<_, echo::Server, CommandsHandler<_>, _, _, 2>::new(
            (),
            [([0_u8; 64], [0_u8; 16]); 2],
        )
        .unwrap();
        let mut open = |_| {
            opened += 1;
            (echo::Server::new(), CommandsHandler { command_at: |_| None, nth: 0, events: 0 })
        };
        let mut report =
            |ended: Ended<'_, _, _, _>| done += usize::from(ended.outcome == Outcome::Done);
        while pool.poll(&mut stack, 0, &mut open, &mut report).is_ok() {}
    });
    assert_eq!((opened, done), (1, 1));
}

#[test]
fn payload_and_dissectors_do_not_allocate() {
    let sent = without_allocating(|| {
        let wire = Wire::new(b"\0\0\0\x01x\0\0\0\x00");
        let mut client =
            blocking::Connection::new(wire, echo::Client::new(), [0; 8], [0; 8]).ok().unwrap();
        client.command(echo::client::Command::Begin(11)).unwrap();
        let mut rest = &b"0123456789x"[..];
        while !rest.is_empty() {
            rest = rest.get(client.write_payload(rest).unwrap()..).unwrap();
        }
        client.command(echo::client::Command::Send(b"abcd")).unwrap();
        client.command(echo::client::Command::Finish).unwrap();
        while let Ok(Next::Event(event)) = client.next() {
            black_box(event);
        }
        client.into_transport().length
    });
    assert_eq!(sent, 23);
    assert_eq!(without_allocating(|| dissected(echo::Messages::<4>::default(), ECHO)), 3);
    assert_eq!(without_allocating(|| dissected(math::ServerBytes::default(), QUIZ)), 3);
    assert_eq!(without_allocating(|| dissected(math::ClientBytes, &[0; 8])), 2);
}

#[test]
fn packing_does_not_allocate() {
    without_allocating(|| {
        let format = Format::parse("!?hQefd3s5pc2x").unwrap();
        let values = [
            true.into(),
            (-13).into(),
            u64::MAX.into(),
            0.5.into(),
            0.3871.into(),
            f64::INFINITY.into(),
            Value::Bytes(b"abc"),
            Value::Bytes(b"de"),
            Value::Char(b'x'),
        ];
        let mut packed = [0; 64];
        let n = format.pack(&values, &mut packed).unwrap();
        assert!(n == format.size() && format.unpack(&packed[..n]).unwrap().count() == 9);
        let mut errors = Counter(0);
        write!(errors, "{}", Format::parse("!hk").unwrap_err()).unwrap();
        write!(errors, "{}", format.pack(&[], &mut packed).unwrap_err()).unwrap();
        let string = Format::parse("h").unwrap().pack(&values[..1], &mut packed);
        write!(errors, "{}", string.unwrap_err()).unwrap();
        write!(errors, "{}", format.unpack(&[]).unwrap_err()).unwrap();
        assert!(errors.0 > 100);
    });
}

/// Writer that only counts.
struct Counter(usize);

impl std::fmt::Write for Counter {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// Returns the number of messages.
fn dissected<D: Dissect>(mut dissector: D, bytes: &[u8]) -> usize {
    let (mut rest, mut messages) = (bytes, 0);
    while let Dissected::Message(n, message) = dissector.dissect(rest) {
        black_box(message);
        messages += 1;
        rest = &rest[n..];
    }
    messages
}

/// A datagram that a socket of [`Cable`] has sent.
type Sent = ([u8; 32], usize);

/// Two sockets, 0 and 1, each with place for one datagram from the other one.
struct Cable([Option<Sent>; 2]);

const ENDS: [SocketAddr; 2] = {
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    [SocketAddr::new(localhost, 1), SocketAddr::new(localhost, 2)]
};

impl UdpClientStack for Cable {
    type UdpSocket = usize;
    type Error = NetError;

    fn socket(&mut self) -> Result<usize, NetError> {
        Ok(0)
    }

    fn connect(&mut self, _: &mut usize, _: SocketAddr) -> Result<(), NetError> {
        Ok(())
    }

    fn send(&mut self, socket: &mut usize, buffer: &[u8]) -> nb::Result<(), NetError> {
        let mut bytes = [0; 32];
        bytes[..buffer.len()].copy_from_slice(buffer);
        self.0[1 - *socket] = Some((bytes, buffer.len()));
        Ok(())
    }

    fn receive(
        &mut self,
        socket: &mut usize,
        buffer: &mut [u8],
    ) -> nb::Result<(usize, SocketAddr), NetError> {
        let (bytes, length) = self.0[*socket].take().ok_or(nb::Error::WouldBlock)?;
        buffer[..length].copy_from_slice(&bytes[..length]);
        Ok((length, ENDS[1 - *socket]))
    }

    fn close(&mut self, _: usize) -> Result<(), NetError> {
        Ok(())
    }
}

impl UdpFullStack for Cable {
    fn bind(&mut self, _: &mut usize, _: u16) -> Result<(), NetError> {
        Ok(())
    }

    fn send_to(
        &mut self,
        socket: &mut usize,
        to: SocketAddr,
        buffer: &[u8],
    ) -> nb::Result<(), NetError> {
        assert_eq!(to, ENDS[1 - *socket]);
        self.send(socket, buffer)
    }
}

#[test]
fn neither_machines_over_datagrams_nor_their_driver_allocate() {
    const MESSAGE: &[u8] = b"Four score and seven";
    let summary = without_allocating(|| {
        let mut cable = Cable([None; 2]);
        let machine = udp::Client::new(ENDS[1], udp::client::Limits::default());
        let mut client = datagrams::Client::<Cable, _, _>::new(0, machine, [0; 64]);
        let mut server = datagrams::Server::<Cable, _, _>::new(1, udp::Server::new(), [0; 64]);
        client.send(MESSAGE).unwrap();
        assert!(client.next(&mut cable, MESSAGE).is_err());
        // The first one is lost.
        cable.0[1] = None;
        assert!(matches!(client.timer(), Timer::Start(_)));
        client.timed_out();
        black_box(client.next(&mut cable, MESSAGE).unwrap());
        black_box(server.next(&mut cable).unwrap());
        black_box(client.next(&mut cable, MESSAGE).unwrap());
        assert_eq!(client.received().bytes, b" and seven");
        client.unreachable(MESSAGE);
        client.machine().summary()
    });
    assert_eq!((summary.sent, summary.retries, summary.received), (1, 1, 1));
}
