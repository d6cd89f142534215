//! Tests of the kit itself. Each machine here breaks one law on purpose, and the kit must name that
//! law.

mod sender;
mod toy;

use socklab_laws::{Application, Failure, Law, check};

/// Returns the first failure that the kit reports for one of these scripts.
fn failure_of(application: &impl Application, scripts: &[&[u8]]) -> Option<Box<Failure>> {
    scripts.iter().find_map(|bytes| check(application.clone(), bytes).err())
}

/// Checks that the kit names this law, and reports it in these words.
#[track_caller]
fn assert_names(failure: Option<Box<Failure>>, law: Law, words: &str, flaw: impl std::fmt::Debug) {
    let Some(failure) = failure else { panic!("{flaw:?} was not found") };
    assert_eq!(failure.law, law, "{flaw:?}: {failure}");
    assert!(failure.to_string().contains(words), "{flaw:?}: expected {words:?} in {failure}");
}
