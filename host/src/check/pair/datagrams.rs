//! Cases of a pair of programs over datagrams.

use std::time::Duration;

use super::{Pair, SOURCE, judged, server_is_well};
use crate::check::case::{Case, Step, case, step};
use crate::check::failure::Kind;
use crate::check::setup::Inputs;
use crate::check::steps::{ends, without_error};
use crate::check::talk::Passing;

/// Returns the cases.
pub(super) fn cases(pair: &'static Pair) -> Vec<Case> {
    let case = |path, requirement, passing| {
        let steps =
            [meet(pair), relay(passing), judged(pair), ends(), without_error(), server_is_well()];
        let case = case(path, requirement, SOURCE, steps);
        let case = pair.client.iter().fold(case, |case, (name, value)| case.input(name, *value));
        if pair.input_ends { case.input_ends() } else { case }
    };
    let passing = Passing::default();
    let delay = Duration::from_millis(40);
    vec![
        case(
            "basic/conversation",
            "client and server work together, and what they send is what the document asks for",
            passing,
        ),
        case("slow/both", "what both send may arrive late", Passing { delay, ..passing }),
        case(
            "slow/lost-message",
            "a message that is lost on its way is sent again",
            Passing { loses_first: true, ..passing },
        )
        .info()
        .hint("datagrams can be lost: settimeout() before recvfrom(), and send the message again when the time is over"),
        case(
            "bad-input/duplicate-replies",
            "a reply that arrives twice is not taken for the reply to the next message",
            Passing { replies: 2, ..passing },
        )
        .info()
        .hint("compare a reply with what was sent: datagrams can come twice"),
    ]
}

fn meet(pair: &'static Pair) -> Step {
    step(
        "start the server, send it a message of the tester's own, and start the client",
        move |talk| {
            let values =
                pair.server.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            let probe = pair.client.first().map(|(_, value)| value.as_bytes()).unwrap_or_default();
            talk.meet_datagrams(Inputs { values, ends: false, folder: None }, probe)
        },
    )
}

fn relay(passing: Passing) -> Step {
    step("pass on what they send, until the client has ended", move |talk| {
        talk.relay_datagrams(passing).or_else(|failure| {
            // What they have said shows why they wait.
            if failure.kind == Kind::Silent {
                talk.late = Some(failure);
                return Ok(());
            }
            Err(failure)
        })
    })
}
