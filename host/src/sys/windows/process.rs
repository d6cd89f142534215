//! Child processes of Windows.

use std::io;
use std::process::Command;

use process_wrap::std::{ChildWrapper, CommandWrap, JobObject};

use crate::sys::{Exit, Pipes};

/// Child process with all its descendants.
#[derive(Debug)]
pub(crate) struct Family {
    job: Box<dyn ChildWrapper>,
}

impl Family {
    /// Starts a command in a job object of its own. Returns its piped streams too.
    pub(crate) fn start(command: Command) -> io::Result<(Self, Pipes)> {
        let mut command = CommandWrap::from(command);
        let mut job = command.wrap(JobObject).spawn()?;
        let pipes = (job.stdin().take(), job.stdout().take(), job.stderr().take());
        Ok((Self { job }, pipes))
    }

    /// Returns the id of the child.
    pub(crate) fn id(&self) -> u32 {
        self.job.id()
    }

    /// Returns how the child has ended, or `None` while it runs.
    pub(crate) fn exit(&mut self) -> Option<Exit> {
        let status = self.job.inner_mut().try_wait().ok()??;
        Some(Exit::Code(status.code().unwrap_or_default()))
    }

    /// Returns `false`: whether a descendant runs is not asked.
    #[expect(clippy::unused_self, reason = "the same interface as on Unix")]
    pub(crate) const fn has_descendants(&self) -> bool {
        false
    }

    /// Kills the child and its descendants. They end at once, and cannot prevent it.
    pub(crate) fn kill(&mut self) {
        // An error means that all have ended.
        let _ = self.job.start_kill();
        let _ = self.job.inner_mut().wait();
    }
}
