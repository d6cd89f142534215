//! Signal handling.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGCONT, SIGWINCH};
use signal_hook::iterator::Signals;

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

/// Handles the given signals, except those that the program inherited as ignored.
///
/// A parent process ignores a signal for its children too: `nohup` ignores SIGHUP, and a shell script ignores SIGINT for
/// background commands. Only Linux reports the inherited state without unsafe code. On other systems, and without /proc,
/// all signals are handled.
pub(crate) fn watch(signals: &[c_int]) -> io::Result<Signals> {
    let ignored = ignored();
    Signals::new(signals.iter().filter(|signal| {
        // These two do not end a process, so a parent has no reason to ignore them for its children.
        matches!(**signal, SIGCONT | SIGWINCH) || !contains(ignored, **signal)
    }))
}

/// Returns the mask of ignored signals. Signal N is bit N - 1.
fn ignored() -> u64 {
    if !cfg!(target_os = "linux") {
        return 0;
    }
    std::fs::read_to_string("/proc/self/status").map_or(0, |status| parse(&status))
}

/// Parses the mask of ignored signals in a status file: see proc_pid_status(5).
fn parse(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn contains(mask: u64, signal: c_int) -> bool {
    u32::try_from(signal - 1)
        .is_ok_and(|bit| mask.checked_shr(bit).is_some_and(|mask| mask & 1 == 1))
}

#[cfg(test)]
mod tests {
    use signal_hook::consts::{SIGINT, SIGTERM};

    use super::*;

    #[test]
    fn signal_n_is_bit_n_minus_1_of_the_mask() {
        let mask = parse("Name:\tsh\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001006\n");
        assert!(contains(mask, SIGINT));
        assert!(!contains(mask, SIGTERM));
        assert!(!contains(mask, 0) && !contains(mask, 65) && !contains(mask, -1));
        assert_eq!(parse("Name:\tsh\n"), 0);
        assert_eq!(parse("SigIgn:\tnothing\n"), 0);
    }
}
