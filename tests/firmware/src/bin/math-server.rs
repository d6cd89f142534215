//! Asks each client sums, and reveals the secret to a client that answers all.
//!
//! `port=8000 secret=opensesm rounds=5 timeout=30 sessions=0 seed=1`: a client times out after
//! `timeout` seconds without data. The program ends after `sessions` sessions (0: never). All
//! numbers are drawn from the seed.

#![no_std]
#![no_main]

use core::cell::Cell;

use cortex_m_rt::entry;
use socklab_core::math::server::{Command, Event};
use socklab_core::math::{Question, Secret, Server};
use socklab_core::session::Handler;
use socklab_firmware::nal::{self, Stack};
use socklab_firmware::serve::{self, SOCKETS, serve};
use socklab_firmware::{Exit, args, exit, start};
use static_cell::ConstStaticCell;

/// Messages have 4 and 9 bytes, and a client may answer early.
const BUFFER: usize = 64;

static SESSIONS: ConstStaticCell<serve::Buffers<BUFFER>> = ConstStaticCell::new(serve::buffers());
static STORAGE: ConstStaticCell<nal::Sockets<SOCKETS>> = ConstStaticCell::new(nal::sockets());
static BUFFERS: ConstStaticCell<nal::Buffers<SOCKETS, 256, 256>> =
    ConstStaticCell::new(nal::buffers());

#[entry]
fn main() -> ! {
    let ethernet = start();
    let (mut port, mut secret, mut rounds) = (8000, *b"opensesm", 5);
    let (mut timeout, mut sessions, mut seed) = (30, 0, 1);
    let read = args::read(|name, value| match name {
        "port" => args::set(&mut port, value),
        "secret" => {
            secret = value.as_bytes().try_into().ok()?;
            Some(())
        }
        "rounds" => args::set(&mut rounds, value),
        "timeout" => args::set(&mut timeout, value),
        "sessions" => args::set(&mut sessions, value),
        "seed" => args::set(&mut seed, value),
        _ => None,
    });
    if read.is_err() {
        exit(Exit::Usage);
    }
    let mut stack = Stack::new(ethernet, STORAGE.take(), BUFFERS.take(), seed);
    let random = Random(Cell::new(seed));
    let served = serve(&mut stack, port, sessions, timeout, SESSIONS.take(), || {
        let quiz = Quiz { random: &random, left: rounds, secret: Secret(secret) };
        (Server::new(), quiz)
    });
    exit(match served {
        Ok(()) => Exit::Done,
        Err(e) => {
            defmt::error!("cannot serve on port {=u16}: {}", port, e);
            Exit::Network
        }
    })
}

/// The application of a session. `left` is the number of questions left to ask.
struct Quiz<'r> {
    random: &'r Random,
    left: u16,
    secret: Secret,
}

impl Handler<Server> for Quiz<'_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::Right { answer } => defmt::info!("answer {=u32} is right", answer),
            Event::Wrong { answer, expected } => {
                defmt::warn!("answer {=u32} is wrong, expected {=u32}", answer, expected);
            }
        }
    }

    fn command(&mut self) -> Option<Command> {
        let Some(left) = self.left.checked_sub(1) else {
            defmt::info!("all answered, secret sent");
            return Some(Command::Reveal(self.secret));
        };
        self.left = left;
        // Two numbers below 2^30 have a sum below 2^31, because some clients use signed integers.
        let [a, b] = [(); 2].map(|()| self.random.next() >> 2);
        defmt::info!("asking {=u32} + {=u32}", a, b);
        Some(Command::Ask(Question { a, b }))
    }
}

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct Random(Cell<u64>);

impl Random {
    fn next(&self) -> u32 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32
    }
}
