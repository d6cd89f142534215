//! Cases of a server.

use std::time::Duration;

use super::super::case::{Case, Step, case, step};
use super::super::steps::{
    byte_by_byte, close, closed_or_reset, connect, half_close, idles, info, on_connection,
    random_pieces, reset, restart, send, send_parts, slowly, survives,
};
use super::super::talk::{Outcome, Talk};
use super::{
    BUFFERING, ENDINGS, FORMAT, SERVER, UMLAUTS, exchange, message, receive_reply, text_of,
};
use crate::faults::Faults;

const BUFFER: &str = "one recv() returns at most as many bytes as its argument: repeat it until the whole payload has arrived";
const DECODED: &str = "one recv() was probably taken for one whole message, or each piece was decoded by itself: collect all bytes first, then decode them";
const SHORT: &str = "Four score and seven years ago";

pub(super) fn cases(h: usize) -> Vec<Case> {
    // Longer than the buffers of 1024 and 4096 bytes that the document uses, and several times that.
    let (medium, long) = (text_of(1034), text_of(20_000));
    vec![
        case(
            "basic/short-message",
            "a short message comes back without its first ten characters",
            "003, 3 Test cases 1(a) Short message",
            [connect(), sends(h, SHORT)],
        ),
        case(
            "basic/medium-message",
            "a message that is slightly longer than the buffer comes back without its first ten characters",
            "003, 3 Test cases 1(b) Medium message",
            [connect(), sends(h, &medium), sends(h, &text_of(4106))],
        ),
        case(
            "basic/long-message",
            "a message that is several times longer than the buffer comes back without its first ten characters",
            "003, 3 Test cases 1(c) Long message",
            [connect(), sends(h, &long)],
        )
        .hint(BUFFER),
        case(
            "basic/multiple-messages-in-series",
            "three messages, each sent after the reply to the one before, get a reply each",
            "003, 3 Test cases 1(d) Multiple messages in \"series\"",
            [connect(), sends(h, SHORT), sends(h, "the second message"), sends(h, "and the third message")],
        ),
        case(
            "basic/multiple-messages-in-parallel",
            "three messages that are sent before the first reply is read get a reply each, in order",
            "003, 3 Test cases 1(e) Multiple messages in \"parallel\"",
            [connect(), in_parallel(h, &[SHORT, "the second message", "and the third message"], true)],
        ),
        case(
            "basic/70000-bytes",
            "a message may be longer than 65535 bytes: its length has 4 bytes",
            FORMAT,
            if h == 2 { vec![connect(), sends(h, &text_of(65_535))] } else { vec![connect(), sends(h, &text_of(70_000))] },
        )
        .hint("the program seems to use a length of 2 bytes, not 4; if that is what your course wants, check with --wire header=2"),
        case(
            "basic/spaces",
            "white space is part of a message",
            SERVER,
            [connect(), sends(h, "ten chars:  two spaces at both ends  ")],
        ),
        case(
            "basic/ten-characters",
            "ten characters are removed, not ten bytes, and the length counts bytes",
            SERVER,
            [connect(), sends(h, UMLAUTS), sends(h, "🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂🙂")],
        ),
        case(
            "basic/short-payloads",
            "a message of ten characters or fewer comes back empty",
            SERVER,
            [connect(), sends(h, "0123456789"), sends(h, "short"), sends(h, ""), sends(h, "0123456789x")],
        )
        .hint("the reply to a message of ten characters or fewer is a message too: length 0, without a payload"),
        case(
            "segmentation/one-byte",
            "a message may arrive one byte at a time",
            BUFFERING,
            [connect(), byte_by_byte(), sends(h, SHORT), sends(h, UMLAUTS)],
        ),
        case(
            "segmentation/every-boundary",
            "a message may be cut between any two of its bytes",
            BUFFERING,
            [
                connect(),
                step("send messages that are cut at each place in turn, and receive each reply", move |talk| {
                    let bytes = message(h, SHORT);
                    (1..bytes.len()).try_for_each(|cut| {
                        let (front, back) = bytes.split_at(cut);
                        talk.send_parts([front, back])?;
                        receive_reply(talk, h, &[SHORT])
                    })
                }),
            ],
        ),
        case(
            "segmentation/length-apart",
            "the length and the payload may arrive apart",
            BUFFERING,
            [
                connect(),
                send_parts("the length, then the payload", parts(&message(h, SHORT), &[h])),
                reply(h, SHORT),
            ],
        ),
        case(
            "segmentation/inside-a-character",
            "a message may be cut inside a character",
            BUFFERING,
            [
                connect(),
                // After the first byte of ä, of ç, of å and of the snowman.
                send_parts("a message cut inside characters", parts(&message(h, UMLAUTS), &[h + 1, h + 15, h + 19, h + 43])),
                reply(h, UMLAUTS),
            ],
        )
        .hint(DECODED),
        case(
            "segmentation/random",
            "a long message may arrive in pieces of any size",
            BUFFERING,
            [connect(), random_pieces(), sends(h, &long)],
        ),
        case(
            "coalescing/two-messages",
            "two messages may arrive at once",
            BUFFERING,
            [connect(), in_parallel(h, &[SHORT, UMLAUTS], false)],
        ),
        case(
            "coalescing/message-and-a-half",
            "a message may arrive together with the start of the next one",
            BUFFERING,
            [connect(), message_and_a_half(h)],
        ),
        case(
            "coalescing/fifty-messages",
            "many messages may arrive at once",
            BUFFERING,
            [connect(), fifty(h)],
        ),
        case(
            "slow/bytes-apart",
            "the bytes of a message may arrive with pauses",
            BUFFERING,
            [connect(), slowly(Duration::from_millis(40)), sends(h, "0123456789 slowly")],
        ),
        case(
            "slow/reader",
            "a client may read a long reply late",
            BUFFERING,
            [connect(), late_reader(h)],
        )
        .hint("send() may send only a part of a long message: use sendall()"),
        case(
            "close/between-messages",
            "when a client has disconnected, the server listens for a new connection",
            SERVER,
            [connect(), sends(h, SHORT), close(), next_client(h)],
        ),
        case(
            "close/at-once",
            "a client may disconnect without a message",
            ENDINGS,
            [connect(), close(), next_client(h)],
        ),
        case(
            "close/inside-length",
            "a client may disconnect in the middle of a length",
            ENDINGS,
            [connect(), send("half a length", vec![0; h / 2]), close(), next_client(h)],
        ),
        case(
            "close/inside-payload",
            "a client may disconnect in the middle of a payload",
            ENDINGS,
            [connect(), send("half a message", message(h, SHORT)[..20].to_vec()), close(), next_client(h)],
        ),
        case(
            "close/half-close",
            "a client that has closed its sending side gets its replies, and then the server closes too",
            ENDINGS,
            [connect(), send("a message", message(h, SHORT)), half_close(), reply(h, SHORT), closed_or_reset()],
        )
        .info(),
        case(
            "close/idle",
            "a client that leaves does not keep the processor busy",
            ENDINGS,
            [connect(), sends(h, SHORT), half_close(), idles(), close()],
        )
        .info(),
        case(
            "reset/between-messages",
            "a client may reset the connection",
            ENDINGS,
            [connect(), sends(h, SHORT), reset(), survives_for(h)],
        )
        .info(),
        case(
            "reset/inside-payload",
            "a client may reset the connection in the middle of a payload",
            ENDINGS,
            [connect(), send("half a message", message(h, SHORT)[..20].to_vec()), reset(), survives_for(h)],
        )
        .info(),
        case(
            "bad-input/not-utf8",
            "a payload that is not UTF-8 does not end the server",
            SERVER,
            [
                connect(),
                send("a payload that is not UTF-8", [&message(h, &"x".repeat(6))[..h], b"\xff\xfe\xc3\x28ab"].concat()),
                close(),
                survives_for(h),
            ],
        )
        .info()
        .hint("decode() fails for bytes that are not UTF-8: catch that error, and close this connection only"),
        case(
            "bad-input/greatest-length",
            "a client that announces the greatest length and leaves does not end the server",
            FORMAT,
            [connect(), send("the greatest length", [vec![0xff; h], b"0123456789".to_vec()].concat()), close(), survives_for(h)],
        )
        .info(),
        case(
            "sequential/client-disconnects-new-client-connects",
            "after a client has disconnected, a new client is served",
            "003, 3 Test cases 3(a) Client disconnects, new client connects",
            [connect(), sends(h, SHORT), close(), connect(), sends(h, "a message of the new client")],
        ),
        case(
            "sequential/five-clients",
            "one client after another is served",
            SERVER,
            [connect(), step("exchange a message as each of five clients", move |talk| {
                (0..5).try_for_each(|_| {
                    exchange(talk, h, SHORT)?;
                    talk.close()?;
                    talk.connect()
                })
            })],
        ),
        case(
            "sequential/at-the-same-time",
            "a client that is idle does not keep others waiting",
            SERVER,
            [connect(), connect(), sends(h, SHORT), on_connection(1), sends(h, UMLAUTS)],
        )
        .info()
        .hint("the server serves one client at a time: others wait until it has left"),
        case(
            "restart/port",
            "the server can be started again at once, at the same port",
            "003, 2.2 Setting up and using a server socket",
            [connect(), sends(h, SHORT), restart(), connect(), info(sends(h, SHORT))],
        )
        .info(),
    ]
}

/// Returns the parts between these offsets.
fn parts(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let ends = cuts.iter().copied().chain([bytes.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(ends).map(|(start, end)| bytes[start..end].to_vec()).collect()
}

/// Sends a message and receives its reply.
fn sends(header: usize, payload: &str) -> Step {
    let payload = payload.to_owned();
    let what = match payload.len() {
        n @ 0..=40 => format!("message of {n} bytes \"{payload}\""),
        n => format!("message of {n} bytes"),
    };
    step(format!("send a {what} and receive its reply"), move |talk| {
        exchange(talk, header, &payload)
    })
}

fn reply(header: usize, payload: &'static str) -> Step {
    step("receive the reply", move |talk| receive_reply(talk, header, &[payload]))
}

/// Sends messages, in a write each or in one, and then receives the replies.
fn in_parallel(header: usize, payloads: &'static [&'static str], apart: bool) -> Step {
    let writes = if apart { "" } else { " in one write" };
    step(
        format!("send {} messages{writes}, then receive the replies", payloads.len()),
        move |talk| {
            let messages: Vec<Vec<u8>> =
                payloads.iter().map(|payload| message(header, payload)).collect();
            if apart {
                messages.iter().try_for_each(|message| talk.send(message))?;
            } else {
                talk.send(&messages.concat())?;
            }
            (0..payloads.len()).try_for_each(|i| receive_reply(talk, header, &payloads[i..]))
        },
    )
}

fn message_and_a_half(header: usize) -> Step {
    step(
        "send a message and the start of the next one, receive the reply, and send the rest",
        move |talk| {
            let both = [message(header, SHORT), message(header, UMLAUTS)].concat();
            // The second length is cut too.
            for cut in [header + SHORT.len() + 1, header + SHORT.len() + header + 7] {
                let (front, back) = both.split_at(cut);
                talk.send(front)?;
                receive_reply(talk, header, &[SHORT, UMLAUTS])?;
                talk.send(back)?;
                receive_reply(talk, header, &[UMLAUTS])?;
            }
            Ok(())
        },
    )
}

fn fifty(header: usize) -> Step {
    step("send 50 messages in one write, then receive the replies", move |talk| {
        let payloads: Vec<String> =
            (0..50).map(|n| format!("message {n:03} of 50: {}", text_of(n * 7))).collect();
        let messages: Vec<u8> =
            payloads.iter().flat_map(|payload| message(header, payload)).collect();
        talk.send(&messages)?;
        let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
        (0..payloads.len()).try_for_each(|i| receive_reply(talk, header, &payloads[i..]))
    })
}

fn late_reader(header: usize) -> Step {
    step("send a long message, and read the reply late", move |talk| {
        // Longer than the buffers of both systems.
        let payload = text_of(if header == 2 { 60_000 } else { 400_000 });
        talk.set_buffer(32_768)?;
        talk.send(&message(header, &payload))?;
        talk.pause(Duration::from_millis(200))?;
        talk.set_buffer(1 << 20)?;
        receive_reply(talk, header, &[&payload])
    })
}

fn serve(talk: &mut Talk, header: usize) -> Outcome {
    talk.set_faults(Faults::default());
    exchange(talk, header, "a message of another client")
}

/// Connects as another client, and exchanges a message.
fn next_client(header: usize) -> Step {
    step("exchange a message as another client", move |talk| {
        talk.connect()?;
        serve(talk, header)
    })
}

fn survives_for(header: usize) -> Step {
    if header == 2 { survives(|talk| serve(talk, 2)) } else { survives(|talk| serve(talk, 4)) }
}
