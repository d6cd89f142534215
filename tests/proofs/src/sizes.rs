//! How much memory a connection takes where a pointer has 32 bits, held when this is compiled. The
//! README of the core says the same.

#![cfg(target_pointer_width = "32")]

use core::mem::size_of;

use socklab_core::driver::nonblocking;
use socklab_core::session::Session;
use socklab_core::{echo, math};

use crate::world::Net;

const _: () = assert!(size_of::<math::Client>() == 8);
const _: () = assert!(size_of::<math::Server>() == 12);
const _: () = assert!(size_of::<echo::Client>() == 32);
const _: () = assert!(size_of::<echo::Server>() == 16);

/// What a session adds to machine and buffers: two ends of each buffer, and how the stream ended.
pub const SESSION: usize = 20;

type Of<M> = Session<M, [u8; 64], [u8; 64]>;
const _: () = assert!(size_of::<Of<math::Client>>() == 8 + 128 + SESSION);
const _: () = assert!(size_of::<Of<math::Server>>() == 12 + 128 + SESSION);
const _: () = assert!(size_of::<Of<echo::Server>>() == 16 + 128 + SESSION);

/// What the non-blocking driver adds to a session, with a socket and a fault of a word each, and a
/// silence to wait for.
pub const NONBLOCKING: usize = 12;

type Driven<M> = nonblocking::Connection<Net, M, [u8; 64], [u8; 64]>;
const _: () =
    assert!(size_of::<Driven<math::Client>>() == size_of::<Of<math::Client>>() + NONBLOCKING);
const _: () =
    assert!(size_of::<Driven<echo::Server>>() == size_of::<Of<echo::Server>>() + NONBLOCKING);
