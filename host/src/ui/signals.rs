//! Signal handling.

use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use crate::sys::Signal;
pub(crate) use crate::sys::signals::{Closer, Signals, end_by, watch};

/// A part of the program handles interrupts itself, because it has to clean up.
static CLAIMED: AtomicBool = AtomicBool::new(false);

/// Declares that the caller handles interrupts from now on.
pub(crate) fn claim() {
    CLAIMED.store(true, Ordering::Release);
}

/// Returns whether a part of the program handles interrupts itself: see [`claim`].
pub(crate) fn is_claimed() -> bool {
    CLAIMED.load(Ordering::Acquire)
}
