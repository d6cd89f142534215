//! Samples of every protocol, which its role module lists, for the tests that every protocol has to pass.

use socklab_core::machine::{Machine, OwnedEvent};

use crate::role::Application;

/// Returns the application's n-th command, counted from 1.
pub type CommandAt<M> = fn(&usize) -> Option<<M as Machine>::Command<'_>>;

/// Gets sessions that need no memory but the machine's and the buffers'.
pub trait Sessions {
    /// Gets a session: what the peer sends, the application's commands when it is asked for one, and the number of
    /// events.
    fn session<M: Machine>(
        &mut self,
        machine: fn() -> M,
        input: &'static [u8],
        command_at: CommandAt<M>,
        events: usize,
    );

    /// Gets a session in which the application gives its commands at once.
    fn eager_session<M: Machine>(
        &mut self,
        machine: fn() -> M,
        input: &'static [u8],
        command_at: CommandAt<M>,
        events: usize,
    );
}

/// Gets scripts that are to have the same result in every driver.
pub trait Scripts {
    /// Gets a role, what its peer sends, and two sizes of the output of a pump. These hold every command of the
    /// role: a pump cannot split one.
    fn script<R>(&mut self, role: &R, bytes: &[u8], pump_outputs: [usize; 2])
    where
        R: Application<Machine: Machine<Event: OwnedEvent>>;
}
