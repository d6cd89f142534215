//! Signals of Unix.

use std::ffi::c_int;
use std::io;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::{Handle, Signals as Caught};
use signal_hook::low_level::emulate_default_handler;

use crate::sys::Signal;

const NUMBERS: [(Signal, c_int); 7] = [
    (Signal::Interrupt, SIGINT),
    (Signal::Terminate, SIGTERM),
    (Signal::Hangup, SIGHUP),
    (Signal::Quit, SIGQUIT),
    (Signal::Suspend, SIGTSTP),
    (Signal::Continue, SIGCONT),
    (Signal::Resize, SIGWINCH),
];

fn number(signal: Signal) -> Option<c_int> {
    NUMBERS.iter().find(|(known, _)| *known == signal).map(|(_, number)| *number)
}

/// Signals that the program handles: see [`watch`].
#[derive(Debug)]
pub(crate) struct Signals(Caught);

/// Handle that ends the iteration over [`Signals`].
#[derive(Debug)]
pub(crate) struct Closer(Handle);

impl Signals {
    /// Returns an iterator that waits for the next signal. It ends when it is closed: see [`closer`](Self::closer).
    pub(crate) fn forever(&mut self) -> impl Iterator<Item = Signal> {
        self.0.forever().filter_map(|number| {
            NUMBERS.iter().find(|(_, known)| *known == number).map(|(signal, _)| *signal)
        })
    }

    /// Returns whether a signal has arrived that [`forever`](Self::forever) has not returned, also after the close.
    pub(crate) fn has_pending(&mut self) -> bool {
        self.0.pending().next().is_some()
    }

    pub(crate) fn closer(&self) -> Closer {
        Closer(self.0.handle())
    }
}

impl Closer {
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

/// Handles the given signals, except those that the program inherited as ignored. Several callers can watch the same
/// signal: each gets it.
///
/// A parent process ignores a signal for its children too: `nohup` ignores SIGHUP, and a shell script ignores SIGINT for
/// background commands. Only Linux reports the inherited state without unsafe code. On other systems, and without /proc,
/// all signals are handled.
pub(crate) fn watch(signals: &[Signal]) -> io::Result<Signals> {
    let ignored = ignored();
    let numbers = signals.iter().filter_map(|signal| number(*signal));
    Caught::new(numbers.filter(|number| {
        // These two do not end a process, so a parent has no reason to ignore them for its children.
        matches!(*number, SIGCONT | SIGWINCH) || !contains(ignored, *number)
    }))
    .map(Signals)
}

/// Performs the default action of a signal. Returns only if that does not end the program: after a stop, or if there is
/// no action.
pub(crate) fn end_by(signal: Signal) {
    if let Some(number) = number(signal) {
        let _ = emulate_default_handler(number);
    }
}

/// Sends the process a signal.
#[cfg(test)]
pub(crate) fn raise(signal: Signal) {
    signal_hook::low_level::raise(number(signal).unwrap()).unwrap();
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
