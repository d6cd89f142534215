//! Processes of Linux.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};

/// Variable in the environment of a program, by which its descendants are found after they have left its process group
/// and its session, as a daemon does.
///
/// A process that has another environment is not found. A cgroup would have it too, but needs rights that users lack.
#[derive(Debug)]
pub(crate) struct Mark(String);

impl Mark {
    const NAME: &str = "SOCKLAB_CHECK";

    /// Marks a program that is not started yet.
    pub(crate) fn new(command: &mut Command) -> Self {
        let value = format!("{:032x}", fastrand::u128(..));
        command.env(Self::NAME, &value);
        Self(format!("{}={value}", Self::NAME))
    }

    /// Kills all processes that have the mark, and waits until they have ended. Before Linux 5.3, which cannot do that
    /// without the risk to hit another process, it has no effect.
    pub(crate) fn kill(&self) {
        /// A process that starts another one while it is killed is found the next time.
        const ROUNDS: usize = 100;
        /// Limit for the end of the processes, which a slow system call may delay.
        const LIMIT: Duration = Duration::from_secs(5);

        let start = Instant::now();
        for _ in 0..ROUNDS {
            let killed: Vec<OwnedFd> =
                processes().filter_map(|path| self.kill_one(&path)).collect();
            if killed.is_empty() || !wait(&killed, LIMIT.saturating_sub(start.elapsed())) {
                return;
            }
        }
    }

    /// Kills a process if it has the mark.
    fn kill_one(&self, path: &Path) -> Option<OwnedFd> {
        if !self.is_on(path) {
            return None;
        }
        let pid = path.file_name()?.to_str()?.parse().ok().and_then(Pid::from_raw)?;
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // Again: the id may have become that of another process in the meantime, and from here on it cannot.
        if !self.is_on(path) {
            return None;
        }
        pidfd_send_signal(&process, Signal::KILL).ok()?;
        Some(process)
    }

    /// Returns whether the process of a folder of /proc has the mark. One that has ended has none.
    fn is_on(&self, path: &Path) -> bool {
        /// More than the system allows for the environment of a program, unless the limit of the stack is raised.
        const MAX: u64 = 4 << 20;

        let is_ours = fs::metadata(path).is_ok_and(|found| found.uid() == geteuid().as_raw());
        let mut bytes = Vec::new();
        is_ours
            && File::open(path.join("environ"))
                .and_then(|file| file.take(MAX).read_to_end(&mut bytes))
                .is_ok()
            && bytes.split(|byte| *byte == 0).any(|variable| variable == self.0.as_bytes())
    }
}

/// Waits until all processes have ended. Returns whether they have.
fn wait(processes: &[OwnedFd], limit: Duration) -> bool {
    let start = Instant::now();
    processes.iter().all(|process| {
        let left = Timespec::try_from(limit.saturating_sub(start.elapsed())).ok();
        let mut polled = [PollFd::new(process, PollFlags::IN)];
        poll(&mut polled, left.as_ref()).is_ok_and(|ended| ended > 0)
    })
}

/// Returns the folders of the processes in /proc.
fn processes() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .map(|entry| entry.path())
}

/// Returns the processor time that the processes of a group have used so far.
pub(crate) fn cpu_time(group: u32) -> Option<Duration> {
    fs::metadata("/proc/self").ok()?;
    let ticks: u64 = processes()
        .filter_map(|path| fs::read_to_string(path.join("stat")).ok())
        .filter_map(|stat| parse(&stat, group))
        .sum();
    let second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(ticks * 1000 / second.max(1)))
}

/// Returns the processor time in ticks of a process, if it is in the group: see proc_pid_stat(5).
fn parse(stat: &str, group: u32) -> Option<u64> {
    // The name may contain anything, also parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let is_member = fields.nth(2)?.parse() == Ok(group);
    let (user, system): (u64, u64) = (fields.nth(8)?.parse().ok()?, fields.next()?.parse().ok()?);
    is_member.then_some(user + system)
}

#[cfg(test)]
mod tests {
    use rustix::process::getpgid;

    use super::*;
    use crate::sys::process::Family;

    #[test]
    fn a_descendant_that_has_left_the_group_and_the_session_is_killed() {
        use std::io::{BufRead as _, BufReader};
        use std::process::Stdio;

        let daemon = || {
            let mut command = Command::new("sh");
            command.args(["-c", "setsid sh -c 'echo $$; exec sleep 600' & wait"]);
            command.stdout(Stdio::piped());
            let (family, (_, stdout, _)) = Family::start(command).unwrap();
            let mut line = String::new();
            BufReader::new(stdout.unwrap()).read_line(&mut line).unwrap();
            let pid = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
            assert_eq!(getpgid(Some(pid)).unwrap(), pid, "it has not left the group");
            (family, pidfd_open(pid, PidfdFlags::empty()).unwrap())
        };
        let (mut one, first) = daemon();
        let (mut other, second) = daemon();
        one.kill();
        assert!(wait(&[first], Duration::ZERO));
        // It is the other one's.
        let second = [second];
        assert!(!wait(&second, Duration::ZERO));
        other.kill();
        assert!(wait(&second, Duration::ZERO));
    }

    #[test]
    fn the_time_of_a_process_counts_for_its_group() {
        let stat = "42 (a ) b) S 1 40 40 0 -1 4194560 100 0 0 0 17 25 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse(stat, 40), Some(42));
        assert_eq!(parse(stat, 42), None);
        assert_eq!(parse("42 (x", 42), None);
    }
}
