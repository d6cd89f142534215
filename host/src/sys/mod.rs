//! Platform code. Everything that differs between systems stands here, behind one interface; no other module has a
//! `cfg` for a system.
//!
//! | module | content | on Linux also |
//! |---|---|---|
//! | [`net`] | the client's TCP stack, readiness rules, errors of sockets | timer, queue lengths, `sendfile`, `splice` |
//! | [`file`] | positioned reads, names, identities, the temporary file of a transfer | page cache, pseudo files, mount points |
//! | [`console`] | signals, standard streams, the terminal | |
//!
//! `unix` and `windows` define the same names. So do `linux` and `portable`, which has the plain fallback of every
//! system that lacks a function of Linux.

#[cfg(target_os = "linux")]
pub(crate) mod linux;
#[cfg(not(target_os = "linux"))]
pub(crate) mod portable;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux as extra;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable as extra;
#[cfg(unix)]
pub(crate) use unix::{file, net};
#[cfg(windows)]
pub(crate) use windows::{file, net};
