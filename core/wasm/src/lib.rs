//! The client of the math quiz as a WebAssembly module: one instance for each connection.
//!
//! The host (a browser, Node) owns the connection. It calls [`poll`] in a loop and does what that
//! returns. Bytes are exchanged through the memory of the module, at the addresses that
//! [`recv_space`] and [`transmit`] return.

use std::cell::RefCell;

use socklab_core::machine::StreamEnd;
use socklab_core::math::{Client, Question, Secret, client::Event};
use socklab_core::session::{Polled, Session, Want};

/// A session with buffers for the longest message in each direction.
struct State {
    session: Session<Client, [u8; 9], [u8; 4]>,
    question: Question,
    secret: Secret,
}

thread_local! {
    static STATE: RefCell<State> = const {
        RefCell::new(State {
            session: Session::with_arrays(Client::new()),
            question: Question { a: 0, b: 0 },
            secret: Secret([0; 8]),
        })
    };
}

/// Runs `f` on the state. It is never borrowed twice, since no function here calls another one; the
/// fallback leaves out the panic, and with it half of the module.
fn with<T: Default>(f: impl FnOnce(&mut State) -> T) -> T {
    STATE.with(|state| match state.try_borrow_mut() {
        Ok(mut state) => f(&mut state),
        Err(_) => T::default(),
    })
}

/// Returns what to do next: 0 read, 1 write, 2 a question was answered (see [`a`], [`b`]), 3 the
/// secret came (see [`secret`]), 4 close the connection, 5 the server broke the protocol, or its
/// stream ended too early.
#[unsafe(no_mangle)]
pub extern "C" fn poll() -> u32 {
    with(|state| {
        loop {
            return match state.session.poll() {
                Ok(Polled::Want(Want::Flush)) => {
                    state.session.flushed();
                    continue;
                }
                Ok(Polled::Want(Want::Read { .. })) => 0,
                Ok(Polled::Want(Want::Write)) => 1,
                Ok(Polled::Event(Event::Question(question))) => {
                    state.question = question;
                    2
                }
                Ok(Polled::Event(Event::Secret(secret))) => {
                    state.secret = secret;
                    3
                }
                Ok(Polled::Want(Want::Close)) => 4,
                // This client has no commands and no boundaries.
                Ok(Polled::Want(_)) | Err(_) => 5,
            };
        }
    })
}

/// Returns the address of the space for bytes from the server.
#[unsafe(no_mangle)]
pub extern "C" fn recv_space() -> usize {
    with(|state| state.session.recv_space().as_mut_ptr().addr())
}

/// Returns the number of bytes that fit there.
#[unsafe(no_mangle)]
pub extern "C" fn recv_space_length() -> usize {
    with(|state| state.session.recv_space().len())
}

/// Reports that `n` bytes have been written to the [`recv_space`].
#[unsafe(no_mangle)]
pub extern "C" fn received(n: usize) {
    with(|state| state.session.received(n));
}

/// Reports the end of the stream from the server: 0 if it was closed, else it was reset.
#[unsafe(no_mangle)]
pub extern "C" fn ended(how: u32) {
    with(|state| {
        state.session.ended(if how == 0 { StreamEnd::Closed } else { StreamEnd::Reset });
    });
}

/// Returns the address of the bytes to send.
#[unsafe(no_mangle)]
pub extern "C" fn transmit() -> usize {
    with(|state| state.session.transmit().as_ptr().addr())
}

/// Returns the number of bytes to send.
#[unsafe(no_mangle)]
pub extern "C" fn transmit_length() -> usize {
    with(|state| state.session.transmit().len())
}

/// Reports that the `n` oldest bytes of [`transmit`] have been sent.
#[unsafe(no_mangle)]
pub extern "C" fn transmitted(n: usize) {
    with(|state| state.session.transmitted(n));
}

/// Returns the first number of the last question.
#[unsafe(no_mangle)]
pub extern "C" fn a() -> u32 {
    with(|state| state.question.a)
}

/// Returns the second number of the last question.
#[unsafe(no_mangle)]
pub extern "C" fn b() -> u32 {
    with(|state| state.question.b)
}

/// Returns the address of the secret, 8 bytes.
#[unsafe(no_mangle)]
pub extern "C" fn secret() -> usize {
    with(|state| state.secret.0.as_ptr().addr())
}
