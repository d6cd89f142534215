//! Time without sleeping: a clock that moves when nothing else can happen.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use embedded_io::ErrorKind;
use embedded_io_async::{Read, Write};
use socklab_core::driver::asynch::{Connection, Halves};
use socklab_core::driver::{Error, Next, blocking, nonblocking};
use socklab_core::file::{self, SILENCE_MS, server::Event};
use socklab_core::session::Handler;
use socklab_core::{Machine, math};
use socklab_tests::oracle::question;
use socklab_tests::transport::{Failed, Net, Reader, Socket, Writer, pipe};

/// A simulated clock.
#[derive(Clone, Default)]
struct Clock {
    now: Rc<Cell<u64>>,
    /// The times at which a future waits to be polled.
    alarms: Rc<RefCell<Vec<u64>>>,
}

impl Clock {
    async fn after(&self, ms: u64) {
        let end = self.now.get() + ms;
        poll_fn(|_| {
            if self.now.get() >= end {
                return Poll::Ready(());
            }
            self.alarms.borrow_mut().push(end);
            Poll::Pending
        })
        .await;
    }

    /// Runs a future to its end. When it waits, time passes until the next alarm.
    fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        for _ in 0..1_000_000 {
            // Twice: what one part does may wake another that was polled before.
            for _ in 0..2 {
                self.alarms.borrow_mut().clear();
                if let Poll::Ready(output) =
                    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
                {
                    return output;
                }
            }
            let next = self.alarms.borrow().iter().min().copied();
            self.now.set(next.expect("it waits, and no time ends that"));
        }
        panic!("it does not end");
    }

    /// A timer for `next_within`: `limit` for everything that is no idle time.
    fn timer(&self, limit: u64) -> impl FnMut(Option<u16>) -> Timer {
        let clock = self.clone();
        move |idle_ms| {
            let clock = clock.clone();
            Box::pin(async move { clock.after(idle_ms.map_or(limit, u64::from)).await })
        }
    }
}

type Timer = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// Runs both futures; the result is the first one's.
async fn beside<A: Future>(a: A, b: impl Future<Output = ()>) -> A::Output {
    let (mut a, mut b, mut over) = (pin!(a), pin!(b), false);
    poll_fn(|cx| {
        if !over {
            over = b.as_mut().poll(cx).is_ready();
        }
        a.as_mut().poll(cx)
    })
    .await
}

type FileServer = Connection<Halves<Reader, Writer>, file::Server, [u8; 1025], [u8; 1026]>;

fn file_server(holds: usize) -> (FileServer, Writer, Reader) {
    let (theirs, reader) = pipe(64, 64, false);
    let (writer, read_by_them) = pipe(holds, 64, false);
    let connection =
        Connection::new(Halves(reader, writer), file::Server::new(), [0; 1025], [0; 1026]);
    (connection.unwrap(), theirs, read_by_them)
}

/// Returns the name that a server gets if the parts of it come with these pauses before them, and when.
fn name_after(pauses: &[(u64, &[u8])]) -> (Vec<u8>, u64) {
    let clock = Clock::default();
    let (mut server, mut peer, _kept) = file_server(64);
    let sends = async {
        for (pause, bytes) in pauses {
            clock.after(*pause).await;
            peer.write(bytes).await.unwrap();
        }
        // The connection stays open.
        std::future::pending::<()>().await;
    };
    let named = async {
        match server.next_within(clock.timer(30_000)).await {
            Ok(Next::Event(Event::Request(request))) => request.name.to_vec(),
            other => panic!("{other:?}"),
        }
    };
    let name = clock.run(beside(named, sends));
    (name, clock.now.get())
}

#[test]
fn a_name_ends_after_the_idle_time_and_no_sooner_or_later() {
    let silence = u64::from(SILENCE_MS);
    // The first part comes late: only silence behind a byte counts.
    for first in [0, 5000] {
        let parts: [(u64, &[u8]); 2] = [(first, b"no"), (silence - 1, b"tes.txt")];
        assert_eq!(name_after(&parts), (b"notes.txt".to_vec(), first + silence - 1 + silence));
        let parts: [(u64, &[u8]); 3] = [(first, b"n"), (200, b"o"), (200, b"tes.txt")];
        assert_eq!(name_after(&parts), (b"notes.txt".to_vec(), first + 400 + silence));
        // A newline ends it at once.
        let parts: [(u64, &[u8]); 2] = [(first, b"no"), (10, b"tes.txt\n")];
        assert_eq!(name_after(&parts), (b"notes.txt".to_vec(), first + 10));
        let parts: [(u64, &[u8]); 2] = [(first, b"no"), (silence + 1, b"tes.txt")];
        assert_eq!(name_after(&parts), (b"no".to_vec(), first + silence), "the rest came too late");
    }
}

#[test]
fn the_callers_own_limit_ends_a_read_a_write_and_a_flush() {
    // A read.
    let clock = Clock::default();
    let (mut server, _peer, _kept) = file_server(64);
    let ended = clock.run(async {
        match server.next_within(clock.timer(700)).await {
            Err(Error::Protocol(e)) => format!("{e:?}"),
            other => panic!("{other:?}"),
        }
    });
    assert!(ended.contains("TimedOut"), "{ended}");
    assert_eq!(clock.now.get(), 700);
    assert!(server.write_closed().is_some());

    // A write: the peer reads nothing, and the line holds 8 bytes.
    let clock = Clock::default();
    let (mut server, mut peer, _kept) = file_server(8);
    let ended = clock.run(async {
        peer.write(b"notes.txt\n").await.unwrap();
        assert!(matches!(server.next().await, Ok(Next::Event(_))));
        assert!(matches!(server.next().await, Ok(Next::Command)));
        server.command(file::server::Command::Send(2000)).await.unwrap();
        assert_eq!(server.write_payload(&[b'x'; 1000]).await, Ok(1000));
        match server.next_within(clock.timer(700)).await {
            Err(Error::Protocol(e)) => format!("{e:?}"),
            other => panic!("{:?}", other.map(|_| ())),
        }
    });
    assert!(ended.contains("TimedOut"), "{ended}");
    // The first write took 8 bytes at once.
    assert_eq!(clock.now.get(), 700);

    // A flush that waits for the peer.
    let clock = Clock::default();
    let socket = Slow { clock: clock.clone(), flush_ms: 10_000, ..Slow::new(&question(1, 2)) };
    let mut client =
        Connection::new(Halves(socket.clone(), socket), math::Client::new(), [0; 9], [0; 4])
            .unwrap();
    let ended = clock.run(async {
        assert!(matches!(client.next_within(clock.timer(700)).await, Ok(Next::Event(_))));
        match client.next_within(clock.timer(700)).await {
            Err(Error::Protocol(e)) => format!("{e:?}"),
            other => panic!("{other:?}"),
        }
    });
    assert!(ended.contains("TimedOut"), "{ended}");
    assert_eq!(clock.now.get(), 700);
}

#[test]
fn a_timer_that_rings_drops_a_read_and_no_byte() {
    let silence = u64::from(SILENCE_MS);
    // If byte and timer come in the same moment, the byte counts.
    for (pause, name) in [(silence, &b"notes.txt"[..]), (silence + 1, b"n")] {
        let clock = Clock::default();
        let (mut server, mut peer, _kept) = file_server(64);
        let sends = async {
            for byte in b"notes.txt\n" {
                clock.after(pause).await;
                peer.write(&[*byte]).await.unwrap();
            }
            drop(peer);
            std::future::pending::<()>().await;
        };
        let named = async {
            match server.next_within(clock.timer(30_000)).await {
                Ok(Next::Event(Event::Request(request))) => assert_eq!(request.name, name),
                other => panic!("{other:?}"),
            }
            assert!(matches!(server.next().await, Ok(Next::Command)));
            let rest = b"notes.txt\n".strip_prefix(name).unwrap();
            while name == b"n" && server.unread() != rest {
                server.listen().await.unwrap();
            }
        };
        clock.run(beside(named, sends));
        assert_eq!(clock.now.get(), 10 * pause);
    }
}

/// A transport whose flush takes a while, as on a stack that waits for the acknowledgement.
#[derive(Clone, Default)]
struct Slow {
    clock: Clock,
    flush_ms: u64,
    input: Rc<RefCell<std::collections::VecDeque<u8>>>,
    sent: Rc<Cell<usize>>,
}

impl Slow {
    fn new(input: &[u8]) -> Self {
        let slow = Self::default();
        slow.input.borrow_mut().extend(input);
        slow
    }
}

impl embedded_io::ErrorType for Slow {
    type Error = Failed;
}

impl Read for Slow {
    async fn read(&mut self, space: &mut [u8]) -> Result<usize, Failed> {
        poll_fn(|_| {
            let mut input = self.input.borrow_mut();
            let n = space.len().min(input.len());
            for (to, from) in space.iter_mut().zip(input.drain(..n)) {
                *to = from;
            }
            if n > 0 { Poll::Ready(Ok(n)) } else { Poll::Pending }
        })
        .await
    }
}

impl Write for Slow {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        self.sent.set(self.sent.get() + bytes.len());
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        self.clock.after(self.flush_ms).await;
        Ok(())
    }
}

#[test]
fn payload_costs_one_slow_flush() {
    let clock = Clock::default();
    let socket = Slow { clock: clock.clone(), flush_ms: 200, ..Slow::new(b"notes.txt\n") };
    let sent = Rc::clone(&socket.sent);
    let mut server =
        Connection::new(Halves(socket.clone(), socket), file::Server::new(), [0; 1025], [0; 2048])
            .unwrap();
    clock.run(async {
        let payload = vec![b'x'; 200_000];
        let mut rest = &payload[..];
        loop {
            match server.next().await.unwrap() {
                Next::Event(_) => {}
                Next::Command if rest.len() == payload.len() && sent.get() == 0 => {
                    server.command(file::server::Command::Send(200_000)).await.unwrap();
                    rest = &rest[server.write_payload(rest).await.unwrap()..];
                }
                Next::Command => rest = &rest[server.write_payload(rest).await.unwrap()..],
                Next::Close => return,
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!((sent.get(), clock.now.get()), (200_000, 200));
}

/// A blocking line on a simulated clock. A part arrives when its time has come; a read that would wait
/// longer than the limit fails.
struct Timed {
    now: u64,
    parts: std::collections::VecDeque<(u64, &'static [u8])>,
    limit: u64,
    /// The error of a read whose time is over.
    kind: ErrorKind,
}

impl embedded_io::ErrorType for Timed {
    type Error = Failed;
}

impl embedded_io::Read for Timed {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, Failed> {
        match self.parts.front() {
            Some((at, bytes)) if *at <= self.now + self.limit => {
                self.now = self.now.max(*at);
                space[..bytes.len()].copy_from_slice(bytes);
                let n = bytes.len();
                self.parts.pop_front();
                Ok(n)
            }
            _ => {
                self.now += self.limit;
                Err(Failed(self.kind))
            }
        }
    }
}

impl embedded_io::Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Failed> {
        Ok(())
    }
}

#[test]
fn a_blocking_read_has_the_limit_that_the_machine_asks_for() {
    let silence = u64::from(SILENCE_MS);
    // A std socket fails with `WouldBlock` instead, which is `Other` here.
    for kind in [ErrorKind::TimedOut, ErrorKind::Other] {
        for (pause, name, at) in [
            (silence, &b"notes.txt"[..], 5000 + silence + silence),
            (silence + 1, b"no", 5000 + silence),
        ] {
            let parts = [(5000, &b"no"[..]), (5000 + pause, b"tes.txt")].into();
            let line = Timed { now: 0, parts, limit: 1, kind };
            let server = file::Server::new();
            let mut server = blocking::Connection::new(line, server, [0; 1025], [0; 1026]).unwrap();
            let set = |line: &mut Timed, idle_ms: Option<u16>| {
                line.limit = idle_ms.map_or(30_000, u64::from);
            };
            let got = loop {
                match server.advance_within(set) {
                    Ok(Next::Event(event)) => break server.view(event),
                    Err(Error::Transport(Failed(ErrorKind::Other))) => server.timed_out(),
                    other => panic!("{other:?}"),
                }
            };
            let Event::Request(request) = got else { panic!("{got:?}") };
            assert_eq!(request.name, name, "{kind:?}");
            assert_eq!(server.into_transport().now, at, "{kind:?}");
        }
        // Nothing at all: the caller's own limit.
        let line = Timed { now: 0, parts: [].into(), limit: 1, kind };
        let mut server =
            blocking::Connection::new(line, file::Server::new(), [0; 1025], [0; 1026]).unwrap();
        let ended = loop {
            match server.advance_within(|line, idle_ms| {
                line.limit = idle_ms.map_or(30_000, u64::from);
            }) {
                Err(Error::Protocol(e)) => break format!("{e:?}"),
                Err(Error::Transport(_)) => server.timed_out(),
                other => panic!("{other:?}"),
            }
        };
        assert!(ended.contains("TimedOut"), "{ended}");
        assert_eq!(server.into_transport().now, 30_000);
    }
}

/// `listen` has the limit that was set last, so a caller sets its own.
#[test]
fn a_blocking_listen_ends_at_the_limit_of_the_transport() {
    let parts = [(0, &b"notes.txt\n"[..]), (100, b"x")].into();
    let line = Timed { now: 0, parts, limit: 1, kind: ErrorKind::TimedOut };
    let mut server =
        blocking::Connection::new(line, file::Server::new(), [0; 1025], [0; 1026]).unwrap();
    assert!(matches!(server.advance(), Ok(Next::Event(_))));
    assert!(matches!(server.advance(), Ok(Next::Command)));
    server.transport_mut().limit = 50;
    assert_eq!((server.listen(), server.unread()), (Ok(()), &b""[..]));
    assert_eq!((server.listen(), server.unread()), (Ok(()), &b"x"[..]));
    assert_eq!(server.into_transport().now, 100);
}

/// Keeps the name that a client of a pool asks for.
struct KeepsName(Option<Vec<u8>>);

impl Handler<file::Server> for KeepsName {
    fn event(&mut self, event: Event<&[u8]>) {
        if let Event::Request(request) = event {
            self.0 = Some(request.name.to_vec());
        }
    }

    fn command(&mut self) -> Option<file::server::Command<'_>> {
        self.0.as_ref().map(|_| file::server::Command::Send(0))
    }
}

#[test]
fn a_pool_takes_a_name_after_the_idle_time() {
    let silence = u32::from(SILENCE_MS);
    for (pause, name) in [(silence - 1, &b"notes.txt"[..]), (silence + 1, b"no")] {
        let mut net = Net::new(1);
        (net.storm, net.most) = (0, 64);
        let client = net.dial();
        let buffers = [(vec![0; file::Server::MIN_INPUT], vec![0; file::Server::MIN_OUTPUT])];
        let mut server =
            nonblocking::Server::<Net, _, _, _, _, 1>::new(Socket::Idle, buffers).unwrap();
        server.set_timeout(Some(30_000));
        let (mut now, mut ended, mut waits) = (5000_u32, None, 0);
        let parts = [(6000, &b"no"[..]), (6000 + pause, b"tes.txt")];
        let mut parts = parts.into_iter().peekable();
        while ended.is_none() {
            let open = |_| (file::Server::new(), KeepsName(None));
            let polled = server.poll(&mut net, now, open, |over| {
                ended = Some((now, over.handler.0.clone()));
            });
            if polled == Err(nb::Error::WouldBlock) {
                // Sleeps until it has to be polled, or bytes arrive.
                let wakes = server.wait(now).map(|ms| now + ms);
                let arrives = parts.peek().map(|(at, _)| *at);
                now = wakes.into_iter().chain(arrives).min().expect("it waits for something");
                if let Some((_, bytes)) = parts.next_if(|(at, _)| *at == now) {
                    net.preset(&client, bytes, None);
                }
                waits += 1;
                assert!(waits < 20);
            }
        }
        let last = if name == b"no" { 6000 } else { 6000 + pause };
        assert_eq!(ended, Some((last + silence, Some(name.to_vec()))));
    }
}
