//! Cases of a client.

use std::time::Duration;

use super::super::case::{Case, Step, case, step};
use super::super::failure::{Failure, Kind};
use super::super::steps::{
    accept, byte_by_byte, close, close_second, closed_or_reset, ends, has_reply, info,
    prints_apart, prints_reply, random_pieces, reset, send, slowly, without_crash, without_error,
};
use super::super::talk::{Outcome, Talk};
use super::{BUFFERING, ENDINGS, FORMAT, UMLAUTS, message, receive_message, remainder, text_of};

const BUFFER: &str = "one recv() returns at most as many bytes as its argument: repeat it until the whole payload has arrived";
const SPACES: &str = "  spaces at both ends are part of it  ";
const SHORT: &str = "Four score and seven years ago";
const THREE: [&str; 3] = [SHORT, "the second of three", "and the third message"];

pub(super) fn cases(h: usize) -> Vec<Case> {
    let (medium, long) = (text_of(1034), text_of(8000));
    let done = || [ends(), without_error()];
    let with = |steps: Vec<Step>| steps.into_iter().chain(done()).collect::<Vec<_>>();
    vec![
        case(
            "basic/short-message",
            "a short message is sent with its length, and its reply is received and printed",
            "003, 3 Test cases 1(a) Short message",
            with(vec![accept(), serves(h, &[SHORT]), close_second(), prints_reply_to(SHORT)]),
        )
        .messages(&[SHORT]),
        case(
            "basic/medium-message",
            "a message that is slightly longer than the buffer is sent, and its reply is received",
            "003, 3 Test cases 1(b) Medium message",
            with(vec![accept(), serves(h, &[&medium]), close_second(), prints_reply_to(&medium)]),
        )
        .messages(&[&medium])
        .hint(BUFFER),
        case(
            "basic/long-message",
            "a message that is several times longer than the buffer is sent, and its reply is received",
            "003, 3 Test cases 1(c) Long message",
            with(vec![accept(), serves(h, &[&long]), close_second(), prints_reply_to(&long)]),
        )
        .messages(&[&long])
        .hint(BUFFER),
        case(
            "basic/multiple-messages-in-series",
            "three messages are sent, and the replies are received and printed apart",
            "003, 3 Test cases 1(d) Multiple messages in \"series\"",
            with(vec![accept(), serves(h, &THREE), close_second(), prints_lines(&THREE)]),
        )
        .messages(&THREE),
        case(
            "basic/multiple-messages-in-parallel",
            "the replies to three messages are received apart, also if they arrive together",
            "003, 3 Test cases 1(e) Multiple messages in \"parallel\"",
            with(vec![accept(), serves_together(h, &THREE), close_second(), prints_lines(&THREE)]),
        )
        .messages(&THREE),
        case(
            "basic/characters",
            "the length counts the bytes of the encoded text, not its characters",
            FORMAT,
            with(vec![accept(), serves(h, &[UMLAUTS]), close_second(), prints_reply_to(UMLAUTS)]),
        )
        .messages(&[UMLAUTS]),
        case(
            "basic/empty-reply",
            "a message of fewer than ten characters gets an empty reply, and the next one is received too",
            "003, 1 Assignment Instructions 1(b)",
            with(vec![accept(), serves(h, &["short", SHORT]), close_second(), prints_reply_to(SHORT)]),
        )
        .messages(&["short", SHORT]),
        case(
            "basic/spaces",
            "white space is part of a message",
            FORMAT,
            with(vec![accept(), serves(h, &[SPACES]), close_second(), prints_reply(SPACES, remainder(SPACES).trim_end())]),
        )
        .info()
        .messages(&[SPACES])
        .hint("white space was removed from the message, as by strip()"),
        case(
            "segmentation/one-byte",
            "a reply may arrive one byte at a time",
            BUFFERING,
            with(vec![accept(), byte_by_byte(), serves(h, &[SHORT, UMLAUTS]), close_second(), prints_lines(&[SHORT, UMLAUTS])]),
        )
        .messages(&[SHORT, UMLAUTS]),
        case(
            "segmentation/length-apart",
            "the length and the payload of a reply may arrive apart",
            BUFFERING,
            with(vec![accept(), serves_cut(h, SHORT, &[h]), close_second(), prints_reply_to(SHORT)]),
        )
        .messages(&[SHORT]),
        case(
            "segmentation/inside-length",
            "the length of a reply may be cut",
            BUFFERING,
            with(vec![accept(), serves_cut(h, SHORT, &[1, h - 1]), close_second(), prints_reply_to(SHORT)]),
        )
        .messages(&[SHORT]),
        case(
            "segmentation/inside-payload",
            "the payload of a reply may arrive in pieces",
            BUFFERING,
            with(vec![accept(), serves_cut(h, SHORT, &[h + 1, h + 9]), close_second(), prints_reply_to(SHORT)]),
        )
        .messages(&[SHORT]),
        case(
            "segmentation/inside-a-character",
            "a reply may be cut inside a character",
            BUFFERING,
            // The remainder has 15 bytes in front of the first Chinese character.
            with(vec![accept(), serves_cut(h, UMLAUTS, &[h + 16, h + 23]), close_second(), prints_reply_to(UMLAUTS)]),
        )
        .messages(&[UMLAUTS]),
        case(
            "segmentation/random",
            "a long reply may arrive in pieces of any size",
            BUFFERING,
            with(vec![accept(), random_pieces(), serves(h, &[&long]), close_second(), prints_reply_to(&long)]),
        )
        .messages(&[&long]),
        case(
            "slow/bytes-apart",
            "the bytes of a reply may arrive with pauses",
            BUFFERING,
            with(vec![accept(), slowly(Duration::from_millis(30)), serves(h, &[SHORT]), close_second(), prints_reply_to(SHORT)]),
        )
        .messages(&[SHORT]),
        case(
            "slow/late-reply",
            "a reply may take a while",
            BUFFERING,
            with(vec![accept(), late_reply(h), close_second(), prints_reply_to(SHORT)]),
        )
        .messages(&[SHORT]),
        case(
            "close/server-shuts-down",
            "when the server shuts down after the first of six messages, the client detects it and ends",
            "003, 3 Test cases 2(a) Server shuts down",
            [accept(), serves(h, &[SHORT]), close(), prints_reply_to(SHORT), ends(), info(without_crash())],
        )
        .messages(&[SHORT, "message two of six", "message three of six", "message four of six", "message five of six", "message six of six"]),
        case(
            "close/before-reply",
            "a server that closes instead of replying ends the client",
            ENDINGS,
            [accept(), receives(h, SHORT), close(), ends(), info(without_crash())],
        )
        .messages(&[SHORT]),
        case(
            "close/inside-length",
            "a server that closes in the middle of a length ends the client",
            ENDINGS,
            [accept(), receives(h, SHORT), send("half a length", vec![0; h / 2]), close(), ends(), info(without_crash())],
        )
        .messages(&[SHORT]),
        case(
            "close/inside-payload",
            "a server that closes in the middle of a payload ends the client",
            ENDINGS,
            [
                accept(),
                receives(h, SHORT),
                send("half a reply", message(h, remainder(SHORT))[..h + 9].to_vec()),
                close(),
                ends(),
                info(without_crash()),
            ],
        )
        .messages(&[SHORT]),
        case(
            "reset/before-reply",
            "a server that resets the connection ends the client",
            ENDINGS,
            [accept(), receives(h, SHORT), reset(), ends(), info(without_crash())],
        )
        .messages(&[SHORT]),
        case(
            "reset/inside-payload",
            "a server that resets the connection in the middle of a payload ends the client",
            ENDINGS,
            [accept(), receives(h, SHORT), send("half a reply", message(h, remainder(SHORT))[..h + 9].to_vec()), reset(), ends(), info(without_crash())],
        )
        .messages(&[SHORT]),
        case(
            "bad-input/greatest-length",
            "a server that announces the greatest length and closes ends the client",
            FORMAT,
            [accept(), receives(h, SHORT), send("the greatest length", [vec![0xff; h], b"0123456789".to_vec()].concat()), close(), ends(), info(without_crash())],
        )
        .info()
        .messages(&[SHORT]),
        case(
            "close/no-message",
            "a client without a message ends",
            FORMAT,
            [accept(), closed_or_reset(), close(), ends(), without_error()],
        )
        .info()
        .messages(&[]),
    ]
}

/// Receives messages, and sends the reply to each.
fn serves(header: usize, payloads: &[&str]) -> Step {
    let payloads: Vec<String> = payloads.iter().map(ToString::to_string).collect();
    let what = if payloads.len() == 1 {
        "a message and reply".to_owned()
    } else {
        format!("{} messages and reply to each", payloads.len())
    };
    step(format!("receive {what}"), move |talk| {
        payloads.iter().try_for_each(|payload| {
            receive_message(talk, header, payload)?;
            talk.send(&message(header, remainder(payload)))
        })
    })
}

/// Receives a message.
fn receives(header: usize, payload: &'static str) -> Step {
    step("receive a message", move |talk| receive_message(talk, header, payload))
}

/// Receives messages, and sends replies in one write to all that have come.
fn serves_together(header: usize, payloads: &'static [&'static str]) -> Step {
    step(
        "receive three messages, and send the replies together as far as the client sends on",
        move |talk| {
            let mut replies = Vec::new();
            for payload in payloads {
                // A client may wait for a reply before it sends on.
                if !replies.is_empty() && !talk.has_more(Duration::from_millis(250))? {
                    talk.send(&replies)?;
                    replies.clear();
                }
                receive_message(talk, header, payload)?;
                replies.extend(message(header, remainder(payload)));
            }
            talk.send(&replies)
        },
    )
}

/// Receives a message, and sends its reply in parts.
fn serves_cut(header: usize, payload: &'static str, cuts: &[usize]) -> Step {
    let cuts = cuts.to_vec();
    step(
        format!("receive a message and send its reply in {} writes", cuts.len() + 1),
        move |talk| {
            receive_message(talk, header, payload)?;
            let reply = message(header, remainder(payload));
            let mut parts = Vec::new();
            let mut start = 0;
            for end in cuts.iter().copied().chain([reply.len()]) {
                parts.push(&reply[start..end]);
                start = end;
            }
            talk.send_parts(parts)
        },
    )
}

fn late_reply(header: usize) -> Step {
    step("receive a message and reply after 500 ms", move |talk| {
        receive_message(talk, header, SHORT)?;
        talk.pause(Duration::from_millis(500))?;
        waits_for_reply(talk, SHORT)?;
        talk.send(&message(header, remainder(SHORT)))
    })
}

/// Checks that the program has not ended and has printed no reply, before one is sent. It can compute the reply to a message.
fn waits_for_reply(talk: &mut Talk, payload: &str) -> Outcome {
    let text = if has_reply(&talk.stdout(), payload, remainder(payload)) {
        "the program printed the reply before it was sent"
    } else {
        // A descendant may have the connection.
        let is_open = talk.has_more(Duration::ZERO)? || !talk.has_stream_ended();
        if is_open || talk.is_running() || talk.program.is_none() {
            return Ok(());
        }
        "the program ended before its reply was sent"
    };
    let failure = Box::new(Failure::new(Kind::Unexpected, text));
    Err(failure.hint("nothing was received: print what recv() returned, and wait for it"))
}

/// Sees the reply to a message printed.
fn prints_reply_to(payload: &str) -> Step {
    prints_reply(payload, remainder(payload))
}

/// Sees the replies printed, in this order and not merged into one line.
fn prints_lines(payloads: &[&'static str]) -> Step {
    prints_apart(payloads.iter().map(|payload| (*payload, remainder(payload))))
}
