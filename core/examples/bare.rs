//! Without a runtime: an executor of a dozen lines polls both ends, over pipes in memory.
//!
//! `cargo run -p socklab-core --example bare --features embedded-io-async`

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use embedded_io_async::{ErrorType, Read, Write};
use socklab_core::driver::asynch::Halves;

mod common;
#[path = "common/asynch.rs"]
mod ends;
use common::{MESSAGES, QUIZ, describe, replied};

/// Polls both futures until both are ready. On hardware it sleeps (`wfi`) between two rounds.
fn run<T>(a: impl Future<Output = T>, b: impl Future<Output = ()>) -> T {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut from_a, mut from_b) = (None, None);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if from_a.is_none() {
            from_a = ready(a.as_mut().poll(&mut context));
        }
        if from_b.is_none() {
            from_b = ready(b.as_mut().poll(&mut context));
        }
        if let (Some(_), Some(())) = (&from_a, from_b) {
            return from_a.unwrap();
        }
    }
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// One direction of a connection: it holds up to 16 bytes, and ends when its writer is dropped.
#[derive(Clone, Default)]
struct Pipe(Rc<RefCell<VecDeque<u8>>>);

impl ErrorType for Pipe {
    type Error = Infallible;
}

impl Read for Pipe {
    async fn read(&mut self, space: &mut [u8]) -> Result<usize, Infallible> {
        poll_fn(|_| {
            let mut pipe = self.0.borrow_mut();
            if pipe.is_empty() && Rc::strong_count(&self.0) > 1 {
                return Poll::Pending;
            }
            let n = pipe.len().min(space.len());
            for (to, from) in space.iter_mut().zip(pipe.drain(..n)) {
                *to = from;
            }
            Poll::Ready(Ok(n))
        })
        .await
    }
}

impl Write for Pipe {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        poll_fn(|_| {
            let mut pipe = self.0.borrow_mut();
            let n = bytes.len().min(16 - pipe.len());
            pipe.extend(&bytes[..n]);
            if n > 0 { Poll::Ready(Ok(n)) } else { Poll::Pending }
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Never rings: an executor without a clock.
async fn timer(_: Option<u16>) {
    pending().await
}

pub(crate) fn transcript() -> Vec<String> {
    let (there, back) = (Pipe::default(), Pipe::default());
    let client = ends::math_client(Halves(back.clone(), there.clone()), timer);
    let mut lines = run(client, ends::math_server(Halves(there, back), timer));
    let (there, back) = (Pipe::default(), Pipe::default());
    let client = ends::echo_client(Halves(back.clone(), there.clone()), timer);
    lines.extend(run(client, ends::echo_server(Halves(there, back), timer)));
    lines
}

fn main() {
    transcript().iter().for_each(|line| println!("{line}"));
}
