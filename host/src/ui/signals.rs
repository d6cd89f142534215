//! Signal handling.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

pub(crate) use crate::sys::Signal;
pub(crate) use crate::sys::signals::{Closer, Signals, end_by, watch};

/// A part of the program handles interrupts itself, because it has to clean up.
static CLAIMED: AtomicBool = AtomicBool::new(false);

/// Number of signals that have asked a server or a proxy to stop.
static STOPS: AtomicU32 = AtomicU32::new(0);

/// Counts a signal that has asked a server or a proxy to stop.
pub(crate) fn record_stop() {
    STOPS.fetch_add(1, Ordering::AcqRel);
}

/// Returns the number of signals that have asked a server or a proxy to stop.
pub(crate) fn stops() -> u32 {
    STOPS.load(Ordering::Acquire)
}

/// Declares that the caller handles interrupts from now on.
pub(crate) fn claim() {
    CLAIMED.store(true, Ordering::Release);
}

/// Returns whether a part of the program handles interrupts itself: see [`claim`].
pub(crate) fn is_claimed() -> bool {
    CLAIMED.load(Ordering::Acquire)
}
