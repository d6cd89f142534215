//! The program is the client.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use socklab_core::file::{Form, Request};

use super::super::case::{Case, Step, case, step};
use super::super::failure::{Failure, Kind};
use super::super::placeholders;
use super::super::setup::Role;
use super::super::steps::{
    accept, byte_by_byte, close, ends, half_close, info, pause, pieces_of, random_pieces, reset,
    send, send_parts, settled, slowly, without_crash, without_error,
};
use super::super::talk::{Outcome, Parsed, Talk};
use super::{BLOCK, ENDINGS, NOTES, STREAM, TRANSFER, binary, mistake, request_mistake, text};
use crate::net::reason;
use crate::sys::Exit;
use crate::text::one_line;

/// Names of a file on the server and at the client.
const REMOTE: &str = "report.bin";
const LOCAL: &str = "fetched.bin";
/// Content of a file that is there before.
const OLD: &str = "An older file of the same name, which is longer than the new one is.\n";

pub(super) fn cases() -> Vec<Case> {
    let middle = binary(3000);
    vec![
        whole("basic/text", "the client writes the bytes that arrive to its file", NOTES.into()),
        whole("basic/one-byte", "a file may have one byte", b"x".to_vec()),
        whole("basic/one-block", "a file may be exactly one block of 1024 bytes", binary(BLOCK)),
        whole("basic/block-and-a-byte", "a file may have one byte more than a block", binary(BLOCK + 1)),
        whole("basic/several-blocks", "a file may have several blocks, the last of them a short one", text(5000)),
        whole("basic/binary", "a file may contain any bytes, and any number of blocks", binary(300_000)),
        fetch(
            "basic/name-with-spaces",
            "a file name may contain spaces",
            TRANSFER,
            "my first file.txt",
            text(100),
            |content| vec![send("the file", content)],
        ),
        pieces("segmentation/one-byte", "the file may arrive one byte at a time", NOTES.into(), |content| {
            vec![byte_by_byte(), send("the file", content)]
        }),
        pieces("segmentation/pieces-of-1000", "the file may arrive in pieces that are not blocks", binary(10_000), |content| {
            vec![pieces_of(1000), send("the file", content)]
        }),
        pieces("segmentation/short-piece-first", "a short piece is not the end of the file", text(4000), |content| {
            vec![send_parts("the file", [content[..10].to_vec(), content[10..].to_vec()])]
        }),
        pieces("segmentation/random", "the file may arrive in pieces of any size", binary(6000), |content| {
            vec![random_pieces(), send("the file", content)]
        }),
        fetch(
            "coalescing/closed-at-once",
            "the file and the close may arrive at once",
            STREAM,
            REMOTE,
            text(600),
            |content| vec![send("the file", content), close()],
        ),
        pieces("slow/bytes-apart", "the bytes of the file may arrive with pauses", b"ten bytes\n".to_vec(), |content| {
            vec![slowly(Duration::from_millis(40)), send("the file", content)]
        }),
        pieces("slow/pause-inside", "a pause is not the end of the file", binary(3000), |content| {
            vec![
                send("a part of the file", content[..1500].to_vec()),
                pause(300),
                send("the rest", content[1500..].to_vec()),
            ]
        }),
        fetch(
            "close/inside-block",
            "the close is the end of the file, wherever it comes",
            ENDINGS,
            REMOTE,
            binary(1500),
            |content| vec![send("a block and a half", content), close()],
        ),
        lost(
            "close/without-a-byte",
            "a server that closes without a byte has an empty file, or none: the client ends",
            [requested(REMOTE), half_close()],
            [info(empty_or_none())],
        ),
        lost(
            "close/before-name",
            "a server that closes at once ends the client",
            [close()],
            [info(empty_or_none())],
        ),
        lost(
            "reset/before-name",
            "a server that resets at once ends the client",
            [reset()],
            [info(empty_or_none())],
        ),
        lost(
            "reset/after-name",
            "a server that resets the connection after the name has no such file: the client ends",
            [requested(REMOTE), reset()],
            [info(empty_or_none())],
        ),
        lost(
            "reset/inside-file",
            "a server that resets the connection in the middle of the file ends the client, which does not report success",
            [requested(REMOTE), send("a part of the file", middle), settled(), reset()],
            [info(no_success())],
        ),
        lost(
            "bad-input/missing-keeps-local",
            "a file that cannot be fetched leaves an existing file of the client untouched",
            [requested(REMOTE), reset()],
            [info(untouched())],
        )
        .info()
        .file(LOCAL, OLD)
        .hint("the client's file was opened for writing before the first byte had arrived: open it then"),
        fetch(
            "bad-input/other-characters",
            "a file name may have characters beyond ASCII, in UTF-8",
            TRANSFER,
            "Zoë.txt",
            text(100),
            |content| vec![send("the file", content)],
        )
        .info(),
        whole("sequential/existing-local", "an existing file of the client is replaced", text(40)).file(LOCAL, OLD),
    ]
}

/// Returns a case in which a file is fetched. `events` sends it.
fn fetch(
    path: &'static str,
    requirement: &'static str,
    source: &'static str,
    name: &'static str,
    content: Vec<u8>,
    events: fn(Vec<u8>) -> Vec<Step>,
) -> Case {
    let mut steps = vec![accept(), requested(name)];
    steps.extend(events(content.clone()));
    steps.extend([half_close(), ends(), written(content), without_error()]);
    case(path, requirement, source, steps).input("remote", name).local(LOCAL)
}

/// Returns a case in which a file is sent at once.
fn whole(path: &'static str, requirement: &'static str, content: Vec<u8>) -> Case {
    fetch(path, requirement, TRANSFER, REMOTE, content, |content| vec![send("the file", content)])
}

/// Returns a case in which a file is sent in pieces.
fn pieces(
    path: &'static str,
    requirement: &'static str,
    content: Vec<u8>,
    events: fn(Vec<u8>) -> Vec<Step>,
) -> Case {
    fetch(path, requirement, STREAM, REMOTE, content, events)
}

/// Returns a case in which the file does not come. `after`: what is checked at the end.
fn lost(
    path: &'static str,
    requirement: &'static str,
    events: impl IntoIterator<Item = Step>,
    after: impl IntoIterator<Item = Step>,
) -> Case {
    let mut steps = vec![accept()];
    steps.extend(events);
    // Our own client asks again in another form.
    let refuse = step("refuse another attempt", Talk::refuse_others);
    steps.extend([refuse, ends(), info(without_crash())]);
    steps.extend(after);
    case(path, requirement, ENDINGS, steps).input("remote", REMOTE).local(LOCAL)
}

/// Receives the name of the file.
fn requested(name: &'static str) -> Step {
    step(format!("receive the name \"{name}\""), move |talk| {
        if receive_name(talk, name)? == Form::Plain {
            return Ok(());
        }
        // Our own client asks in its own form first, and then in that of the document.
        talk.reset()?;
        talk.accept()?;
        receive_name(talk, name).map(|_| ())
    })
}

/// Receives the name of the file, and what may follow it: a newline, or the rest of a buffer of C.
fn receive_name(talk: &mut Talk, name: &str) -> Outcome<Form> {
    let mut form = Form::Plain;
    let expected = name.as_bytes();
    let parse = |bytes: &[u8]| {
        let common = bytes.len().min(expected.len());
        if bytes.get(..common) != expected.get(..common) {
            return Parsed::Wrong(Some(expected.to_vec()), "the name is wrong".to_owned());
        }
        let rest = bytes.get(expected.len()..);
        match (rest, bytes.strip_suffix(b"\n").map(Request::parse)) {
            (None, _) => Parsed::More,
            (Some(rest), _) if rest.iter().all(|byte| b"\r\n\0".contains(byte)) => {
                Parsed::Done(bytes.len())
            }
            (_, Some(Ok(request))) if request.form != Form::Plain => {
                form = request.form;
                Parsed::Done(bytes.len())
            }
            (Some([0, ..]), None) => Parsed::More,
            _ => Parsed::Wrong(Some(expected.to_vec()), "more than the name was sent".to_owned()),
        }
    };
    let typed = talk.setup.typed_names(&talk.inputs);
    talk.receive("the name of the file", parse).map_err(|mut failure| {
        if let Some(bytes) = &mut failure.bytes {
            bytes.expected = expected.to_vec();
            failure.hint = request_mistake(expected, bytes.actual.trim_ascii_end());
            // The name of another file.
            let is_other = !bytes.actual.is_empty() && failure.kind == Kind::Different;
            if failure.hint.is_none() && is_other {
                failure.hint = placeholders::names(&typed);
            }
        }
        failure
    })?;
    Ok(form)
}

/// Returns the path of the file that the client writes.
fn local(talk: &Talk) -> Option<PathBuf> {
    let values = &talk.inputs.values;
    values.iter().find(|(name, _)| *name == "local").map(|(_, path)| path.into())
}

/// Returns the content of the file that the client has written; `None` if there is none. Only `limit` bytes are read.
fn content(talk: &Talk, limit: usize) -> Outcome<Option<Vec<u8>>> {
    let Some(path) = local(talk) else { return Ok(None) };
    let mut bytes = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(limit as u64).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => {
            let text = format!("the client's file cannot be read: {}", reason(&e));
            Err(Failure::new(Kind::Output, text).into())
        }
    }
}

/// Checks the file that the client has written.
fn written(expected: Vec<u8>) -> Step {
    step("see these bytes in the client's file", move |talk| {
        let Some(actual) = content(talk, 2 * expected.len() + 64 * 1024)? else {
            return Err(no_file(talk));
        };
        if actual == expected {
            return Ok(());
        }
        let is_old = actual == OLD.as_bytes();
        let text = format!(
            "the client's file has {} bytes, and is not the one of {} bytes that was sent",
            actual.len(),
            expected.len()
        );
        // An error message says more than a file without a byte.
        let has_error = actual.is_empty()
            && talk.program.as_ref().is_some_and(|program| program.stderr.total() > 0);
        let hint = mistake(Role::Client, &expected, &actual, true).filter(|_| !has_error);
        let mut failure =
            Box::new(Failure::new(Kind::Output, text).bytes(expected.clone(), actual));
        failure.hint = hint;
        if is_old {
            return Err(failure.hint("the client's file is the one that was there before"));
        }
        Err(failure)
    })
}

/// Checks that the file that was there before is there still.
fn untouched() -> Step {
    step("see the older file untouched", |talk| {
        let actual = content(talk, 64 * 1024)?.unwrap_or_default();
        if actual == OLD.as_bytes() {
            return Ok(());
        }
        let text = match actual.len() {
            0 => "the client's older file was emptied or removed, although nothing was fetched",
            _ => "the client's older file was changed, although nothing was fetched",
        };
        Err(Failure::new(Kind::Output, text).bytes(OLD, actual).into())
    })
}

/// Returns the failure of a client that has written no file, or another one.
fn no_file(talk: &Talk) -> Box<Failure> {
    let failure = Box::new(Failure::new(Kind::Output, "the client has not written its file"));
    let others = talk.inputs.folder.as_ref().and_then(|folder| fs::read_dir(folder).ok());
    match others.into_iter().flatten().flatten().next() {
        Some(other) => {
            let name = one_line(&*other.file_name().to_string_lossy());
            if !talk.setup.is_argument("local") {
                let hint = placeholders::names(&["local"]).unwrap_or_default();
                return failure.hint(format!("a file \"{name}\" was written: {hint}"));
            }
            failure.hint(format!(
                "a file \"{name}\" was written: the last argument is the name of the file to write, the first one \
                 contains the name on the server"
            ))
        }
        None => failure,
    }
}

/// Checks that the client has written no bytes.
fn empty_or_none() -> Step {
    step("see no file, or an empty one", |talk| match content(talk, 64 * 1024)? {
        Some(actual) if !actual.is_empty() => {
            let text = format!("the client has written {} bytes, and none were sent", actual.len());
            Err(Failure::new(Kind::Output, text).bytes([], actual).into())
        }
        _ => Ok(()),
    })
}

/// Checks that a client with an incomplete file reports that.
fn no_success() -> Step {
    step("see the client report the failure", |talk| {
        let exit = talk.program.as_mut().and_then(|program| program.exit()).map(|(exit, _)| exit);
        match content(talk, 1)? {
            Some(bytes) if !bytes.is_empty() && exit == Some(Exit::Code(0)) => {
                let text =
                    "the program ended with exit code 0, and has left a file that is incomplete";
                let failure = Box::new(Failure::new(Kind::Output, text));
                Err(failure.hint("after a reset the file is incomplete: remove it, or end with another exit code"))
            }
            _ => Ok(()),
        }
    })
}
