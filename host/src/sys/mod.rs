//! Platform code. Everything that differs between systems stands here, behind one interface; no other module has a
//! `cfg` for a system.
//!
//! | module | content | on Linux also |
//! |---|---|---|
//! | [`net`] | readiness rules and errors of sockets | timer, queue lengths, low-water mark, `sendfile`, `splice` |
//! | [`datagrams`] | sockets of UDP, and how they report that a datagram did not arrive | an option for that |
//! | [`file`] | positioned reads, names, identities, the temporary file of a transfer | page cache, pseudo files, mount points |
//! | [`process`] | child processes with their descendants | what they do, the addresses on which they listen |
//! | [`pty`] | terminal for the output of a child process | |
//! | [`read`] | reads at an offset, for all systems | |
//! | [`signals`] | interrupts and other signals | signals ignored since startup |
//! | [`streams`] | standard streams: closed ones, output that nothing reads | |
//! | [`terminal`] | mode, keys, size and output of the terminal on which a line is edited | |
//!
//! `unix` and `windows` define the same names. So do `linux` and `portable`, which has the plain fallback of every
//! system that lacks a function of Linux.

#[cfg(any(windows, all(test, target_os = "linux", target_env = "gnu")))]
mod codes;
#[cfg(target_os = "linux")]
pub(crate) mod linux;
#[cfg(any(windows, test))]
mod names;
#[cfg(not(target_os = "linux"))]
pub(crate) mod portable;
pub(crate) mod read;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux as extra;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable as extra;
#[cfg(unix)]
pub(crate) use unix::{datagrams, error_text, file, net};
#[cfg(all(unix, feature = "cli"))]
pub(crate) use unix::{process, pty, signals, streams, terminal};
#[cfg(windows)]
pub(crate) use windows::{datagrams, error_text, file, net};
#[cfg(all(windows, feature = "cli"))]
pub(crate) use windows::{process, pty, signals, streams, terminal};

/// Signal to the program. A system reports only those that it has: Windows has interrupts alone.
#[cfg(feature = "cli")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C. On Windows also Ctrl-Break, the closing of the console, and the end of the session.
    Interrupt,
    /// Request to end, from another program.
    Terminate,
    /// The user has left the terminal.
    Hangup,
    /// Ctrl-\\: end with a memory dump.
    Quit,
    /// Ctrl-Z: stop until [`Continue`](Self::Continue).
    Suspend,
    /// The program runs again after a stop.
    Continue,
    /// The size of the terminal has changed.
    Resize,
}

/// How a child process has ended.
#[cfg(feature = "cli")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal. Only on Unix.
    #[cfg_attr(windows, expect(dead_code, reason = "Windows has no signals"))]
    Signal(i32),
}

/// Standard streams of a child process.
#[cfg(feature = "cli")]
pub(crate) type Pipes = (
    Option<std::process::ChildStdin>,
    Option<std::process::ChildStdout>,
    Option<std::process::ChildStderr>,
);

/// What a child process does, with its descendants.
#[cfg(feature = "cli")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Activity {
    /// Processor time used so far.
    pub(crate) cpu: std::time::Duration,
    /// Whether one of them has work: it runs, or waits for a processor or a disk.
    pub(crate) is_busy: bool,
}

#[cfg(feature = "cli")]
impl std::ops::Add for Activity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { cpu: self.cpu + other.cpu, is_busy: self.is_busy || other.is_busy }
    }
}
