//! A file server is asked anything, cut anyhow, ended anyhow, silent anywhere.
//!
//! Invariant: no panic, no stall, no law of `Machine` broken; any cut, the same transcript; what is
//! sent is the reply that the request of the first line gets, or its beginning; without a request
//! nothing is, and a line that is none ends with a reset.
#![no_main]

use libfuzzer_sys::fuzz_target;
use socklab_core::file::{Form, Request, Server};
use socklab_core::machine::StreamEnd;
use socklab_fuzz::{Front, first, plan, unmarked};
use socklab_tests::draw::Draw;
use socklab_tests::oracle::file_reply;
use socklab_tests::role::{FileServer, FileServerEvent};
use socklab_tests::script::{Outcome, Plan, Script, compare_plans_of_script};

fuzz_target!(|data: &[u8]| {
    let mut draw = Draw::new(data);
    let (plan, end, refuses) = plan::<Server>(&mut draw);
    let file: Vec<u8> = (0..draw.byte()).collect();
    let silence = usize::from(draw.byte());
    let bytes = draw.rest();
    let role = if refuses { FileServer::refusing(b"no") } else { FileServer::new(&file) };
    // 0: it is never silent.
    let pauses = if silence == 0 { vec![] } else { vec![silence] };
    let script = Script { bytes, pauses: &pauses, end };
    let transcript = compare_plans_of_script(&role, &script, &Plan::whole(), &plan)
        .unwrap_or_else(|e| panic!("{e}"));

    // NULs behind a name are a C program's.
    let is_bare = |text: &[u8]| {
        let end = text.iter().rposition(|byte| *byte != 0);
        end.is_some_and(|end| !text[..end].contains(&0))
    };
    let silent =
        bytes.get(..silence).map(unmarked).filter(|text| !text.contains(&b'\n') && is_bare(text));
    let line = match (silent, first(bytes)) {
        (Some(text), _) => Some(text),
        (None, Front::Line(text, _)) => Some(text),
        (None, Front::Part(text)) if end == Some(StreamEnd::Closed) && is_bare(text) => Some(text),
        (None, Front::Part(_)) => None,
        (None, Front::TooLong) => {
            let text = unmarked(&bytes[..1025]);
            Some(if is_bare(text) && text.ends_with(&[0]) { text } else { &[][..] })
        }
    };
    let request = line.map(Request::parse);
    match request {
        None => assert_eq!((transcript.emitted.len(), transcript.sent.len()), (0, 0)),
        Some(Err(_)) => {
            assert!(matches!(transcript.events()[..], [FileServerEvent::Malformed(_)]));
            assert_eq!((transcript.sent.len(), transcript.outcome), (0, Outcome::Abort));
        }
        Some(Ok(Request { name, form })) => {
            assert_eq!(transcript.events(), [FileServerEvent::Request(name.to_vec(), form)]);
            let offset = usize::try_from(form.offset()).unwrap_or(usize::MAX);
            let reply = match form {
                Form::Plain if refuses => vec![],
                Form::Plain => file,
                Form::Checked { .. } if refuses => b"-no\n".to_vec(),
                Form::Checked { .. } if offset > file.len() => b"-too short\n".to_vec(),
                Form::Checked { .. } => file_reply(&file, offset),
            };
            match transcript.outcome {
                Outcome::Done => assert_eq!(transcript.sent, reply),
                Outcome::Abort => assert!(refuses && form == Form::Plain),
                _ => assert!(reply.starts_with(&transcript.sent)),
            }
        }
    }
});
