//! Child processes of Unix.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::sys::extra::process::Mark;
use crate::sys::{Exit, Pipes};

/// Child process with all its descendants. Those that have left its process group are found only on Linux.
#[derive(Debug)]
pub(crate) struct Family {
    child: Child,
    mark: Mark,
    /// Whether the system has forgotten the child. From then on its id may be that of another process.
    is_reaped: bool,
}

impl Family {
    /// Starts a command in a process group of its own. Returns its piped streams too.
    pub(crate) fn start(mut command: Command) -> io::Result<(Self, Pipes)> {
        let mark = Mark::new(&mut command);
        let mut child = command.process_group(0).spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok((Self { child, mark, is_reaped: false }, pipes))
    }

    /// Returns the id of the child, which is that of its process group.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the id of the child until the system has forgotten it.
    fn pid(&self) -> Option<Pid> {
        if self.is_reaped {
            return None;
        }
        Pid::from_raw(i32::try_from(self.child.id()).ok()?)
    }

    /// Returns how the child has ended, or `None` while it runs.
    pub(crate) fn exit(&mut self) -> Option<Exit> {
        // The child stays a zombie, so that its id is not used again before `kill`.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.pid()?), options).ok()??;
        Some(match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or_default()),
        })
    }

    /// Returns whether a descendant of a child that has ended still runs, if the system shows it: Linux does.
    pub(crate) fn has_descendants(&self) -> bool {
        self.mark.is_found()
    }

    /// Kills the child and its descendants. They end at once, and cannot prevent it. The second call has no effect.
    pub(crate) fn kill(&mut self) {
        let Some(pid) = self.pid() else { return };
        // An error means that the group is empty.
        let _ = kill_process_group(pid, Signal::KILL);
        // It may have left its group, and the wait would not end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.is_reaped = true;
        self.mark.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_kill_does_not_use_the_id_of_the_child_again() {
        let (mut family, _) = Family::start(Command::new("true")).unwrap();
        assert!(family.pid().is_some());
        family.kill();
        assert_eq!(family.pid(), None);
        family.kill();
    }
}
