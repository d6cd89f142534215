//! Processes of Linux.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};

use crate::sys::Activity;

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

    /// Returns whether a process that has the mark runs.
    pub(crate) fn is_found(&self) -> bool {
        processes().any(|path| self.is_on(&path))
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

/// Returns the addresses on which the processes of a group listen for TCP connections.
pub(crate) fn listeners(group: u32) -> Vec<SocketAddr> {
    let is_member = |path: &PathBuf| {
        fs::read_to_string(path.join("stat")).is_ok_and(|stat| parse(&stat, group).is_some())
    };
    let links: Vec<String> = processes()
        .filter(is_member)
        .filter_map(|path| fs::read_dir(path.join("fd")).ok())
        .flat_map(|descriptors| descriptors.flatten())
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter_map(|link| link.into_os_string().into_string().ok())
        .collect();
    let tables = tables();
    let listeners = tables.iter().flat_map(|table| table.lines()).filter_map(listener);
    let own = listeners.filter(|(_, inode)| links.contains(&format!("socket:[{inode}]")));
    own.map(|(addr, _)| addr).collect()
}

/// Returns whether a process listens for TCP connections to an address, if /proc is there. A connection would show it too, but
/// the process would notice it.
pub(crate) fn is_listening(addr: SocketAddr) -> Option<bool> {
    let tables = tables();
    let mut listeners = tables.iter().flat_map(|table| table.lines()).filter_map(listener);
    let is_at = |to: SocketAddr| {
        to.port() == addr.port() && (to.ip() == addr.ip() || to.ip().is_unspecified())
    };
    (!tables.is_empty()).then(|| listeners.any(|(to, _)| is_at(to)))
}

fn tables() -> Vec<String> {
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(fs::read_to_string).collect()
}

/// Returns the address and the inode of a socket that listens, from its line: see proc_net_tcp(5).
fn listener(line: &str) -> Option<(SocketAddr, &str)> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace();
    let (ip, port) = fields.nth(1)?.split_once(':')?;
    let is_listening = fields.nth(1)? == LISTEN;
    let inode = fields.nth(5)?;
    // Words in the byte order of the machine.
    let words = ip.as_bytes().chunks(8).map(|digits| {
        let digits = str::from_utf8(digits).ok()?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    });
    let ip = words.collect::<Option<Vec<_>>>()?.concat();
    let ip = match *ip {
        [a, b, c, d] => IpAddr::from(Ipv4Addr::new(a, b, c, d)),
        _ => Ipv6Addr::from(*ip.first_chunk::<16>()?).into(),
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    is_listening.then_some((SocketAddr::new(ip, port), inode))
}

/// Returns what the processes of a group do, if /proc is there.
pub(crate) fn activity(group: u32) -> Option<Activity> {
    fs::metadata("/proc/self").ok()?;
    let second = rustix::param::clock_ticks_per_second().max(1);
    let members = processes().filter_map(|path| {
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        Some((path, parse(&stat, group)?))
    });
    Some(members.fold(Activity::default(), |all, (path, (state, ticks))| {
        let cpu = Duration::from_millis(ticks * 1000 / second);
        all + Activity { cpu, is_busy: is_busy(state) || has_busy_thread(&path, group) }
    }))
}

/// Returns whether a process or thread in this state has work: it runs or waits for a processor, or for a disk. See
/// proc_pid_stat(5).
const fn is_busy(state: char) -> bool {
    matches!(state, 'R' | 'D')
}

fn has_busy_thread(process: &Path, group: u32) -> bool {
    let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let mut stats = threads.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.any(|stat| parse(&stat, group).is_some_and(|(state, _)| is_busy(state)))
}

/// Returns the state of a process and its processor time in ticks, if it is in the group: see proc_pid_stat(5).
fn parse(stat: &str, group: u32) -> Option<(char, u64)> {
    // The name may contain anything, also parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?.chars().next()?;
    let is_member = fields.nth(1)?.parse() == Ok(group);
    let (user, system): (u64, u64) = (fields.nth(8)?.parse().ok()?, fields.next()?.parse().ok()?);
    is_member.then_some((state, user + system))
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
    fn the_addresses_of_sockets_that_listen_are_found() {
        use std::net::{TcpListener, TcpStream};
        use std::os::unix::process::parent_id;

        let v4 = TcpListener::bind("127.0.1.1:0").unwrap();
        let v6 = TcpListener::bind("[::1]:0").ok();
        let all = [Some(v4.local_addr().unwrap()), v6.map(|l| l.local_addr().unwrap())];
        let client = TcpStream::connect(all[0].unwrap()).unwrap();
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let group = stat.rsplit_once(") ").unwrap().1.split(' ').nth(2).unwrap().parse().unwrap();
        let found = listeners(group);
        assert!(found.contains(&all[0].unwrap()), "{found:?}");
        assert!(!found.contains(&client.local_addr().unwrap()), "{found:?}");
        assert_eq!(listeners(parent_id().wrapping_add(1 << 30)), []);
    }

    #[test]
    fn a_socket_that_listens_is_read_from_its_line() {
        let line = |ip: &str, state: &str| {
            format!(
                "   0: {ip}:1F90 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0"
            )
        };
        let v4 = format!("{:08X}", u32::from_ne_bytes([127, 0, 1, 1]));
        let v6 = format!("{:024}{:08X}", 0, u32::from_ne_bytes([0, 0, 0, 1]));
        for (ip, addr) in [(&v4, "127.0.1.1:8080"), (&v6, "[::1]:8080")] {
            assert_eq!(listener(&line(ip, "0A")), Some((addr.parse().unwrap(), "4711")));
            assert_eq!(listener(&line(ip, "01")), None);
        }
        assert_eq!(listener("  sl  local_address rem_address   st"), None);
    }

    #[test]
    fn the_state_and_the_time_of_a_process_count_for_its_group() {
        let stat = "42 (a ) b) S 1 40 40 0 -1 4194560 100 0 0 0 17 25 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse(stat, 40), Some(('S', 42)));
        assert_eq!(parse(stat, 42), None);
        assert_eq!(parse("42 (x", 42), None);
    }

    #[test]
    fn a_group_is_busy_while_a_thread_of_it_computes() {
        let start = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Family::start(command).unwrap().0
        };
        let (mut idle, mut busy) =
            (start("sleep 60"), start("while :; do :; done & exec sleep 60"));
        let start = Instant::now();
        let is = |family: &Family, wanted: bool| loop {
            let activity = activity(family.id()).unwrap();
            if activity.is_busy == wanted {
                return activity.cpu;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{activity:?}, wanted {wanted}");
        };
        is(&idle, false);
        let before = is(&busy, true);
        while is(&busy, true) == before {
            assert!(start.elapsed() < Duration::from_secs(30), "no processor time is counted");
        }
        idle.kill();
        busy.kill();
    }
}
