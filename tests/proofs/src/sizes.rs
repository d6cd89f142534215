//! Sizes of a connection where a pointer has 32 bits, checked at compile time. The README of the
//! core states the same sizes.

#![cfg(target_pointer_width = "32")]

use core::mem::size_of;
use core::net::{SocketAddr, SocketAddrV4};

use socklab_core::driver::{datagrams, nonblocking};
use socklab_core::session::Session;
use socklab_core::{echo, math, udp};

use crate::world::{Datagrams, Net};

const _: () = assert!(size_of::<math::Client>() == 8);
const _: () = assert!(size_of::<math::Server>() == 12);
const _: () = assert!(size_of::<echo::Client>() == 32);
const _: () = assert!(size_of::<echo::Server>() == 16);

/// Bytes that a session adds to machine and buffers: the two ends of each buffer, and how the
/// stream ended.
pub const SESSION: usize = 20;

type SessionOf<M> = Session<M, [u8; 64], [u8; 64]>;
const _: () = assert!(size_of::<SessionOf<math::Client>>() == 8 + 128 + SESSION);
const _: () = assert!(size_of::<SessionOf<math::Server>>() == 12 + 128 + SESSION);
const _: () = assert!(size_of::<SessionOf<echo::Server>>() == 16 + 128 + SESSION);

/// Bytes that the non-blocking driver adds to a session, with a socket and a fault of one word each
/// and an idle time to wait for.
pub const NONBLOCKING: usize = 12;

type ConnectionOf<M> = nonblocking::Connection<Net, M, [u8; 64], [u8; 64]>;
const _: () = assert!(
    size_of::<ConnectionOf<math::Client>>() == size_of::<SessionOf<math::Client>>() + NONBLOCKING
);
const _: () = assert!(
    size_of::<ConnectionOf<echo::Server>>() == size_of::<SessionOf<echo::Server>>() + NONBLOCKING
);

const _: () = assert!(size_of::<udp::Client<SocketAddr>>() == 116);
const _: () = assert!(size_of::<udp::Client<SocketAddrV4, 4, ()>>() == 36);
const _: () = assert!(size_of::<udp::Server>() == 1);

/// Bytes that the driver for datagrams adds to machine and buffer, with a socket of one word. 32 of them are the address
/// of the last sender.
pub const DATAGRAMS: usize = 72;

type ClientOf<M> = datagrams::Client<Datagrams, M, [u8; 64]>;
const _: () = assert!(size_of::<ClientOf<udp::Client<SocketAddr>>>() == 116 + 64 + DATAGRAMS);
type ServerOf<M> = datagrams::Server<Datagrams, M, [u8; 64]>;
const _: () = assert!(size_of::<ServerOf<udp::Server>>() == 140);
