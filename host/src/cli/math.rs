//! `socklab math`.

use clap::Args;
use serde_json::{Value, json};
use socklab_core::driver::Next;
use socklab_core::math::client::{Client, Event};
use socklab_core::math::{ClientBytes, ServerBytes};

use super::common::{Address, Common, Failure, Listen, Run, ServerOptions};
use super::events::{self, connected, emit, session, undelivered};
use crate::math::{Error, Mistake, Options, Outcome, Question, Report, Service, client};
use crate::net::{DEFAULT_BUFFER, Surplus, Target};
use crate::ui::put_text;

const PORT: u16 = 8000;

/// Answer each sum and print the secret
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    address: Address<PORT>,
    /// Write the secret to a terminal without escaping control characters
    #[arg(long)]
    raw: bool,
}

/// Send sums; send the secret to every client that answers all of them
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    listen: Listen<PORT>,
    /// Number of questions in a session: a number, or an inclusive range to choose from at random
    #[arg(long, value_name = "N|A-B", allow_hyphen_values = true, default_value = "5-20",
          value_parser = rounds)]
    rounds: (u16, u16),
    /// The secret, 8 bytes [default: random, chosen at startup]
    #[arg(long, value_parser = secret)]
    secret: Option<[u8; 8]>,
    /// Send the same questions in every session and in every run with this seed
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Use operands of all 32 bits, so that sums wrap around
    #[arg(long)]
    full_range: bool,
    #[command(flatten)]
    server: ServerOptions,
}

fn rounds(text: &str) -> Result<(u16, u16), String> {
    const FORM: &str = "expected a number from 0 to 65535, or a range such as 5-20";
    let number = |text: &str| match text.trim() {
        // Checked because `parse` accepts a sign.
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<u16>().ok(),
        _ => None,
    };
    // `5..6` excludes its end in some languages and includes it in others, so it is refused below.
    let dots = text.split_once("..").map(|(a, b)| (a, b.trim_start_matches(['=', '.'])));
    let (fewest, most) = dots.or_else(|| text.split_once('-')).unwrap_or((text, text));
    let (Some(fewest), Some(most)) = (number(fewest), number(most)) else {
        return Err(FORM.into());
    };
    if fewest > most {
        return Err(format!("the range is empty: {fewest} is more than {most}"));
    }
    if dots.is_some() {
        return Err(format!("a range includes both ends: write {fewest}-{most}"));
    }
    Ok((fewest, most))
}

fn secret(text: &str) -> Result<[u8; 8], String> {
    let count = text.len();
    text.as_bytes().try_into().map_err(|_| format!("expected exactly 8 bytes, not {count}"))
}

impl Run for ClientArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let quiz = || Service::new(Options::default());
        common.dial(&self.address, "math", quiz, |target| self.solve(target, common))
    }
}

impl ClientArgs {
    fn solve(&self, target: &Target, common: &Common) -> Result<(), Failure> {
        let mut output = common.output(self.raw);
        let mut client =
            common.connect::<ServerBytes, ClientBytes, _>(target, Client::new(), DEFAULT_BUFFER)?;
        connected(&mut output, client.peer())?;
        let mut last = None;
        loop {
            match client.next().map_err(|e| failed(e, last))? {
                Next::Event(Event::Question(question)) => {
                    last = Some(question);
                    emit(&mut output, || {
                        let (a, b) = (question.a, question.b);
                        json!({ "event": "question", "a": a, "b": b, "answer": question.sum() })
                    })?;
                }
                Next::Event(Event::Secret(secret)) => {
                    emit(&mut output, || {
                        let mut event = json!({ "event": "secret" });
                        put_text(&mut event, "secret", &secret.0);
                        event
                    })?;
                    output.piece(&secret.0).and_then(|()| output.end()).map_err(Failure::stdout)?;
                }
                Next::Command | Next::Boundary => {}
                Next::Close | Next::Abort => break,
            }
        }
        let surplus = client.close();
        let Surplus { bytes, start } = &surplus;
        if *bytes == 0 {
            return Ok(());
        }
        let s = if *bytes == 1 { "" } else { "s" };
        log::warn!("{bytes} byte{s} after the secret, which has 8: {start}");
        events::surplus(&mut output, &surplus)
    }
}

/// Returns the failure, with the likely mistake of the server.
fn failed(e: Error, last: Option<Question>) -> Failure {
    let is_rejected = matches!(e, Error::Protocol(client::Error::Rejected(_), _));
    let unread = match &e {
        Error::Protocol(_, quote) | Error::TimedOut(_, _, quote) => quote.bytes(),
        _ => &[],
    };
    let mistake = if is_decimal(last, unread) {
        Some(
            "; this is decimal text: expected 'Q' and two big-endian integers of 4 bytes each"
                .into(),
        )
    } else {
        last.filter(|_| is_rejected).and_then(little_endian)
    };
    match (Failure::from(e), mistake) {
        (Failure::Peer(text), Some(mistake)) => Failure::Peer(text + &mistake),
        (failure, _) => failure,
    }
}

/// Returns whether the server seems to send its numbers as decimal text, both in the last question and in the unread
/// bytes after it.
fn is_decimal(last: Option<Question>, unread: &[u8]) -> bool {
    let is_text = |bytes: &[u8]| {
        let is_one = |byte: &u8| byte.is_ascii_digit() || b" \n\r+,".contains(byte);
        bytes.iter().all(is_one) && bytes.iter().any(u8::is_ascii_digit)
    };
    let unread = unread.strip_prefix(b"Q").unwrap_or(unread);
    let asked = last.map(|Question { a, b }| is_text(&[a.to_be_bytes(), b.to_be_bytes()].concat()));
    asked != Some(false) && (is_text(unread) || unread.is_empty() && asked == Some(true))
}

/// Returns a hint if the numbers of the question were probably sent in little-endian order.
fn little_endian(Question { a, b }: Question) -> Option<String> {
    /// Numbers that people choose are usually smaller than this.
    const SMALL: u32 = 1 << 16;
    let (little_a, little_b) = (a.swap_bytes(), b.swap_bytes());
    let is_likely = a.min(b) >= SMALL && little_a.max(little_b) < SMALL;
    is_likely
        .then(|| format!("; in little-endian order its numbers would be {little_a} and {little_b}"))
}

impl Run for ServerArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let options = Options {
            rounds: self.rounds,
            secret: self.secret,
            seed: self.seed,
            full_range: self.full_range,
        };
        let service = Service::new(options);
        common.serve::<ClientBytes, ServerBytes, _>(
            self.listen.addrs()?,
            &self.server,
            common.limits(&self.server),
            service,
            report_json,
        )
    }
}

/// Returns the event of a session.
fn report_json(report: &Report) -> Value {
    let Report { peer, asked, right, outcome } = report;
    let mut details = json!({ "asked": asked, "right": right });
    if let Some(mistake) = outcome.mistake() {
        details["mistake"] = match mistake {
            Mistake::LittleEndian => "little-endian",
            Mistake::Decimal => "decimal",
        }
        .into();
    }
    let outcome = match outcome {
        Outcome::Solved => ("solved", None),
        Outcome::Wrong { answer, expected, .. } => {
            details["answer"] = (*answer).into();
            details["expected"] = (*expected).into();
            ("wrong", None)
        }
        Outcome::Failed(e, quote, _) => ("failed", Some(format!("{e}{}", quote.suffix()))),
        Outcome::Internal(e) => ("failed", Some(e.to_string())),
        Outcome::Undelivered => ("failed", Some(undelivered())),
        Outcome::Stopped => ("stopped", None),
    };
    session(*peer, details, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_a_number_or_an_inclusive_range() {
        assert_eq!(rounds("7"), Ok((7, 7)));
        assert_eq!(rounds("5-20"), Ok((5, 20)));
        assert_eq!(rounds("5 - 6"), Ok((5, 6)));
        assert_eq!(rounds("0-65535"), Ok((0, 65_535)));
        for text in ["20-5", "20..=5"] {
            assert_eq!(rounds(text).unwrap_err(), "the range is empty: 20 is more than 5");
        }
        for text in
            ["five", "70000", "-5", "5-", "-", "", "+5", "5-6-7", "..", "5..", "..6", "..=6"]
        {
            let error = rounds(text).unwrap_err();
            assert!(error.starts_with("expected a number from 0 to 65535, or a range"), "{text}");
        }
        for text in ["5..6", "5..=6", "5...6"] {
            let error = "a range includes both ends: write 5-6";
            assert_eq!(rounds(text).unwrap_err(), error);
        }
    }

    #[test]
    fn a_secret_is_eight_bytes() {
        assert_eq!(secret("opensesm"), Ok(*b"opensesm"));
        assert_eq!(secret("short").unwrap_err(), "expected exactly 8 bytes, not 5");
        assert!(secret("sésame99").is_err(), "nine bytes");
    }
}
