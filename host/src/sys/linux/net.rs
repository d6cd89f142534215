//! Functions of sockets that only Linux has.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::socket::setsockopt;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use socket2::Socket;

pub(crate) use super::queues::SocketQueues;

/// Whether several listeners can share a port, and the system distributes the clients evenly between them.
pub(crate) const SHARES_PORTS: bool = true;

/// Makes a listener share its port with others of the same user for which this is set too.
pub(crate) fn share_port(listener: &Socket) -> io::Result<()> {
    listener.set_reuse_port(true)
}

/// Periodic timer that wakes a poll once a second while it is enabled.
///
/// With a poll timeout instead, the kernel sets and cancels a timer in every call. That took 4 to 9 % of the CPU time
/// of a server with one busy connection. Here the timer is set once.
pub(crate) struct Tick {
    timer: OwnedFd,
    on: bool,
}

impl Tick {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, on: false })
    }

    /// Enables or disables the timer. Returns whether the poll may sleep without a timeout.
    pub(crate) fn set(&mut self, on: bool) -> bool {
        if self.on != on {
            let time = Timespec { tv_sec: i64::from(on), tv_nsec: 0 };
            let every = Itimerspec { it_interval: time, it_value: time };
            if timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &every).is_err() {
                return false;
            }
            self.on = on;
        }
        true
    }

    /// Reads the timer after it has expired. Otherwise it would not become readable again.
    pub(crate) fn take(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
    }
}

/// Timer that wakes a poll in place of its timeout.
///
/// A server of short sessions has a timeout of milliseconds in nearly every poll, and nearly always an event comes before.
/// As for [`Tick`], the kernel would set and cancel a timer in every call. This one remains set meanwhile.
pub(crate) struct Alarm {
    timer: OwnedFd,
    /// When the timer expires, or has expired.
    due: Option<Instant>,
}

impl Alarm {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        // Events are edge-triggered: each time it expires there is one, although it is never read.
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, due: None })
    }

    /// Makes the poll return when this time has passed, or earlier. Returns whether the poll needs no timeout.
    pub(crate) fn set(&mut self, timeout: Duration) -> bool {
        let now = Instant::now();
        let Some(at) = now.checked_add(timeout) else { return false };
        if self.due.is_some_and(|due| now < due && due <= at) {
            return true;
        }
        let Ok(seconds) = i64::try_from(timeout.as_secs()) else { return false };
        let time = Timespec { tv_sec: seconds, tv_nsec: timeout.subsec_nanos().into() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: time };
        let is_set = !timeout.is_zero()
            && timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).is_ok();
        self.due = is_set.then_some(at);
        is_set
    }
}

/// Sends part of a file without a copy into this process. Returns `None` if that is not supported for this file.
pub(crate) fn send_file(
    stream: &mio::net::TcpStream,
    file: &File,
    at: u64,
    most: u64,
) -> io::Result<Option<u64>> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut at = at;
    match rustix::fs::sendfile(stream, file, Some(&mut at), most) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(n) => Ok(Some(n as u64)),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Socket option that nix does not have.
mod low_water {
    use nix::libc::{self, SO_RCVLOWAT, SOL_SOCKET};

    #[derive(Clone, Copy)]
    pub(super) struct RcvLowat;

    nix::setsockopt_impl!(
        RcvLowat,
        SOL_SOCKET,
        SO_RCVLOWAT,
        usize,
        nix::sys::socket::sockopt::SetUsize
    );
}

/// Sets the number of received bytes from which a poll reports the socket as readable. Returns whether that worked.
///
/// The end of the stream, an error and a full receive buffer are reported in any case. The system limits the number to
/// half of the largest receive buffer.
pub(crate) fn set_low_water(socket: &socket2::Socket, bytes: usize) -> bool {
    setsockopt(socket, low_water::RcvLowat, &bytes).is_ok()
}

/// Pipe through which the kernel moves bytes from a socket to a file, without a copy into this process.
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

impl Pipe {
    /// Capacity that is requested, in bytes: the default limit of a user's pipe (`fs.pipe-max-size`).
    const WANTED: usize = 1 << 20;

    /// Creates a pipe. Returns `None` if the system has no free file descriptors.
    pub(crate) fn new() -> Option<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).ok()?;
        // If the system refuses, the pipe keeps its default capacity.
        let capacity = fcntl_setpipe_size(&write, Self::WANTED).unwrap_or(1 << 16);
        Some(Self { read, write, capacity })
    }

    /// Moves at most `most` bytes from a non-blocking socket into the pipe, which must be empty. Returns their number,
    /// 0 at the end of the stream, and `None` if that is not supported for this socket.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldBlock`] if no bytes are available. Any other error is that of the connection, and the system
    /// reports it only once.
    pub(crate) fn fill(&self, socket: &socket2::Socket, most: usize) -> io::Result<Option<usize>> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        loop {
            return match splice(socket, None, &self.write, None, most.min(self.capacity), flags) {
                Ok(n) => Ok(Some(n)),
                Err(Errno::INTR) => continue,
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(None),
                Err(e) => Err(e.into()),
            };
        }
    }

    /// Moves at most `most` bytes from the pipe to a file, and adds the number of each step to `moved`.
    ///
    /// # Errors
    ///
    /// That of the file. The bytes counted in `moved` have been written.
    pub(crate) fn empty(&self, file: &File, most: usize, moved: &mut u64) -> io::Result<()> {
        let mut left = most;
        while left > 0 {
            let n = match splice(&self.read, None, file, None, left, SpliceFlags::MOVE) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => n,
                Err(Errno::INTR) => continue,
                // The file does not support `splice`: a terminal, for example, or a file opened for appending.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.copy(file, left)?,
                Err(e) => return Err(e.into()),
            };
            left -= n;
            *moved += n as u64;
        }
        Ok(())
    }

    fn copy(&self, mut file: &File, most: usize) -> io::Result<usize> {
        let mut bytes = vec![0; most];
        let n = rustix::io::read(self.read.as_fd(), &mut bytes)?;
        io::Write::write_all(&mut file, &bytes[..n])?;
        Ok(n)
    }
}
