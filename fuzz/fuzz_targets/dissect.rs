//! The dissectors are fed anything in pieces of any size.
//!
//! Invariant: no panic, also in `Display`; no stall; every byte is part of a message, but for less
//! than a header at the end; a dissector asks for more than it has, and never for more than a
//! header; whatever the cut, the lengths and payloads are the same.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use socklab_core::wire::{
    Dissect, Dissected, LINE_BYTES, LineMessage, LineMessages, PromptMessage, PromptMessages,
};
use socklab_core::{echo, math};
use socklab_fuzz::byte;

/// Dissects `bytes`, of which so many come at a time. How many are left at the end.
fn dissect<D: Dissect>(
    bytes: &[u8],
    mut pieces: impl Iterator<Item = usize>,
    header: usize,
    mut each: impl FnMut(D::Message<'_>),
) -> usize {
    let (mut dissector, mut start, mut end) = (D::default(), 0, 0);
    loop {
        match dissector.dissect(&bytes[start..end]) {
            Dissected::Message(taken, message) => {
                assert!(taken > 0 && taken <= end - start, "{taken} of {}", end - start);
                assert!(
                    !message.to_string().chars().any(|c| c.is_control() && c != '\n' && c != '\t')
                );
                each(message);
                start += taken;
                continue;
            }
            Dissected::Partial(wanted) => {
                assert!(wanted > end - start, "it has the {wanted} it asks for");
                assert!(wanted <= header, "it makes the caller keep {wanted} bytes");
            }
            Dissected::Unterminated => assert!(end - start < header, "it waits for ever"),
        }
        if end == bytes.len() {
            return end - start;
        }
        end = bytes.len().min(end + pieces.next().unwrap_or(1).max(1));
    }
}

fuzz_target!(|data: &[u8]| {
    let mut u = Unstructured::new(data);
    let pieces = [(); 4].map(|()| usize::from(byte(&mut u) % 32));
    let bytes = u.take_rest();
    let cut = || pieces.into_iter().cycle();
    let whole = || std::iter::once(bytes.len());

    let (mut one, mut two) = (vec![], vec![]);
    let a = dissect::<math::ClientBytes>(bytes, cut(), 4, |answer| one.push(answer.0));
    let b = dissect::<math::ClientBytes>(bytes, whole(), 4, |answer| two.push(answer.0));
    assert_eq!((a, one), (b, two));
    assert_eq!(a, bytes.len() % 4);

    // What is no message has no length: from there on the cut may show.
    let known = |message: &math::ServerMessage| !matches!(message, math::ServerMessage::Unknown(_));
    let (mut one, mut two) = (vec![], vec![]);
    dissect::<math::ServerBytes>(bytes, cut(), 9, |message| one.push(message));
    dissect::<math::ServerBytes>(bytes, whole(), 9, |message| two.push(message));
    let front = |all: &[_]| all.iter().copied().take_while(known).collect::<Vec<_>>();
    assert_eq!(front(&one), front(&two));

    let add = |all: &mut Vec<(u32, Vec<u8>)>, part: echo::Part<'_>| {
        if let Some(length) = part.length {
            all.push((length, vec![]));
        }
        let (length, payload) = all.last_mut().expect("a message starts with its length");
        payload.extend_from_slice(part.payload);
        assert_eq!(payload.len() as u64 + u64::from(part.remaining), u64::from(*length));
    };
    let (mut one, mut two) = (vec![], vec![]);
    let a = dissect::<echo::Messages<4>>(bytes, cut(), 4, |part| add(&mut one, part));
    let b = dissect::<echo::Messages<4>>(bytes, whole(), 4, |part| add(&mut two, part));
    assert_eq!((a, one), (b, two));

    // As much as is too long for a line is what has come of it: there the cut may show.
    let text = |line: &LineMessage<'_>| match line {
        LineMessage::Line(text) => Some(text.to_vec()),
        LineMessage::TooLong(_) => None,
    };
    let (mut one, mut two) = (vec![], vec![]);
    dissect::<LineMessages>(bytes, cut(), LINE_BYTES, |line| one.push(text(&line)));
    dissect::<LineMessages>(bytes, whole(), LINE_BYTES, |line| two.push(text(&line)));
    let front = |all: &[Option<Vec<u8>>]| all.iter().map_while(Clone::clone).collect::<Vec<_>>();
    assert_eq!(front(&one), front(&two));

    // Spaces between messages may come with the one before, or by themselves.
    let text = |message: &PromptMessage<'_>| match message {
        PromptMessage::Space(_) => Some(None),
        PromptMessage::Line(text) => Some(Some((false, text.to_vec()))),
        PromptMessage::Prompt(text) => Some(Some((true, text.to_vec()))),
        PromptMessage::TooLong(_) => None,
    };
    let (mut one, mut two) = (vec![], vec![]);
    dissect::<PromptMessages>(bytes, cut(), LINE_BYTES, |message| one.push(text(&message)));
    dissect::<PromptMessages>(bytes, whole(), LINE_BYTES, |message| two.push(text(&message)));
    let front = |all: &[Option<Option<_>>]| {
        all.iter().map_while(Clone::clone).flatten().collect::<Vec<(bool, Vec<u8>)>>()
    };
    assert_eq!(front(&one), front(&two));
});
