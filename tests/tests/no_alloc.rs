//! The machines, session and drivers allocate nothing: each is run with the allocator armed.
//!
//! A binary of its own, for the allocator is the process's. It watches only the thread that armed
//! it, since the test harness has its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use embedded_io::{ErrorKind, ErrorType, Read, Write};
use embedded_nal::{TcpClientStack, TcpErrorKind};
use socklab_core::driver::{Next, asynch, blocking, nonblocking};
use socklab_core::machine::Machine;
use socklab_core::wire::{Dissect, Dissected};
use socklab_core::{echo, math};
use socklab_tests::transport::{Failed, NetError};

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Watched;

// SAFETY: every call goes to the system's allocator as it came; what is noted besides lives in
// thread locals without destructor or lazy initialisation, so noting it does not allocate.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if ARMED.get() {
            COUNT.set(COUNT.get() + 1);
        }
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: `ptr` came from `alloc` above, so from the system.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// How many allocations `work` makes.
fn allocations(work: impl FnOnce()) -> usize {
    COUNT.set(0);
    ARMED.set(true);
    work();
    ARMED.set(false);
    COUNT.get()
}

/// A transport over arrays: three bytes a call.
struct Wire<'w> {
    input: &'w [u8],
    sent: [u8; 256],
    length: usize,
}

impl<'w> Wire<'w> {
    const fn new(input: &'w [u8]) -> Self {
        Self { input, sent: [0; 256], length: 0 }
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

/// A stack with one line.
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

const QUIZ: &[u8] = b"Q\0\0\0\x01\0\0\0\x02Q\0\0\0\x03\0\0\0\x04Sopensesm";
const ECHO: &[u8] = b"\0\0\0\x0f0123456789abcde\0\0\0\x01x\0\0\0\x0c\xc3\xa90123456789";
const WRONG: &[u8] = b"\0\0\0\x02\xff\xff";

/// Runs a machine without commands through all three drivers, to its end. How many events.
fn run<M: Machine>(machine: &M, bytes: &[u8]) -> usize {
    let mut events = 0;
    let wire = Wire::new(bytes);
    let mut connection =
        blocking::Connection::new(wire, machine.clone(), [0; 64], [0; 16]).ok().unwrap();
    while let Ok(Next::Event(event)) = connection.next() {
        black_box(event);
        events += 1;
    }
    let mut stack = Stack(Wire::new(bytes));
    let mut connection =
        nonblocking::Connection::<Stack<'_>, _, _, _>::new((), machine.clone(), [0; 64], [0; 16])
            .ok()
            .unwrap();
    while let Ok(Next::Event(event)) = connection.next(&mut stack) {
        black_box(event);
        events += 1;
    }
    let wires = (Wire::new(bytes), Wire::new(b""));
    let mut connection =
        asynch::Connection::new(wires.0, wires.1, machine.clone(), [0; 64], [0; 16]).ok().unwrap();
    loop {
        let mut next = std::pin::pin!(connection.next());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match next.as_mut().poll(&mut context) {
            std::task::Poll::Ready(Ok(Next::Event(event))) => {
                black_box(event);
                events += 1;
            }
            std::task::Poll::Ready(_) => return events,
            std::task::Poll::Pending => panic!("these wires never wait"),
        }
    }
}

#[test]
fn the_watch_sees_an_allocation() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1_u64)))), 1);
    assert_eq!(allocations(|| drop(black_box(vec![1, 2, 3]))), 1);
}

#[test]
fn no_machine_session_or_driver_allocates() {
    let mut events = [0; 3];
    let count = allocations(|| {
        events[0] = run(&math::Client::new(), QUIZ);
        events[1] = run(&echo::Server::new(), ECHO);
        events[2] = run(&echo::Server::new(), WRONG);
    });
    assert_eq!((count, events), (0, [9, 9, 0]));
    let mut sent = 0;
    let count = allocations(|| {
        let wire = Wire::new(b"\0\0\0\x01x\0\0\0\x00");
        let mut client =
            blocking::Connection::new(wire, echo::Client::new(), [0; 8], [0; 8]).ok().unwrap();
        client.command(echo::client::Command::Begin(11)).unwrap();
        client.pay(b"0123456789x").unwrap();
        client.command(echo::client::Command::Send(b"abcd")).unwrap();
        client.command(echo::client::Command::Finish).unwrap();
        while let Ok(Next::Event(event)) = client.next() {
            black_box(event);
        }
        sent = client.into_transport().length;
    });
    assert_eq!((count, sent), (0, 23));
    let mut right = 0;
    let count = allocations(|| {
        let wire = Wire::new(&[0, 0, 0, 3]);
        let mut server =
            blocking::Connection::new(wire, math::Server::new(), [0; 4], [0; 9]).ok().unwrap();
        assert!(matches!(server.next(), Ok(Next::Command)));
        let question = math::Question { a: 1, b: 2 };
        server.command(math::server::Command::Ask(question)).unwrap();
        while let Ok(Next::Event(event)) = server.next() {
            black_box(event);
        }
        right = server.machine().right();
    });
    assert_eq!((count, right), (0, 1));
}

#[test]
fn no_dissector_allocates() {
    let mut messages = 0;
    let count = allocations(|| {
        let mut rest = ECHO;
        let mut dissector = echo::Messages::default();
        while let Dissected::Message(n, part) = dissector.dissect(rest) {
            black_box(part);
            messages += 1;
            rest = &rest[n..];
        }
    });
    assert_eq!((count, messages), (0, 3));
}
