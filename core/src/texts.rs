//! All texts of the core that contain a number, checked together.

use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use crate::machine::{CommandError, Invalid, StreamEnd};
use crate::session::{Law, TooSmall};
use crate::wire::{
    Byte, Bytes, DecimalError, LineError, LineMessage, PromptMessage, Truncated, Unexpected,
};
use crate::{add, chat, coin, echo, file, guess, hello, math, rps};

const ENDS: [StreamEnd; 3] = [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut];

/// Returns the texts of everything that can be displayed and counts something, with this number.
fn texts(n: u8) -> Vec<String> {
    let text = vec![b'x'; n.into()];
    let at = Unexpected { at: n.into(), byte: None };
    let number = DecimalError::Unexpected(at);
    let round = rps::Round::of(rps::Choice::Paper, rps::Choice::Stone);
    let mut all = vec![
        Bytes(n.into()).to_string(),
        Byte(n).to_string(),
        at.to_string(),
        Unexpected { at: n.into(), byte: Some(b'x') }.to_string(),
        number.to_string(),
        LineMessage::TooLong(&text).to_string(),
        LineMessage::More(&text).to_string(),
        PromptMessage::TooLong(&text).to_string(),
        PromptMessage::More(&text).to_string(),
        TooSmall { min_input: n.into(), min_output: n.into() }.to_string(),
        add::client::Error::NotInteger(number).to_string(),
        add::server::Error::NotInteger(number).to_string(),
        rps::client::Error::Verdict(round).to_string(),
        rps::server::Error::Choice(at).to_string(),
        rps::server::Error::Acknowledgement { at, round }.to_string(),
        math::client::Error::Rejected(n.into()).to_string(),
        math::client::Error::Tag { byte: n, message: n.into() }.to_string(),
        file::client::Error::Size { size: n.into(), offset: 3 }.to_string(),
        file::client::Error::Tag(n).to_string(),
        file::ServerMessage::Found(n.into()).to_string(),
        file::ServerMessage::Body { bytes: n.into(), remaining: Some(n.into()) }.to_string(),
        echo::client::Error::<4>::Unasked { length: n.into() }.to_string(),
        echo::client::Error::<4>::TooLong { length: n.into(), limit: n.into() }.to_string(),
        echo::server::Error::<4>::NotUtf8 { byte: n, at: n.into() }.to_string(),
        echo::server::Error::<4>::CutCharacter { length: n.into() }.to_string(),
        echo::Part { length: None, payload: &text, remaining: n.into() }.to_string(),
        echo::Part { length: Some(n.into()), payload: &text, remaining: n.into() }.to_string(),
    ];
    for how in ENDS {
        let line = LineError::Truncated { how, got: n.into() };
        all.extend([
            line.by("the peer").to_string(),
            guess::client::Error(line).to_string(),
            guess::server::Error(line).to_string(),
            coin::client::Error(line).to_string(),
            coin::server::Error(line).to_string(),
            hello::client::Error(line).to_string(),
            hello::server::Error(line).to_string(),
            chat::Error::from(line).to_string(),
            add::client::Error::Line(line).to_string(),
            add::client::Error::NameOnly(how).to_string(),
            add::client::Error::Unanswered(how).to_string(),
            add::server::Error::Line(line).to_string(),
            rps::client::Error::Line(line).to_string(),
            file::client::Error::NoReply { how, got: n }.to_string(),
            file::client::Error::Reason(line).to_string(),
            file::server::Error::Request(line).to_string(),
            file::server::Error::Gone { how, remaining: n.into() }.to_string(),
        ]);
        for size in [None, Some(n.into()), Some(2)] {
            let cut = file::client::Error::Truncated { how, got: n.into(), size };
            all.push(cut.to_string());
        }
        for want in [0, 1, 2] {
            let cut = Truncated::inside(how, n.into(), want);
            all.extend([
                cut.to_string(),
                math::client::Error::Truncated { cut, answered: n.into() }.to_string(),
                math::server::Error { cut, right: n.into() }.to_string(),
                echo::client::Error::<4>::Truncated { cut, missing: n.into() }.to_string(),
                echo::server::Error::<4>::Truncated(cut).to_string(),
            ]);
        }
    }
    all
}

/// Returns the texts that count nothing.
fn constant_texts() -> Vec<String> {
    let mut all = vec![
        CommandError::OutOfTurn.to_string(),
        CommandError::OutputFull.to_string(),
        DecimalError::TooLarge.to_string(),
        LineError::TooLong { limit: 1025 }.by("the peer").to_string(),
        Law::Input.to_string(),
        Law::OutputSpace.to_string(),
        Law::Counts.to_string(),
        file::Malformed::NoName.to_string(),
        file::Malformed::Form.to_string(),
        file::Malformed::TooLong.to_string(),
        math::Mistake::LittleEndian.to_string(),
        math::Mistake::Decimal.to_string(),
    ];
    all.extend(
        [
            Invalid::TooLong,
            Invalid::Empty,
            Invalid::Newline,
            Invalid::CarriageReturn,
            Invalid::Separator,
            Invalid::Reserved,
            Invalid::OutOfRange,
            Invalid::Overrun,
        ]
        .map(|reason| CommandError::Invalid(reason).to_string()),
    );
    all
}

#[test]
fn a_noun_has_the_form_of_its_number() {
    const NOUNS: [&str; 5] = ["byte", "message", "question", "repl", "line"];
    for n in [0, 1, 2] {
        for text in texts(n) {
            let words: Vec<_> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
            for pair in words.windows(2) {
                let [number @ ("0" | "1" | "2"), noun] = *pair else { continue };
                let Some(stem) = NOUNS.iter().find(|stem| noun.starts_with(**stem)) else {
                    continue;
                };
                let is_plural = noun.strip_prefix(stem).is_some_and(|end| end.ends_with('s'));
                assert_eq!(is_plural, number != "1", "{text:?}");
            }
        }
    }
}

#[test]
fn a_text_is_one_line_of_lower_case_without_a_full_stop() {
    let all = [0, 1, 2].into_iter().flat_map(texts).chain(constant_texts());
    for text in all {
        assert!(!text.is_empty() && !text.contains('\n') && !text.contains("  "), "{text:?}");
        assert!(!text.starts_with(char::is_uppercase) && !text.ends_with('.'), "{text:?}");
    }
}

#[test]
fn the_first_byte_has_position_0() {
    let line = Unexpected::at(b"xy", 0).to_string();
    let payload = echo::server::Error::<4>::NotUtf8 { byte: b'x', at: 0 }.to_string();
    assert_eq!(line, "byte 0 of a line is 0x78 ('x')");
    assert!(payload.contains("byte 0 of a payload is 0x78 ('x')"), "{payload}");
    assert_eq!(format!("{}", Unexpected::at(b"xy", 2)), "a line ends after 2 bytes");
}
