//! Child processes of Unix.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::sys::{Exit, Pipes};

/// Child process with all its descendants, except those that have left its process group.
#[derive(Debug)]
pub(crate) struct Family {
    child: Child,
}

impl Family {
    /// Starts a command in a process group of its own. Returns its piped streams too.
    pub(crate) fn start(mut command: Command) -> io::Result<(Self, Pipes)> {
        let mut child = command.process_group(0).spawn()?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok((Self { child }, pipes))
    }

    /// Returns the id of the child, which is that of its process group.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Option<Pid> {
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

    /// Kills the child and its descendants. They end at once, and cannot prevent it.
    pub(crate) fn kill(&mut self) {
        if let Some(pid) = self.pid() {
            // An error means that all have ended.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
