//! Sessions and connections in statics, in buffers that belong to someone else, and the stack that
//! construction takes.

use std::cell::Cell;
use std::mem::size_of;
use std::sync::Mutex;

use embedded_io::ErrorKind;
use socklab_core::driver::asynch::Halves;
use socklab_core::driver::nonblocking::Server;
use socklab_core::driver::{Next, asynch, blocking, polled};
use socklab_core::session::{Handler, Polled, Session, TooSmall, Want};
use socklab_core::{echo, math};
use socklab_tests::oracle::question;
use socklab_tests::transport::{Failed, Net, Socket};

type Arrays = Session<math::Client, [u8; 9], [u8; 4]>;

static SESSION: Mutex<Arrays> = Mutex::new(Session::with_arrays(math::Client::new()));

/// Answers one question, and returns the answer.
fn answer<I, O>(session: &mut Session<math::Client, I, O>, a: u32, b: u32) -> Vec<u8>
where
    I: AsRef<[u8]> + AsMut<[u8]>,
    O: AsRef<[u8]> + AsMut<[u8]>,
{
    assert_eq!(session.poll(), Ok(Polled::Want(Want::Read { idle_ms: None })));
    session.recv_space()[..9].copy_from_slice(&question(a, b));
    session.received(9);
    assert!(matches!(session.poll(), Ok(Polled::Event(_))));
    assert_eq!(session.poll(), Ok(Polled::Want(Want::Write)));
    session.transmit().to_vec()
}

#[test]
fn a_session_stands_in_a_static_and_is_used_again() {
    let mut session = SESSION.lock().unwrap();
    for n in 0..3 {
        assert_eq!(answer(&mut session, n, 2), (n + 2).to_be_bytes());
        session.restart(math::Client::new());
    }
}

/// What a `StaticCell` does: lends its content once.
static BUFFERS: Mutex<Option<(&mut [u8; 9], &mut [u8; 4])>> = Mutex::new(None);

#[test]
fn a_session_has_borrowed_buffers() {
    let (input, output) = (Box::leak(Box::new([0; 9])), Box::leak(Box::new([0; 4])));
    *BUFFERS.lock().unwrap() = Some((input, output));
    let (input, output) = BUFFERS.lock().unwrap().take().unwrap();
    let mut session: Session<_, &'static mut [u8; 9], &'static mut [u8; 4]> =
        Session::with_buffers(math::Client::new(), input, output);
    assert_eq!(answer(&mut session, 40, 2), [0, 0, 0, 42]);
    // And in slices, whose lengths are checked when it runs.
    let (mut input, mut output) = ([0; 9], [0; 4]);
    let slices = (&mut input[..8], &mut output[..]);
    let error = TooSmall { min_input: 9, min_output: 4 };
    assert_eq!(Session::new(math::Client::new(), slices.0, slices.1).err(), Some(error));
    let slices = (&mut input[..], &mut output[..]);
    assert!(Session::new(math::Client::new(), slices.0, slices.1).is_ok());
}

/// A UART: nothing to connect, so it can be made before the program runs.
struct Uart(u32);

impl embedded_io::ErrorType for Uart {
    type Error = Failed;
}

impl embedded_io::Read for Uart {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, Failed> {
        self.0 += 1;
        space[..9].copy_from_slice(&question(self.0, 2));
        Ok(9)
    }
}

impl embedded_io::Write for Uart {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Failed> {
        assert_eq!(bytes, (self.0 + 2).to_be_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Failed> {
        if self.0 > 5 { Err(Failed(ErrorKind::Other)) } else { Ok(()) }
    }
}

impl embedded_io::ReadReady for Uart {
    fn read_ready(&mut self) -> Result<bool, Failed> {
        Ok(true)
    }
}

impl embedded_io::WriteReady for Uart {
    fn write_ready(&mut self) -> Result<bool, Failed> {
        Ok(true)
    }
}

const fn client() -> Arrays {
    Session::with_arrays(math::Client::new())
}

static BLOCKING: Mutex<blocking::Connection<Uart, math::Client, [u8; 9], [u8; 4]>> =
    Mutex::new(blocking::Connection::with_session(Uart(0), client()));

static POLLED: Mutex<polled::Connection<Uart, math::Client, [u8; 9], [u8; 4]>> =
    Mutex::new(polled::Connection::with_session(Uart(0), client()));

type Async = asynch::Connection<Halves<(), ()>, math::Client, [u8; 9], [u8; 4]>;

static ASYNC: Mutex<Async> = Mutex::new(asynch::Connection::with_session(Halves((), ()), client()));

#[test]
fn a_connection_stands_in_a_static_and_is_used_again() {
    let mut connection = BLOCKING.lock().unwrap();
    for _ in 0..2 {
        for _ in 0..5 {
            assert!(matches!(connection.advance(), Ok(Next::Event(_))));
        }
        assert_eq!(connection.restart(Uart(0), math::Client::new()).0, 5);
    }
    let mut connection = POLLED.lock().unwrap();
    for _ in 0..2 {
        for _ in 0..5 {
            assert!(matches!(connection.advance(), Ok(Next::Event(_))));
        }
        assert_eq!(connection.restart(Uart(0), math::Client::new()).0, 5);
    }
    assert_eq!(ASYNC.lock().unwrap().machine(), &math::Client::new());
}

thread_local! {
    /// Address of the deepest local variable seen.
    static DEEPEST: Cell<usize> = const { Cell::new(usize::MAX) };
}

#[inline(never)]
fn note_depth() {
    let local = 0_u8;
    let at = std::ptr::from_ref(&local).addr();
    DEEPEST.set(DEEPEST.get().min(at));
}

/// A buffer that notes how deep the stack is when its length is checked.
struct Probe<B>(B);

impl<B: AsRef<[u8]>> AsRef<[u8]> for Probe<B> {
    fn as_ref(&self) -> &[u8] {
        note_depth();
        self.0.as_ref()
    }
}

impl<B: AsMut<[u8]>> AsMut<[u8]> for Probe<B> {
    fn as_mut(&mut self) -> &mut [u8] {
        self.0.as_mut()
    }
}

struct Ignore;

impl Handler<echo::Server> for Ignore {
    fn event(&mut self, _: echo::server::Event) {}
}

const CLIENTS: usize = 8;

type Pool<B> = Server<Net, echo::Server, Ignore, Probe<B>, Probe<B>, CLIENTS>;

type Buffers<B> = [(Probe<B>, Probe<B>); CLIENTS];

#[expect(clippy::boxed_local, reason = "by value it would be on the stack that is measured")]
#[inline(never)]
fn make<B: AsRef<[u8]> + AsMut<[u8]>>(buffers: Box<Buffers<B>>) -> Box<Pool<B>> {
    Box::new(Pool::<B>::new(Socket::Idle, *buffers).unwrap())
}

/// Returns the bytes of stack that are in use while a pool is made, and the size of the pool.
#[inline(never)]
fn stack_of<B: AsRef<[u8]> + AsMut<[u8]>>(buffers: [(B, B); CLIENTS]) -> (usize, usize) {
    let buffers = Box::new(buffers.map(|(input, output)| (Probe(input), Probe(output))));
    let local = 0_u8;
    DEEPEST.set(usize::MAX);
    let pool = make(buffers);
    assert_eq!(pool.clients(), 0);
    (std::ptr::from_ref(&local).addr().abs_diff(DEEPEST.get()), size_of::<Pool<B>>())
}

/// Makes a pool in `LENGTH` bytes of borrowed buffer in each direction.
fn borrowed<const LENGTH: usize>() -> (usize, usize) {
    let buffers: &'static mut [([u8; LENGTH], [u8; LENGTH]); CLIENTS] =
        Box::leak(Box::new([([0; LENGTH], [0; LENGTH]); CLIENTS]));
    stack_of(buffers.each_mut().map(|(input, output)| (&mut input[..], &mut output[..])))
}

/// Borrowed, the buffers stay where they are, and only handles move. Arrays are moved with the pool: a
/// build without optimization copies them several times.
#[test]
fn a_pool_in_borrowed_buffers_takes_stack_for_its_handles_alone() {
    let [(short, pool), (long, _)] = [borrowed::<64>(), borrowed::<4096>()];
    let (arrays, large) = stack_of([([0; 512], [0; 512]); CLIENTS]);
    println!("borrowed: {long} bytes of stack for {pool}; arrays: {arrays} for {large}");
    assert!(short.abs_diff(long) < 64, "the length of the buffers counts: {short}, {long}");
    assert!(long < 8 * pool, "{long} bytes for a pool of {pool}");
    assert!(long < arrays, "{long} bytes borrowed, {arrays} for arrays");
}
