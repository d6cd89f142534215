//! Sockets of Unix.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::Socket;

/// Whether an event is delivered once for each change. Then a socket is registered once, for reading and writing, and
/// a short read shows that it is empty.
pub(crate) const EDGE_TRIGGERED: bool = true;

/// Returns the kind of an error of a socket.
pub(crate) fn error_kind(e: &io::Error) -> io::ErrorKind {
    e.kind()
}

/// Returns whether an error of accept(2) belongs to the new connection. Such a connection is no longer in the queue, so
/// the next call returns another one. Any other error may persist.
pub(crate) fn is_client_gone(e: &io::Error) -> bool {
    #[cfg(target_os = "linux")]
    if Errno::from_io_error(e) == Some(Errno::NONET) {
        return true;
    }
    matches!(
        Errno::from_io_error(e),
        Some(
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::INTR
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::TIMEDOUT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH,
        )
    )
}

/// Returns whether a client waits to be accepted.
pub(crate) fn has_client(listener: &mio::net::TcpListener) -> bool {
    let mut listener = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut listener, Some(&Timespec::default())) == Ok(1)
}

/// Lets a restarted server listen at once, although old connections are in TIME_WAIT.
pub(crate) fn allow_restart(listener: &Socket) -> io::Result<()> {
    listener.set_reuse_address(true)
}

/// Raises the limit of open descriptors to the maximum that the system allows. The lower default protects programs
/// that use `select`, which supports descriptors up to 1023 only.
#[cfg(feature = "cli")]
pub(crate) fn raise_socket_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If the system refuses, the previous limit stays in force.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Returns the idle time, the interval and the number of keep-alive probes; `None` if the system does not report them.
#[cfg(test)]
pub(crate) fn keepalive_times(
    socket: &Socket,
) -> Option<(std::time::Duration, std::time::Duration, u32)> {
    let times = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
    Some((times.0.ok()?, times.1.ok()?, socket.tcp_keepalive_retries().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_a_client_that_has_left_differ_from_errors_of_the_system() {
        for errno in [
            Errno::CONNABORTED,
            Errno::CONNRESET,
            Errno::INTR,
            Errno::PROTO,
            Errno::NETDOWN,
            Errno::NETUNREACH,
            Errno::HOSTUNREACH,
        ] {
            assert!(is_client_gone(&errno.into()), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::PERM] {
            assert!(!is_client_gone(&errno.into()), "{errno}");
        }
    }
}
