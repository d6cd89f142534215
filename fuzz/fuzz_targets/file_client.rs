//! A file client asks for the fuzzer's offset in the fuzzer's form, and gets any reply.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; any cut, the same transcript; a
//! checked file is reported only if size, body and checksum in the input are right; a plain one is all
//! of the input, and succeeds only with an orderly close.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::file::{Client, Form, SIZE_MAX};
use socklab_core::machine::StreamEnd;
use socklab_fuzz::{Front, front, plan};
use socklab_tests::draw::Draw;
use socklab_tests::role::{FileClient, FileEvent};
use socklab_tests::script::{Outcome, Plan, compare_plans};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let (plan, end, is_plain) = plan::<Client>(&mut draw);
    let offset = u64::from(draw.byte());
    let bytes = draw.rest();
    let form = if is_plain { Form::Plain } else { Form::Checked { offset } };
    let role = FileClient::new(b"notes.txt", form);
    // It is never silent here.
    let is_bare = is_plain && offset % 2 == 1;
    let role = if is_bare { role.bare() } else { role };
    let transcript =
        compare_plans(&role, bytes, end, &Plan::whole(), &plan).unwrap_or_else(|e| panic!("{e}"));

    let mut told = vec![];
    let mut done = false;
    let body = |bytes: &[u8]| (!bytes.is_empty()).then(|| FileEvent::Body(bytes.to_vec()));
    match (form, bytes) {
        (Form::Plain, _) => {
            told.extend(body(bytes));
            done = end == Some(StreamEnd::Closed);
            told.extend(done.then_some(FileEvent::Closed));
        }
        (_, [b'+', s0, s1, s2, s3, s4, s5, s6, s7, rest @ ..]) => {
            let size = u64::from_be_bytes([*s0, *s1, *s2, *s3, *s4, *s5, *s6, *s7]);
            if (offset..=SIZE_MAX).contains(&size) {
                told.push(FileEvent::Found(size));
                let length = usize::try_from(size - offset).unwrap_or(usize::MAX);
                let (part, rest) = rest.split_at(length.min(rest.len()));
                told.extend(body(part));
                if let (true, Some(crc)) = (part.len() == length, rest.first_chunk()) {
                    told.push(FileEvent::Crc(u32::from_be_bytes(*crc)));
                    done = true;
                }
            }
        }
        (_, [b'-', rest @ ..]) => {
            let reason = match front(rest) {
                Front::Line(text, _) => Some(text),
                Front::Part(_) | Front::TooLong => None,
            };
            done = reason.is_some();
            told.extend(reason.map(|reason| FileEvent::Refused(reason.to_vec())));
        }
        _ => {}
    }
    assert_eq!(transcript.events(), told);
    assert_eq!(transcript.outcome == Outcome::Done, done);
    let request = match (is_plain, is_bare) {
        (_, true) => "notes.txt".into(),
        (true, false) => "notes.txt\n".into(),
        (false, _) => format!("notes.txt\0v1\0{offset}\n"),
    };
    assert_eq!(transcript.sent, request.as_bytes());
    // After an end nothing is waited for.
    assert!(end.is_none() || !matches!(transcript.outcome, Outcome::Waiting(_)));
});
