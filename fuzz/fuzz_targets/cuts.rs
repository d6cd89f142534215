//! The same bytes under two plans, for every machine.
//!
//! Invariant: a read has no meaning. Events, bytes sent, what was consumed when, and the error are
//! the same under any two plans.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use socklab_core::machine::{Machine, StreamEnd};
use socklab_fuzz::{byte, client, messages, plan, questions, quiz};
use socklab_tests::role::{EchoServer, MathClient, Role};
use socklab_tests::script::{Plan, compare_plans};

fn check<R: Role>(role: &R, bytes: &[u8], end: Option<StreamEnd>, mut plans: [Plan; 2]) {
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
        panic!("{failure}\n  and under {reference:?}");
    }
}

/// Needs nothing: what a plan is drawn for when the machine comes later.
#[derive(Clone)]
struct Any;

impl Machine for Any {
    type Command<'c> = ();
    type Event<'i> = ();
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

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let which = byte(&mut u);
    let (one, end, flag) = plan::<Any>(&mut u);
    let (two, ..) = plan::<Any>(&mut u);
    let plans = [one, two];
    match which % 4 {
        0 => check(&MathClient, u.take_rest(), end, plans),
        1 => {
            let role = quiz(&questions(&mut u), flag);
            check(&role, u.take_rest(), end, plans);
        }
        2 => {
            let role = client(messages(&mut u), flag);
            check(&role, u.take_rest(), end, plans);
        }
        _ => check(&EchoServer, u.take_rest(), end, plans),
    }
});
