//! The same script through every driver.

use embedded_io::ErrorKind;
use embedded_nal::TcpErrorKind;
use socklab_core::machine::{Machine, StreamEnd};
use socklab_tests::role::{self, Application};
use socklab_tests::samples::Scripts;
use socklab_tests::transport::{NetEnd, NetError, Stream};

use crate::ways::{
    Ended, Observed, by_async, by_blocking, by_hand, by_nonblocking, by_polled, by_pool, by_pump,
    by_session,
};

/// Checks that a driver gave the expected result. Where the end of the stream may end the
/// application's turn, it may also have given a prefix of it and an error.
fn agree<R: Application>(
    seen: &Observed<R::Event>,
    expected: &Observed<R::Event>,
    how: StreamEnd,
    way: &str,
) {
    let may_differ = if how == StreamEnd::Closed { R::CLOSE_ENDS_TURN } else { R::TAKES_TURNS };
    let is_prefix = expected.events.starts_with(&seen.events)
        && expected.sent.starts_with(&seen.sent)
        && matches!(seen.ended, Ended::Protocol(_));
    // An abort drops what is queued.
    let is_aborted_early = expected.ended == Ended::Aborted
        && (&seen.events, &seen.ended) == (&expected.events, &expected.ended)
        && expected.sent.starts_with(&seen.sent);
    assert!(
        seen == expected || may_differ && is_prefix || is_aborted_early,
        "{way}, {how:?}: {seen:?}, expected {expected:?}"
    );
}

/// Runs a script through every driver.
fn everywhere<R: Application>(role: &R, bytes: &[u8], pump_outputs: [usize; 2]) {
    // With a smaller output a machine may wait for space that never comes.
    assert!(pump_outputs.iter().all(|output| *output >= R::Machine::MIN_OUTPUT));
    for (how, kind, ends) in [
        (StreamEnd::Closed, Ok(()), &[NetEnd::Zero, NetEnd::PipeClosed][..]),
        (StreamEnd::Reset, Err(ErrorKind::ConnectionReset), &[NetEnd::Other]),
        (StreamEnd::Reset, Err(ErrorKind::ConnectionAborted), &[NetEnd::Other]),
        (StreamEnd::TimedOut, Err(ErrorKind::TimedOut), &[]),
    ] {
        let expected = by_hand(role, bytes, how);
        let same = |seen: &Observed<R::Event>, way: &str| agree::<R>(seen, &expected, how, way);
        for seed in 0..12 {
            same(&by_session(role, bytes, how, seed), "session");
            for output in pump_outputs {
                same(&by_pump(role, bytes, how, seed, output), "pump");
            }
            for interrupted in [0, 50] {
                if how == StreamEnd::TimedOut && R::WAITS_FOR_IDLE {
                    continue;
                }
                let most = 1 + seed as usize;
                let stream = || Stream::new(bytes, kind, most, seed).interrupted(interrupted);
                same(&by_blocking(role, stream(), seed).0, "blocking");
                same(&by_blocking(role, stream().buffering(), seed).0, "buffering");
                // A read that times out ends both directions, so what a storm has kept back is dropped.
                let storm = if how == StreamEnd::TimedOut { 0 } else { [0, 60][seed as usize % 2] };
                same(&by_polled(role, stream().stormy(storm), seed), "polled");
                same(
                    &by_polled(role, stream().buffering().stormy(storm), seed),
                    "polled, buffering",
                );
            }
            if how != StreamEnd::TimedOut || !R::WAITS_FOR_IDLE {
                same(&by_async(role, bytes, kind, seed, false), "async");
                same(&by_async(role, bytes, kind, seed, true), "async, one object");
            }
            for end in ends {
                let (seen, fault) = by_nonblocking(role, bytes, *end, seed, |_, _| {});
                same(&seen, "nonblocking");
                // What a pool's application sends without turns depends on when it is asked.
                if R::TAKES_TURNS || role.command().is_none() {
                    same(&by_pool(role, bytes, *end, seed), "pool");
                }
                // A fault that ended the session must stay available.
                let is_reset = matches!(&seen.ended, Ended::Protocol(e) if e.contains("Reset"));
                if is_reset || how == StreamEnd::Closed {
                    assert_eq!(fault, is_reset.then_some(NetError(TcpErrorKind::Other)));
                }
            }
        }
    }
}

/// Runs each script of a protocol.
struct Everywhere;

impl Scripts for Everywhere {
    fn script<R: Application>(&mut self, role: &R, bytes: &[u8], pump_outputs: [usize; 2]) {
        everywhere(role, bytes, pump_outputs);
    }
}

macro_rules! protocols {
    ($($module:ident $name:ident { $($rest:tt)* })*) => {
        $(
            #[test]
            fn $module() {
                role::$module::scripts(&mut Everywhere);
            }
        )*
    };
}

mod is_the_same_everywhere {
    use super::*;

    socklab_core::for_each_protocol!(protocols);
}
