//! Signals that the program handles.

use std::ffi::c_int;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGCONT, SIGWINCH};
use signal_hook::iterator::Signals;

/// Whether a part of the program puts things in order when it is interrupted.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// From here on an interrupt is the caller's: [`is_taken`].
pub(crate) fn take() {
    TAKEN.store(true, Ordering::Release);
}

/// Whether an interrupt is handled by a part of the program already.
pub(crate) fn is_taken() -> bool {
    TAKEN.load(Ordering::Acquire)
}

/// Handles those of these signals that the program did not inherit as ignored.
///
/// A parent that ignores a signal means its children too: `nohup` does so with SIGHUP, a script with
/// the SIGINT of what it runs in the background. Only Linux reports what was inherited without unsafe
/// code. Elsewhere, and without /proc, all of them are handled.
pub(crate) fn watch(signals: &[c_int]) -> io::Result<Signals> {
    let ignored = ignored();
    Signals::new(signals.iter().filter(|signal| {
        // These two end nothing: to ignore them has no meaning for a child.
        matches!(**signal, SIGCONT | SIGWINCH) || !contains(ignored, **signal)
    }))
}

/// The signals that are ignored: signal N is bit N - 1.
fn ignored() -> u64 {
    if !cfg!(target_os = "linux") {
        return 0;
    }
    std::fs::read_to_string("/proc/self/status").map_or(0, |status| parse(&status))
}

/// Takes the ignored signals from a status file: see proc_pid_status(5).
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
    fn the_system_names_ignored_signals_by_their_bits() {
        let mask = parse("Name:\tsh\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001006\n");
        assert!(contains(mask, SIGINT));
        assert!(!contains(mask, SIGTERM));
        assert!(!contains(mask, 0) && !contains(mask, 65) && !contains(mask, -1));
        assert_eq!(parse("Name:\tsh\n"), 0);
        assert_eq!(parse("SigIgn:\tnothing\n"), 0);
    }
}
