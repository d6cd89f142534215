//! The same bytes under two plans, for every machine.
//!
//! Invariant: a read has no meaning. Events, bytes sent, what was consumed when, and the error are
//! the same under any two plans.
//!
//! The first byte is the number of the role in the table of the core, then come the two plans and the choices of
//! the role.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use socklab_core::machine::{Machine, StreamEnd};
use socklab_fuzz::plan;
use socklab_tests::draw::Draw;
use socklab_tests::role::{Application, RoleVisitor, visit_role};
use socklab_tests::script::{Plan, compare_plans};

fn check<R: Application>(role: &R, bytes: &[u8], end: Option<StreamEnd>, mut plans: [Plan; 2]) {
    // Plans are drawn for any machine: the room is what this one needs and more.
    for plan in &mut plans {
        plan.window += R::Machine::MIN_OUTPUT;
        plan.cap = plan.cap.map(|cap| cap + R::Machine::MIN_INPUT);
    }
    // Where a reset races with the application, it is compared with one that came late and in
    // sight.
    if R::TAKES_TURNS {
        (plans[0].end_apart, plans[0].cap) = (true, None);
    }
    let [reference, plan] = plans;
    if let Err(failure) = compare_plans(role, bytes, end, &reference, &plan) {
        // The role gives a command that its protocol cannot express, or that is larger than the window:
        // `drivers` looks at these.
        if failure.to_string().contains("a command in turn was refused") {
            return;
        }
        panic!("{failure}\n  and under {reference:?}");
    }
}

/// Needs nothing: what a plan is drawn for when the machine comes later.
#[derive(Clone)]
struct Any;

impl Machine for Any {
    type Command<'c> = ();
    type Event = ();
    type Error = std::fmt::Error;
    const MIN_INPUT: usize = 0;
    const MIN_OUTPUT: usize = 0;

    fn step(
        &mut self,
        _: socklab_core::machine::Input<'_>,
        _: &mut [u8],
    ) -> Result<socklab_core::machine::Step<()>, std::fmt::Error> {
        Err(std::fmt::Error)
    }

    fn command(
        &mut self,
        (): (),
        _: &mut [u8],
    ) -> Result<usize, socklab_core::machine::CommandError> {
        Err(socklab_core::machine::CommandError::OutOfTurn)
    }
}

/// The plans, and how the peer ends.
struct Cuts([Plan; 2], Option<StreamEnd>);

impl RoleVisitor for Cuts {
    fn visit<R: Application>(self, role: &R, bytes: &[u8]) {
        check(role, bytes, self.1, self.0);
    }
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let mut draw = Draw::new(data);
    let number = draw.byte();
    let (one, end, flag) = plan::<Any>(&mut draw);
    let (two, ..) = plan::<Any>(&mut draw);
    let has_role = visit_role(number, &mut draw, flag, Cuts([one, two], end));
    if has_role { Corpus::Keep } else { Corpus::Reject }
});
