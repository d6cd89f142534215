//! The machines, pump and drivers allocate nothing: each is run with the allocator armed, which aborts then.
//!
//! A binary of its own, for the allocator is the process's. It watches only the thread that armed
//! it, since the test harness has its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::task::{Context, Poll, Waker};

use embedded_io::{ErrorKind, ErrorType, Read, Write};
use embedded_nal::{TcpClientStack, TcpErrorKind, TcpFullStack};
use socklab_core::driver::nonblocking::{Ended, Outcome};
use socklab_core::driver::{Next, asynch, blocking, nonblocking};
use socklab_core::machine::{Input, Machine, StreamEnd};
use socklab_core::session::{Handler, Pumped, Stop, pump};
use socklab_core::wire::{Dissect, Dissected};
use socklab_core::{add, chat, coin, echo, file, guess, hello, math, rps};
use socklab_tests::transport::{Failed, NetError};

thread_local! {
    static ARMED: Cell<bool> = const { Cell::new(false) };
}

struct Watched;

// SAFETY: every call goes to the system's allocator as it came, or the process ends. What is looked
// at besides lives in a thread local without destructor or lazy initialisation, which does not
// allocate.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if ARMED.get() {
            std::process::abort();
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

/// Does `work`; the process is aborted when it allocates.
fn armed<T>(work: impl FnOnce() -> T) -> T {
    ARMED.set(true);
    let done = work();
    ARMED.set(false);
    done
}

/// A transport over arrays: three bytes a call.
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

/// Enough for any machine.
const BUFFER: usize = 2048;

const QUIZ: &[u8] = b"Q\0\0\0\x01\0\0\0\x02Q\0\0\0\x03\0\0\0\x04Sopensesm";
const ECHO: &[u8] = b"\0\0\0\x0f0123456789abcde\0\0\0\x01x\0\0\0\x0c\xc3\xa90123456789";
const WRONG: &[u8] = b"\0\0\0\x02\xff\xff";

/// What an application says as its first, second, ... command.
type Says<M> = fn(&usize) -> Option<<M as Machine>::Command<'_>>;

/// An application: says this, at once or when asked, and counts what it is told.
struct Player<M: Machine> {
    says: Says<M>,
    said: usize,
    events: usize,
}

impl<M: Machine> Handler<M> for Player<M> {
    fn event(&mut self, event: M::Event<'_>) {
        black_box(event);
        self.events += 1;
    }

    fn command(&mut self) -> Option<M::Command<'_>> {
        self.said += 1;
        (self.says)(&self.said)
    }
}

/// What one machine is put through.
struct Play<M: Machine> {
    machine: fn() -> M,
    hears: &'static [u8],
    says: Says<M>,
    /// It speaks at once, without being asked.
    eager: bool,
}

/// Plays it with pump and each driver. How many events each time.
fn play<M: Machine>(play: &Play<M>) -> [usize; 4] {
    let &Play { machine, hears, says, eager } = play;
    let mut told = [0; 4];

    let (mut player, mut pumped) = (Player::<M> { says, said: 0, events: 0 }, machine());
    let mut rest = hears;
    loop {
        let input = Input::ended(rest, StreamEnd::Closed);
        let Pumped { consumed, stop, .. } = pump(&mut pumped, &mut player, input, &mut [0; BUFFER]);
        rest = &rest[consumed..];
        if stop != Stop::Boundary {
            break;
        }
    }
    told[0] = player.events;

    let wire = Wire::new(hears);
    let mut connection =
        blocking::Connection::new(wire, machine(), [0; BUFFER], [0; BUFFER]).ok().unwrap();
    let mut said = 1;
    if eager {
        while let Some(command) = says(&said) {
            connection.command(command).ok().unwrap();
            said += 1;
        }
    }
    loop {
        match connection.next() {
            Ok(Next::Event(event)) => {
                black_box(event);
                told[1] += 1;
            }
            Ok(Next::Command) if says(&said).is_some() => {
                connection.command(says(&said).unwrap()).ok().unwrap();
                said += 1;
            }
            Ok(Next::Boundary) => {}
            _ => break,
        }
    }

    let mut stack = Stack(Wire::new(hears));
    let mut connection =
        nonblocking::Connection::<Stack<'_>, _, _, _>::new((), machine(), [0; BUFFER], [0; BUFFER])
            .ok()
            .unwrap();
    let mut said = 1;
    if eager {
        while let Some(command) = says(&said) {
            connection.command(&mut stack, command).ok().unwrap();
            said += 1;
        }
    }
    loop {
        match connection.next(&mut stack) {
            Ok(Next::Event(event)) => {
                black_box(event);
                told[2] += 1;
            }
            Ok(Next::Command) if says(&said).is_some() => {
                connection.command(&mut stack, says(&said).unwrap()).ok().unwrap();
                said += 1;
            }
            Ok(Next::Boundary) => {}
            _ => break,
        }
    }

    let wires = (Wire::new(hears), Wire::new(b""));
    let mut connection =
        asynch::Connection::new(wires.0, wires.1, machine(), [0; BUFFER], [0; BUFFER])
            .ok()
            .unwrap();
    let mut said = 1;
    if eager {
        while let Some(command) = says(&said) {
            connection.command(command).ok().unwrap();
            said += 1;
        }
    }
    loop {
        let asked = {
            let mut next = std::pin::pin!(connection.next());
            let mut context = Context::from_waker(Waker::noop());
            match next.as_mut().poll(&mut context) {
                Poll::Ready(Ok(Next::Event(event))) => {
                    black_box(event);
                    told[3] += 1;
                    false
                }
                Poll::Ready(Ok(Next::Boundary)) => false,
                Poll::Ready(Ok(Next::Command)) if says(&said).is_some() => true,
                _ => return told,
            }
        };
        if asked {
            connection.command(says(&said).unwrap()).ok().unwrap();
            said += 1;
        }
    }
}

#[test]
fn an_allocation_aborts() {
    const ROLE: &str = "SOCKLAB_TEST_ALLOCATES";
    match std::env::var(ROLE).as_deref() {
        // The children, which are this test again.
        Ok("armed") => armed(|| drop(black_box(Box::new(1_u64)))),
        Ok(_) => drop(black_box(Box::new(1_u64))),
        Err(_) => {
            let child = |role| {
                let mut child = std::process::Command::new(std::env::current_exe().unwrap());
                child.args(["--exact", "an_allocation_aborts"]).env(ROLE, role);
                child.output().unwrap().status
            };
            assert!(child("not armed").success());
            // No exit code: a signal ended it.
            assert_eq!(child("armed").code(), None);
        }
    }
}

#[test]
fn no_machine_pump_or_driver_allocates() {
    use echo::client::Command::{Begin, Finish, Send};
    use math::server::Command::{Ask, Reveal};
    let math_client =
        Play { machine: math::Client::new, hears: QUIZ, says: |_| None, eager: false };
    assert_eq!(armed(|| play(&math_client)), [3; 4]);
    let echo_server =
        Play { machine: echo::Server::new, hears: ECHO, says: |_| None, eager: false };
    assert_eq!(armed(|| play(&echo_server)), [3; 4]);
    let wrong = Play { machine: echo::Server::new, hears: WRONG, says: |_| None, eager: false };
    assert_eq!(armed(|| play(&wrong)), [0; 4]);
    let math_server = Play {
        machine: math::Server::new,
        hears: &[0, 0, 0, 3, 0, 0, 0, 4],
        says: |at| match at {
            1 | 2 => Some(Ask(math::Question { a: u32::try_from(*at).ok()?, b: 2 })),
            3 => Some(Reveal(math::Secret(*b"opensesm"))),
            _ => None,
        },
        eager: false,
    };
    assert_eq!(armed(|| play(&math_server)), [2; 4]);
    let echo_client = Play {
        machine: echo::Client::new,
        hears: b"\0\0\0\0\0\0\0\0\0\0\0\0",
        says: |at| [Send(b"abc"), Begin(0), Send(b""), Finish].get(*at - 1).copied(),
        eager: true,
    };
    let [_, drivers @ ..] = armed(|| play(&echo_client));
    assert_eq!(drivers, [3; 3]);
}

/// Plays it, with the allocator armed. It is told as much with pump as with each driver.
#[track_caller]
fn tells<M: Machine>(machine: fn() -> M, hears: &'static [u8], says: Says<M>, events: usize) {
    let told = armed(|| play(&Play { machine, hears, says, eager: false }));
    assert_eq!(told, [events; 4]);
}

#[test]
fn no_machine_of_lines_allocates() {
    use coin::Side;
    use rps::Choice;
    tells(
        add::Client::new,
        b"Server\n7\n",
        |at| {
            let form = add::Form::message(b',');
            match at {
                1 => Some(add::client::Command::Name { name: b"Ada", form }),
                2 => Some(add::client::Command::Number { number: 42, form }),
                _ => None,
            }
        },
        2,
    );
    tells(
        add::Server::new,
        b"Ada\n42\n",
        |_| Some(add::server::Command::Answer { name: b"Server", number: 7 }),
        2,
    );
    tells(hello::Client::both, b"Hello from server\n", |_| None, 1);
    tells(|| hello::Server::both().split(8), b"Hello from client\n", |_| None, 1);
    tells(chat::Chat::server, b"hello\nbye\n", |_| Some(chat::Command::Say(b"hi")), 2);
    tells(chat::Chat::client, b"hello\nbye\n", |_| Some(chat::Command::Say(b"hi")), 2);
    tells(
        coin::Client::new,
        b"Toss (H/T) : You are right!\nToss (H/T) : Thanks for playing the game. Bye!\n",
        |at| [b"H", b"Q"].get(*at - 1).map(|text| coin::client::Command::Answer(*text)),
        4,
    );
    tells(
        coin::Server::new,
        b"H\n t \nwhat\nQ\n",
        |_| Some(coin::server::Command::Toss(Side::Head)),
        4,
    );
    tells(
        guess::Client::new,
        b"GUESS\nLOW\nGUESS\nWIN\n",
        |at| [50, 75].get(*at - 1).map(|number| guess::client::Command::Guess(*number)),
        4,
    );
    tells(|| guess::Server::new(42), b"50\nx\n42\n", |_| None, 3);
    tells(
        rps::Client::new,
        b"Choose: Draw,Paper,Paper\nChoose: Player1 wins!,Paper,Stone\nChoose: Draw,Paper,Paper\n",
        |_| Some(rps::client::Command::Choose(Choice::Paper)),
        6,
    );
    tells(
        rps::Server::new,
        b"Paper\nDraw,Paper,Paper\nStone\nPlayer2 wins!,Stone,Paper\nPaper\nDraw,Paper,Paper\n",
        |_| Some(rps::server::Command::Choose(Choice::Paper)),
        6,
    );
    tells(
        file::Client::new,
        b"+\0\0\0\0\0\0\0\x03abc\x01\x02\x03\x04",
        |_| {
            let form = file::Form::Checked { offset: 0 };
            Some(file::client::Command::Fetch(file::Request { name: b"notes.txt", form }))
        },
        3,
    );
    tells(
        file::Server::new,
        b"notes.txt\0v1\x000\n",
        |at| {
            use file::server::Command::{Check, Send};
            [Send(0), Check(0)].get(*at - 1).copied()
        },
        1,
    );
}

/// Accepts one client.
struct Listening<'w>(Stack<'w>, bool);

impl TcpClientStack for Listening<'_> {
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

impl TcpFullStack for Listening<'_> {
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
    armed(|| {
        let mut stack = Listening(Stack(Wire::new(ECHO)), false);
        let mut pool = nonblocking::Server::<_, echo::Server, Player<_>, _, _, 2>::new(
            (),
            [([0_u8; 64], [0_u8; 16]); 2],
        )
        .unwrap();
        let mut open = |_| {
            opened += 1;
            (echo::Server::new(), Player { says: |_| None, said: 0, events: 0 })
        };
        let mut report =
            |ended: Ended<'_, _, _, _>| done += usize::from(ended.outcome == Outcome::Done);
        while pool.poll(&mut stack, 0, &mut open, &mut report).is_ok() {}
    });
    assert_eq!((opened, done), (1, 1));
}

#[test]
fn paying_and_dissecting_do_not_allocate() {
    let sent = armed(|| {
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
    assert_eq!(armed(|| dissected(echo::Messages::<4>::default(), ECHO)), 3);
    assert_eq!(armed(|| dissected(math::ServerBytes::default(), QUIZ)), 3);
    assert_eq!(armed(|| dissected(math::ClientBytes, &[0; 8])), 2);
}

/// How many messages.
fn dissected<D: Dissect>(mut dissector: D, bytes: &[u8]) -> usize {
    let (mut rest, mut messages) = (bytes, 0);
    while let Dissected::Message(n, message) = dissector.dissect(rest) {
        black_box(message);
        messages += 1;
        rest = &rest[n..];
    }
    messages
}
