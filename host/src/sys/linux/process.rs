//! Processes of Linux.

use std::fs;
use std::time::Duration;

/// Returns the processor time that the processes of a group have used so far.
pub(crate) fn cpu_time(group: u32) -> Option<Duration> {
    let processes = fs::read_dir("/proc").ok()?;
    let ticks: u64 = processes
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
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
    use super::*;

    #[test]
    fn the_time_of_a_process_counts_for_its_group() {
        let stat = "42 (a ) b) S 1 40 40 0 -1 4194560 100 0 0 0 17 25 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse(stat, 40), Some(42));
        assert_eq!(parse(stat, 42), None);
        assert_eq!(parse("42 (x", 42), None);
    }
}
