//! Fallbacks for functions of processes that only Linux has.

use std::net::SocketAddr;

use crate::sys::Activity;

/// Mark of the descendants of a program. Only Linux shows the environment of other processes in the same way everywhere.
/// On Windows a job object has them all.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Mark;

#[cfg(unix)]
impl Mark {
    pub(crate) const fn new(_: &mut std::process::Command) -> Self {
        Self
    }

    /// Has no effect.
    pub(crate) const fn kill(&self) {}

    /// Returns `false`: what runs is not known.
    pub(crate) const fn is_found(&self) -> bool {
        false
    }
}

/// Returns `None`: what other processes do is reported in a different way on every system.
pub(crate) const fn activity(_: u32) -> Option<Activity> {
    None
}

/// Returns `None`, for the same reason.
pub(crate) const fn is_listening(_: SocketAddr) -> Option<bool> {
    None
}

/// Returns no addresses, for the same reason.
pub(crate) const fn listeners(_: u32) -> Vec<SocketAddr> {
    Vec::new()
}
