//! Cases of a server.

use super::super::case::{Case, Step, case, step};
use super::super::datagrams::{client, on_client, posts, survives};
use super::super::failure::{Failure, Kind};
use super::super::steps::{info, pause, restart};
use super::super::talk::{Outcome, Talk};
use super::{
    ADVISED, DATAGRAMS, ENCODED, EXERCISE, NETWORK, PARALLEL, SERIES, SERVER, SHORT, UMLAUTS,
    exchange, named, receive_reply, rest, with_reply_hint,
};
use crate::check::echo::text_of;

const THREE: [&str; 3] = [SHORT, "the second message", "and the third message"];
/// Ten characters, and what follows them is not UTF-8.
const BINARY: &[u8] = b"0123456789\xff\xfe\x00\xc3\x28 and more";
const CUT: &str = "recvfrom() cuts a datagram that is longer than its argument, without an error on many systems: give it one more byte \
     than the longest message, and do not reply to what fills the buffer";
const FIRST_ONLY: &str = "connect() on a server's socket makes it deaf to all other clients: use recvfrom() and sendto() without connect()";
const UNREACHABLE: &str = "after a reply that did not arrive, recvfrom() or sendto() may report an error, on Windows and on connected sockets: \
     catch it and go on";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case(
            "basic/short-message",
            "a short message comes back without its first ten characters",
            EXERCISE,
            [sends(SHORT)],
        ),
        case(
            "basic/messages-in-series",
            "three messages of a client, one after the other, get a reply each",
            SERIES,
            THREE.map(sends),
        ),
        case(
            "basic/ten-characters",
            "ten characters are removed, not ten bytes",
            ENCODED,
            [sends(UMLAUTS), sends("🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂"), sends("äöüäöüäöüä")],
        ),
        case(
            "basic/short-payloads",
            "a message of ten characters or fewer gets an empty datagram as its reply",
            EXERCISE,
            [sends("0123456789"), sends("short"), sends("0123456789x")],
        ),
        case(
            "basic/575-bytes",
            "a message of up to 575 bytes, which the document advises, is received whole",
            DATAGRAMS,
            [sends(&text_of(ADVISED))],
        ),
        case(
            "basic/spaces",
            "white space is part of a message",
            EXERCISE,
            [sends("ten chars:  two spaces at both ends  "), sends("ten chars:a newline at the end\n")],
        ),
        case(
            "segmentation/each-datagram-is-a-message",
            "a text in several datagrams is several messages, each with a reply",
            DATAGRAMS,
            [sends("Four score and"), sends(" seven years"), sends(" ago our fathers"), sends("brought")],
        ),
        case(
            "segmentation/1472-bytes",
            "a message that fills an Ethernet frame is received whole",
            DATAGRAMS,
            [sends(&text_of(1472))],
        )
        .info(),
        case(
            "segmentation/2048-bytes",
            "a message that is longer than the buffer is never taken for whole",
            DATAGRAMS,
            [whole_or_nothing(2048)],
        )
        .info()
        .hint(CUT),
        case(
            "segmentation/4096-bytes",
            "a message of the greatest buffer of the document is never taken for whole if it is cut",
            DATAGRAMS,
            [whole_or_nothing(4096)],
        )
        .info()
        .hint(CUT),
        case(
            "segmentation/65507-bytes",
            "the longest datagram is never taken for whole if it is cut",
            DATAGRAMS,
            [whole_or_nothing(65_507)],
        )
        .info()
        .hint(CUT),
        case(
            "coalescing/three-messages",
            "messages that wait to be received stay apart, and each gets a reply",
            PARALLEL,
            [sends(UMLAUTS), in_parallel(&THREE)],
        ),
        case(
            "coalescing/twenty-messages",
            "messages that arrive faster than they are received get a reply each, as far as the buffer of the system holds them",
            DATAGRAMS,
            [sends(SHORT), twenty()],
        )
        .info(),
        case(
            "coalescing/two-clients",
            "messages of two clients that wait to be received are answered at their own addresses",
            SERVER,
            [sends(SHORT), both_wait()],
        ),
        case(
            "slow/after-a-pause",
            "the server waits for the next message without a limit",
            SERVER,
            [sends(SHORT), pause(1500), sends(THREE[1])],
        )
        .info()
        .hint("the server gives up when nothing arrives for a while: recvfrom() of a server waits without a limit"),
        case(
            "reset/client-vanishes",
            "a client that has closed its socket before its reply arrives does not end the server",
            NETWORK,
            [sends(SHORT), vanished(1), pause(100), client(), sends(THREE[1]), sends(THREE[2])],
        )
        .info()
        .hint(UNREACHABLE),
        case(
            "reset/three-clients-vanish",
            "clients that close their sockets one after the other do not end the server",
            NETWORK,
            [sends(SHORT), vanished(3), client(), sends(THREE[1])],
        )
        .info()
        .hint(UNREACHABLE),
        case(
            "bad-input/empty",
            "an empty datagram is an empty message, and not the end of anything",
            NETWORK,
            [sends(SHORT), sends(""), sends(THREE[1])],
        )
        .info()
        .hint("a datagram socket has no end: an empty result of recvfrom() is an empty datagram"),
        case(
            "bad-input/not-utf8",
            "a message whose first characters are not UTF-8 does not end the server",
            NETWORK,
            [sends(SHORT), posts("bytes that are not UTF-8", *b"\xff\xfe\xc3\x28ab and more"), survives(serve)],
        )
        .info(),
        case(
            "bad-input/cut-character",
            "a message that ends inside a character does not end the server",
            NETWORK,
            [sends(SHORT), posts("a message that ends inside a character", *b"012345678\xc3"), survives(serve)],
        )
        .info(),
        case(
            "bad-input/binary-rest",
            "what follows the first ten characters comes back as it is",
            EXERCISE,
            [sends(SHORT), sends_binary(), survives(serve)],
        )
        .info()
        .hint("only the first ten characters need to be decoded: what follows them may be binary"),
        case(
            "sequential/new-client",
            "a second client is served after the first one",
            "003, 3 Test cases 3(a) Client disconnects, new client connects",
            [sends(SHORT), client(), sends(THREE[1]), client(), sends(THREE[2])],
        )
        .hint(FIRST_ONLY),
        case(
            "sequential/by-turns",
            "clients that send by turns get their own replies",
            SERVER,
            [
                sends(SHORT),
                client(),
                sends(THREE[1]),
                on_client(1),
                sends(THREE[2]),
                on_client(2),
                sends(UMLAUTS),
                on_client(1),
                sends(SHORT),
            ],
        )
        .hint(FIRST_ONLY),
        case(
            "restart/port",
            "the server can be started again at once, at the same port",
            SERVER,
            [sends(SHORT), restart(), info(sends(SHORT))],
        )
        .info(),
    ]
}

/// Sends a message and receives its reply.
fn sends(message: &str) -> Step {
    let text = format!("send a {} and receive its reply", named(message));
    let message = message.to_owned();
    step(text, move |talk| exchange(talk, &message))
}

fn serve(talk: &mut Talk) -> Outcome {
    exchange(talk, "a message of another client")
}

fn sends_binary() -> Step {
    step(
        "send a message with binary data behind its first ten characters, and receive its reply",
        |talk| {
            talk.post(BINARY)?;
            receive_reply(talk, BINARY)
        },
    )
}

/// Receives replies in any order: nothing is ordered.
fn receive_replies(talk: &mut Talk, messages: &[String]) -> Outcome {
    let mut left: Vec<&String> = messages.iter().collect();
    while let Some(first) = left.first() {
        let what = match left.len() {
            1 => "the reply".to_owned(),
            n => format!("one of {n} replies"),
        };
        let arrived = talk
            .expect(&what)
            .map_err(|failure| talk.at_another_client(failure, rest(first).as_bytes()))?;
        talk.is_from_program(&arrived)?;
        match left.iter().position(|message| rest(message).as_bytes() == arrived.bytes) {
            Some(i) => {
                left.remove(i);
            }
            None => {
                let failure =
                    Failure::new(Kind::Different, "the reply to none of the messages arrived");
                let failure = failure.bytes(rest(first), arrived.bytes);
                return Err(with_reply_hint(failure.into(), first.as_bytes()));
            }
        }
    }
    Ok(())
}

fn post_all(talk: &mut Talk, messages: &[String]) -> Outcome {
    messages.iter().try_for_each(|message| talk.post(message.as_bytes()))
}

fn in_parallel(messages: &'static [&'static str]) -> Step {
    step(format!("send {} messages, then receive the replies", messages.len()), |talk| {
        let messages = messages.iter().map(ToString::to_string).collect::<Vec<_>>();
        post_all(talk, &messages)?;
        receive_replies(talk, &messages)
    })
}

fn twenty() -> Step {
    step("send 20 messages, then receive the replies", |talk| {
        let messages: Vec<String> =
            (0..20).map(|n| format!("message {n:02} of 20: {}", text_of(n * 7))).collect();
        post_all(talk, &messages)?;
        receive_replies(talk, &messages)
    })
}

/// Sends as two clients before either receives.
fn both_wait() -> Step {
    step("send as two clients by turns, then receive the replies of each", |talk| {
        talk.open()?;
        let of = |client: usize| (0..3).map(move |n| format!("0123456789 {n} of client {client}"));
        for n in 0..3 {
            for client in [1, 2] {
                talk.use_connection(client - 1);
                talk.post(of(client).nth(n).unwrap_or_default().as_bytes())?;
            }
        }
        for client in [1, 2] {
            talk.use_connection(client - 1);
            receive_replies(talk, &of(client).collect::<Vec<_>>())?;
        }
        Ok(())
    })
}

/// Sends a long message, and a short one after it. The long one may have no reply, but not a part of one.
fn whole_or_nothing(length: usize) -> Step {
    step(
        format!(
            "send a message of {length} bytes and a short one; receive the whole reply or none, and the short reply"
        ),
        move |talk| {
            let message = text_of(length);
            if !talk.has_found() {
                exchange(talk, SHORT)?;
            }
            talk.post(message.as_bytes())?;
            talk.post(SHORT.as_bytes())?;
            loop {
                let arrived = talk.expect("the reply to the short message")?;
                talk.is_from_program(&arrived)?;
                if arrived.bytes == rest(SHORT).as_bytes() {
                    return Ok(());
                }
                if arrived.bytes != rest(&message).as_bytes() {
                    let text = format!("the reply to a message of {length} bytes is wrong");
                    let failure = Failure::new(Kind::Different, text);
                    return Err(failure.bytes(rest(&message), arrived.bytes).into());
                }
            }
        },
    )
}

fn vanished(count: usize) -> Step {
    let clients = match count {
        1 => "a client that closes its socket".into(),
        _ => format!("{count} clients that close their sockets"),
    };
    step(format!("send a message as {clients} at once"), move |talk| {
        (0..count).try_for_each(|_| talk.post_and_vanish(SHORT.as_bytes()))
    })
}
