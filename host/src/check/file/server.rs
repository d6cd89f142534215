//! The program is the server.

use std::sync::OnceLock;
use std::time::Duration;

use super::super::case::{Case, Group, Step, case, step};
use super::super::setup::Role;
use super::super::steps::{
    byte_by_byte, close, closed, closed_or_reset, connect, half_close, info, pause, random_pieces,
    reset, restart, settled, slowly, survives,
};
use super::super::talk::{Outcome, Talk};
use super::{BLOCK, ENDINGS, NOTES, STREAM, TRANSFER, binary, has_newline, mistake, text};
use crate::faults::Faults;

/// Returns a file that no system keeps in its buffers, if the client does not read.
fn large() -> &'static [u8] {
    static LARGE: OnceLock<Vec<u8>> = OnceLock::new();
    LARGE.get_or_init(|| binary(8 * 1024 * 1024))
}

pub(super) fn cases(has_newline: bool) -> Vec<Case> {
    let mut cases = table(has_newline);
    for case in &mut cases {
        case.files.push(("notes.txt", NOTES.into()));
        // Without a newline the document gives no way to know where the name ends.
        if !has_newline
            && matches!(case.group, Group::Segmentation | Group::Slow)
            && case.name != "reader"
        {
            case.is_info = true;
        }
    }
    cases
}

fn table(has_newline: bool) -> Vec<Case> {
    let mut cases = vec![
        fetched(
            "basic/text",
            "the server sends the bytes of the file and closes the connection",
            "poem.txt",
            NOTES.into(),
        ),
        fetched("basic/one-byte", "a file may have one byte", "one.bin", b"x".to_vec()),
        fetched(
            "basic/one-block",
            "a file may be exactly one block of 1024 bytes",
            "block.bin",
            binary(BLOCK),
        ),
        fetched(
            "basic/block-and-a-byte",
            "a file may have one byte more than a block",
            "more.bin",
            binary(BLOCK + 1),
        ),
        fetched(
            "basic/several-blocks",
            "a file may have several blocks, the last of them a short one",
            "long.txt",
            text(5000),
        ),
        fetched(
            "basic/binary",
            "a file may contain any bytes, and any number of blocks",
            "picture.bin",
            binary(300_000),
        ),
        fetched(
            "basic/empty",
            "for an empty file the server closes the connection without a byte",
            "empty.txt",
            Vec::new(),
        ),
        fetched(
            "basic/name-with-spaces",
            "a file name may contain spaces",
            "my first file.txt",
            text(100),
        ),
        case(
            "segmentation/one-byte",
            "the name may arrive one byte at a time",
            STREAM,
            [connect(), byte_by_byte(), ask("notes.txt"), file(NOTES), closed()],
        )
        .hint(PIECES),
        case(
            "segmentation/two-pieces",
            "the name may arrive in two pieces",
            STREAM,
            [connect(), ask_cut("notes.txt", 5), file(NOTES), closed()],
        )
        .hint(PIECES),
        case(
            "segmentation/random",
            "the name may arrive in pieces of any size",
            STREAM,
            [connect(), random_pieces(), ask("notes.txt"), file(NOTES), closed()],
        )
        .hint(PIECES),
        case(
            "segmentation/with-the-end",
            "the name may arrive in two pieces, with the end of the client's stream behind it",
            STREAM,
            [connect(), ask_cut("notes.txt", 5), half_close(), file(NOTES), closed()],
        )
        .hint(PIECES),
        case(
            "coalescing/with-the-end",
            "the name and the end of the client's stream may arrive at once",
            ENDINGS,
            [connect(), ask("notes.txt"), half_close(), file(NOTES), closed()],
        )
        .hint("a client may close its sending side and still read: send the file all the same"),
        case(
            "slow/name",
            "the bytes of the name may arrive with pauses",
            STREAM,
            [connect(), slowly(Duration::from_millis(40)), ask("notes.txt"), file(NOTES), closed()],
        )
        .hint(PIECES),
        case(
            "slow/reader",
            "a client that reads slowly gets the whole file",
            TRANSFER,
            [
                connect(),
                small_buffer(),
                ask("large.bin"),
                start_of_large(),
                pause(450),
                large_buffer(),
                file(large().get(BLOCK..).unwrap_or_default()),
                closed(),
            ],
        )
        .hint("send() may take only a part of the bytes, or none on a socket that does not block: use sendall()")
        .file("large.bin", large()),
        case(
            "close/after-connect",
            "a client that leaves at once does not end the server",
            ENDINGS,
            [connect(), close(), info(survives(fetch))],
        ),
        case(
            "close/without-a-name",
            "a client that closes its sending side without a name gets nothing",
            ENDINGS,
            [connect(), half_close(), no_byte(), survives(fetch)],
        )
        .info(),
        case(
            "close/inside-file",
            "a client that leaves before the end of the file does not end the server",
            ENDINGS,
            [
                connect(),
                small_buffer(),
                ask("large.bin"),
                start_of_large(),
                close(),
                info(survives(fetch)),
            ],
        )
        .file("large.bin", large()),
        case(
            "reset/after-connect",
            "a client that resets the connection does not end the server",
            ENDINGS,
            [connect(), reset(), survives(fetch)],
        )
        .info(),
        case(
            "reset/inside-name",
            "a client that resets the connection in the middle of the name does not end the server",
            ENDINGS,
            [
                connect(),
                step("send half a name", |talk| talk.send(b"not")),
                settled(),
                reset(),
                survives(fetch),
            ],
        )
        .info(),
        case(
            "reset/inside-file",
            "a client that resets the connection before the end of the file does not end the server",
            ENDINGS,
            [
                connect(),
                small_buffer(),
                ask("large.bin"),
                start_of_large(),
                reset(),
                survives(fetch),
            ],
        )
        .info()
        .file("large.bin", large()),
        case(
            "bad-input/missing-file",
            "for a file that does not exist the server sends no byte and ends the connection, and serves the next client",
            TRANSFER,
            [connect(), ask("missing.txt"), no_byte(), survives(fetch)],
        )
        .hint("catch the error of open(), and close that connection only"),
        case(
            "bad-input/folder",
            "for the name of a folder the server sends no byte, and serves the next client",
            TRANSFER,
            [connect(), ask("."), no_byte(), survives(fetch)],
        )
        .info()
        .hint("catch the error of open(), and close that connection only"),
        case(
            "bad-input/outside-of-the-folder",
            "a server should send no file that is outside its folder",
            TRANSFER,
            [connect(), ask("../outside.txt"), closed_or_reset()],
        )
        .info()
        .file("../outside.txt", "content outside the folder\n")
        .hint("any client can fetch any file of this computer: refuse names with .. and those that start with /"),
        case(
            "bad-input/long-name",
            "a name that is too long for a file does not end the server",
            TRANSFER,
            [
                connect(),
                step("send a name of 2000 bytes", |talk| {
                    let name = request(talk, &"x".repeat(2000));
                    talk.send(&name)
                }),
                half_close(),
                no_byte(),
                survives(fetch),
            ],
        )
        .info()
        .hint("catch the error of open(), and close that connection only"),
        fetched(
            "bad-input/other-characters",
            "a file name may have characters beyond ASCII, in UTF-8",
            "Zoë.txt",
            text(200),
        )
        .info(),
        case(
            "sequential/second-client",
            "the server serves another client after the first one",
            TRANSFER,
            [
                connect(),
                ask("other.bin"),
                file(binary(3000)),
                closed(),
                close(),
                next_client(),
                next_client(),
            ],
        )
        .info()
        .file("other.bin", binary(3000)),
        case(
            "sequential/at-the-same-time",
            "a client that sends no name does not keep others waiting",
            TRANSFER,
            [connect(), next_client()],
        )
        .info()
        .hint("the server serves one client at a time: others wait until it has left"),
        case(
            "restart/port",
            "the server can be started again at once, at the same port",
            "003, 2.2 Setting up and using a server socket",
            [connect(), ask("notes.txt"), file(NOTES), closed(), restart(), next_client()],
        )
        .info(),
    ];
    let end = if has_newline { "\r\n" } else { "\n" };
    cases.push(
        case(
            "bad-input/line-end",
            if has_newline {
                "a name may end as on Windows, with a carriage return before the newline"
            } else {
                "a newline after the name is not part of the name"
            },
            TRANSFER,
            [
                connect(),
                step("send the name with its line end", move |talk| {
                    talk.send(format!("notes.txt{end}").as_bytes())
                }),
                file(NOTES),
            ],
        )
        .info()
        .hint("the newline was taken for a part of the name: strip() it"),
    );
    cases
}

const PIECES: &str = "one recv() was probably taken for the whole name: TCP may deliver it in pieces, so repeat recv() up to \
                      a newline, the end of the stream, or a pause";

/// Returns a case in which a file is fetched.
fn fetched(
    path: &'static str,
    requirement: &'static str,
    name: &'static str,
    content: Vec<u8>,
) -> Case {
    let steps = [connect(), ask(name), file(content.clone()), closed()];
    case(path, requirement, TRANSFER, steps).file(name, content)
}

fn request(talk: &Talk, name: &str) -> Vec<u8> {
    let end = if has_newline(&talk.setup.wire) { "\n" } else { "" };
    format!("{name}{end}").into_bytes()
}

/// Sends the name of a file.
fn ask(name: &'static str) -> Step {
    step(format!("send the name \"{name}\""), move |talk| {
        let request = request(talk, name);
        talk.send(&request)
    })
}

/// Sends the name of a file in two writes.
fn ask_cut(name: &'static str, at: usize) -> Step {
    step(format!("send the name \"{name}\" in two writes"), move |talk| {
        let request = request(talk, name);
        let (front, back) = request.split_at(at);
        talk.send_parts([front, back])
    })
}

/// Makes the program wait until the file is read.
fn small_buffer() -> Step {
    step("take a small buffer for what arrives", |talk| talk.set_buffer(16 * 1024))
}

/// Makes a large file arrive fast.
fn large_buffer() -> Step {
    step("take a large buffer for what arrives", |talk| talk.set_buffer(4 * 1024 * 1024))
}

/// Receives a whole file.
fn file(content: impl Into<Vec<u8>>) -> Step {
    let content = content.into();
    let bytes = if content.len() == 1 { "byte" } else { "bytes" };
    step(format!("receive the file, {} {bytes}", content.len()), move |talk| {
        receive(talk, &content)
    })
}

fn receive(talk: &mut Talk, content: &[u8]) -> Outcome {
    talk.receive_exactly("the file", content).map_err(|mut failure| {
        let is_whole = talk.has_stream_ended();
        if let Some(bytes) = &failure.bytes {
            failure.hint = mistake(Role::Server, content, &bytes.actual, is_whole);
        }
        failure
    })
}

/// Receives the first block of the large file.
fn start_of_large() -> Step {
    step("receive the first block of the file", |talk| {
        receive(talk, large().get(..BLOCK).unwrap_or_default())
    })
}

/// Waits for the end of the connection. Nothing may come before it.
fn no_byte() -> Step {
    step("see the connection end without a byte", |talk| {
        talk.closed(true).map_err(|failure| match &failure.bytes {
            Some(bytes) if !bytes.actual.is_empty() => failure.hint(
                "the client takes what is sent for the file: send nothing, and close or reset the connection",
            ),
            _ => failure,
        })
    })
}

/// Fetches a file on the current connection.
fn fetch(talk: &mut Talk) -> Outcome {
    let request = request(talk, "notes.txt");
    talk.send(&request)?;
    receive(talk, NOTES.as_bytes())?;
    talk.closed(true)?;
    // The server may wait for it.
    talk.close()
}

/// Fetches a file as another client.
fn next_client() -> Step {
    step("fetch a file as another client", |talk| {
        talk.set_faults(Faults::default());
        talk.connect()?;
        fetch(talk)
    })
}
