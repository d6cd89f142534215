//! Cases of a client.

use std::time::Duration;

use super::super::case::{Case, Step, case, step};
use super::super::datagrams::{no_other, posts, reopen, says_something, stranger, vanish};
use super::super::steps::{
    ends, pause, prints_apart, prints_reply, starts, without_crash, without_error,
};
use super::{
    ADVISED, DATAGRAMS, ENCODED, EXERCISE, NETWORK, PARALLEL, SERIES, SHORT, UMLAUTS, named,
    receive_message, rest,
};
use crate::check::echo::text_of;

const SPACES: &str = "  spaces at both ends are part of it  ";
const THREE: [&str; 3] = [SHORT, "the second of three", "and the third message"];
const LOST: &str = "datagrams can be lost: settimeout() before recvfrom(), and send the message again when the time is over";
const FOREVER: &str = "recvfrom() waits without a limit for a reply that does not come: settimeout() before, and say that no reply came";
const MATCH: &str = "compare a reply with what was sent, and its address with the server's: datagrams can come twice, late, or from anyone";

pub(super) fn cases() -> Vec<Case> {
    let (advised, frame, long) = (text_of(ADVISED), text_of(1472), text_of(2010));
    let with =
        |steps: Vec<Step>| steps.into_iter().chain([ends(), without_error()]).collect::<Vec<_>>();
    vec![
        case(
            "basic/short-message",
            "a short message is sent in a datagram, and its reply is received and printed",
            ENCODED,
            with(vec![serves(&[SHORT]), prints_reply_to(SHORT)]),
        )
        .messages(&[SHORT]),
        case(
            "basic/one-datagram",
            "a message is sent in one datagram, and nothing else is sent with it",
            DATAGRAMS,
            with(vec![receives(SHORT), no_other(300), replies(SHORT), prints_reply_to(SHORT)]),
        )
        .messages(&[SHORT])
        .hint("one datagram is one message: send nothing in front of it, and nothing after it"),
        case(
            "basic/characters",
            "the text is sent in UTF-8, and the reply is decoded",
            ENCODED,
            with(vec![serves(&[UMLAUTS]), prints_reply_to(UMLAUTS)]),
        )
        .messages(&[UMLAUTS]),
        case(
            "basic/575-bytes",
            "a message of up to 575 bytes, which the document advises, is sent in one datagram, and its reply is received whole",
            DATAGRAMS,
            with(vec![serves(&[&advised]), prints_reply_to(&advised)]),
        )
        .messages(&[&advised])
        .hint("a datagram that is longer than the buffer of recvfrom() is cut: give it 4096 bytes"),
        case(
            "basic/messages-in-series",
            "three messages are sent, and the replies are received and printed apart",
            SERIES,
            with(vec![serves(&THREE), prints_three()]),
        )
        .messages(&THREE),
        case(
            "basic/empty-reply",
            "a message of fewer than ten characters gets an empty reply, and the next one is received too",
            EXERCISE,
            with(vec![serves(&["short", SHORT]), prints_reply_to(SHORT)]),
        )
        .messages(&["short", SHORT])
        .hint("an empty result of recvfrom() is an empty datagram, and not the end of anything"),
        case(
            "basic/spaces",
            "white space is part of a message",
            EXERCISE,
            with(vec![serves(&[SPACES]), prints_reply(SPACES, rest(SPACES).trim_end())]),
        )
        .info()
        .messages(&[SPACES])
        .hint("white space was removed from the message, as by strip()"),
        case(
            "segmentation/1472-bytes",
            "a message that fills an Ethernet frame is sent in one datagram, and its reply is received whole",
            DATAGRAMS,
            with(vec![serves(&[&frame]), prints_reply_to(&frame)]),
        )
        .info()
        .messages(&[&frame]),
        case(
            "segmentation/2000-bytes",
            "a reply of 2000 bytes is received whole",
            DATAGRAMS,
            with(vec![serves(&[&long]), prints_reply_to(&long)]),
        )
        .info()
        .messages(&[&long])
        .hint("a datagram that is longer than the buffer of recvfrom() is cut: give it 4096 bytes"),
        case(
            "coalescing/replies-at-once",
            "replies that wait to be received are received apart",
            PARALLEL,
            with(vec![serves_together(&THREE), prints_three()]),
        )
        .messages(&THREE),
        case(
            "slow/late-reply",
            "a reply may take half a second",
            NETWORK,
            with(vec![receives(SHORT), pause(500), replies(SHORT), prints_reply_to(SHORT)]),
        )
        .info()
        .messages(&[SHORT]),
        case(
            "slow/lost-message",
            "a message that is lost is sent again",
            NETWORK,
            with(vec![receives(SHORT), receives_again(SHORT), replies(SHORT), prints_reply_to(SHORT)]),
        )
        .info()
        .messages(&[SHORT])
        .hint(LOST),
        case(
            "slow/no-reply",
            "a client whose reply never comes says so and ends",
            NETWORK,
            [receives(SHORT), ends(), says_something(), without_crash()],
        )
        .info()
        .messages(&[SHORT])
        .hint(FOREVER),
        case(
            "bad-input/duplicate-reply",
            "a reply that comes twice is not taken for the reply to the next message",
            NETWORK,
            with(vec![
                receives(THREE[0]),
                replies(THREE[0]),
                replies(THREE[0]),
                serves(&THREE[1..]),
                prints_three(),
            ]),
        )
        .info()
        .messages(&THREE)
        .hint(MATCH),
        case(
            "bad-input/stranger",
            "a datagram from another address is not taken for the reply",
            NETWORK,
            with(vec![receives(SHORT), stranger(b" from a stranger"), pause(50), replies(SHORT), prints_reply_to(SHORT)]),
        )
        .info()
        .messages(&[SHORT])
        .hint(MATCH),
        case(
            "bad-input/not-utf8",
            "a reply that is not UTF-8 does not crash the client",
            NETWORK,
            [receives(SHORT), posts("bytes that are not UTF-8", *b"\xff\xfe\xc3\x28"), ends(), without_crash()],
        )
        .info()
        .messages(&[SHORT]),
        case(
            "restart/server",
            "a server that was started again at the same port is served on: datagrams have no connection that could be lost",
            NETWORK,
            with(vec![receives(THREE[0]), reopen(), replies(THREE[0]), serves(&THREE[1..]), prints_three()]),
        )
        .info()
        .messages(&THREE),
        // It has the longest wait.
        case(
            "reset/no-server",
            "a client whose messages do not arrive says so and ends",
            NETWORK,
            [vanish(), starts(), ends(), says_something(), without_crash()],
        )
        .info()
        .messages(&[SHORT])
        .hint(FOREVER),
    ]
}

/// Receives messages, and sends the reply to each.
fn serves(messages: &[&str]) -> Step {
    let text = match messages {
        [message] => format!("receive a {} and reply", named(message)),
        _ => format!("receive {} messages and reply to each", messages.len()),
    };
    let messages: Vec<String> = messages.iter().map(ToString::to_string).collect();
    step(text, move |talk| {
        messages.iter().try_for_each(|message| {
            receive_message(talk, message)?;
            talk.post(rest(message).as_bytes())
        })
    })
}

/// Waits until the program has printed the reply to a message.
fn prints_reply_to(message: &str) -> Step {
    prints_reply(message, rest(message))
}

/// Waits until the program has printed the replies to three messages.
fn prints_three() -> Step {
    prints_apart(THREE.map(|message| (message, rest(message))))
}

fn receives(message: &'static str) -> Step {
    step("receive a message", move |talk| receive_message(talk, message))
}

/// Receives a message once more.
fn receives_again(message: &'static str) -> Step {
    step("do not reply, and receive the message again", move |talk| {
        talk.expect_exactly("the message again", message.as_bytes())
    })
}

fn replies(message: &'static str) -> Step {
    step("send the reply", move |talk| talk.post(rest(message).as_bytes()))
}

/// Receives messages, and sends the replies together to all that have come.
fn serves_together(messages: &'static [&'static str]) -> Step {
    step(
        "receive three messages, and send the replies together as far as the client sends on",
        move |talk| {
            let mut waiting: Vec<&str> = Vec::new();
            for message in messages {
                // A client may wait for a reply before it sends on.
                if !waiting.is_empty() && !talk.has_datagram(Duration::from_millis(250))? {
                    for message in waiting.drain(..) {
                        talk.post(rest(message).as_bytes())?;
                    }
                }
                receive_message(talk, message)?;
                waiting.push(message);
            }
            waiting.iter().try_for_each(|message| talk.post(rest(message).as_bytes()))
        },
    )
}
