// Where a link is defined twice the first definition counts: on other pages the README's own, here these,
// which rustdoc checks.
//! [`Machine`]: socklab_core::machine::Machine
//! [`check`]: check()
//! [`Application`]: Application
//! [`in_turn`]: in_turn()
//! [`at_once`]: at_once()
//! [`every_cut`]: every_cut()
//! [`every_pause`]: every_pause()
//!
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod application;
mod cuts;
mod failure;
mod run;
mod script;
mod step;

pub use application::{Application, Command, Commands, Shown, at_once, in_turn};
pub use cuts::{
    compare_plans, compare_plans_of_script, every_cut, every_cut_of_script, every_pause,
    every_truncation, every_truncation_of_script,
};
pub use failure::{Failure, Law, assert_lawful};
pub use run::{Emitted, Outcome, Transcript, run};
pub use script::{Plan, Script};

use socklab_core::machine::StreamEnd;

/// Runs a machine against a script in every way that must not change the result, and checks all laws.
///
/// These are: every truncation of the script with every kind of end, each under every cut, every
/// output window and more (see [`every_cut`]); and a pause at every place, if the machine asks for
/// pauses (see [`every_pause`]).
///
/// Returns what happens when the peer sends the whole script and then closes. Test that it is what the
/// protocol says.
///
/// The number of runs grows with the square of the script's length, so several short scripts are
/// faster than a long one. In a debug build a script of 20 bytes takes a fraction of a second, and one of
/// 100 bytes some seconds.
///
/// # Errors
///
/// The law that was broken. The shortest truncation is tried first, so the failure is easy to
/// reproduce.
///
/// # Examples
///
/// ```
/// use socklab_core::math::Client;
///
/// let script = b"Q\0\0\0\x01\0\0\0\x02Sopensesm";
/// let transcript = socklab_laws::check(Client::new, script).unwrap();
/// assert_eq!(transcript.sent, [0, 0, 0, 3]);
/// ```
pub fn check<A: Application>(
    application: A,
    bytes: &[u8],
) -> Result<Transcript<A::Event>, Box<Failure>> {
    every_truncation(&application, bytes)?;
    every_pause(&application, bytes)?;
    every_cut(&application, bytes, Some(StreamEnd::Closed))
}
