use std::io;

use mio::{Registry, Token};

/// Periodic timer that wakes a poll once a second while it is enabled.
///
/// With a poll timeout instead, the kernel sets and cancels a timer in every call. That took 4 to 9 % of the CPU time
/// of a server with one busy connection. Here the timer is set once.
pub(super) struct Tick {
    #[cfg(target_os = "linux")]
    timer: std::os::fd::OwnedFd,
    on: bool,
}

#[cfg(target_os = "linux")]
impl Tick {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        use std::os::fd::AsRawFd;

        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let fd = timer.as_raw_fd();
        registry.register(&mut mio::unix::SourceFd(&fd), token, mio::Interest::READABLE)?;
        Ok(Self { timer, on: false })
    }

    /// Enables or disables the timer. Returns whether the poll may sleep without a timeout.
    pub(super) fn set(&mut self, on: bool) -> bool {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};

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
    pub(super) fn take(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
    }
}

#[cfg(not(target_os = "linux"))]
impl Tick {
    pub(super) fn new(_: &Registry, _: Token) -> io::Result<Self> {
        Ok(Self { on: false })
    }

    /// Returns whether the poll may sleep without a timeout: not while the timer is enabled, since this system has none.
    pub(super) fn set(&mut self, on: bool) -> bool {
        self.on = on;
        !on
    }

    pub(super) fn take(&mut self) {}
}
