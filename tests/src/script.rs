//! Runs one machine against a script under every cut, and checks the laws at
//! [`Machine`](socklab_core::Machine): the published kit, and what only our tests need.

pub use socklab_laws::{
    Emitted, Failure, Law, Outcome, Plan, Script, Transcript, assert_lawful, compare_plans,
    compare_plans_of_script, every_cut, every_cut_of_script, every_pause, every_truncation,
    every_truncation_of_script,
};

use crate::role::Application;

/// Runs the machine of a role against one script under one plan.
///
/// # Errors
///
/// The law that the machine broke, as text.
pub fn run<R: Application>(
    role: &R,
    script: &Script<'_>,
    plan: &Plan,
) -> Result<Transcript<R::Event>, String> {
    socklab_laws::run(role, script, plan).map_err(|failure| failure.to_string())
}
