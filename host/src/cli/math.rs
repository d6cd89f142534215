//! `socklab math`.

use clap::Args;
use serde_json::{Value, json};
use socklab_core::driver::Next;
use socklab_core::math::client::{Client, Event};
use socklab_core::math::{ClientBytes, ServerBytes};

use super::common::{Address, Common, Failure, Listen, Run};
use super::events::{connected, emit, session};
use crate::math::{Options, Outcome, Report, Service};
use crate::net::{DEFAULT_BUFFER, Target};
use crate::ui::put_text;

const PORT: u16 = 8000;

/// Answer each sum and print the secret
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    address: Address,
    /// Write the secret to a terminal without escaping control characters
    #[arg(long)]
    raw: bool,
}

/// Send sums, and the secret to every client that answers them all
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Where to listen; 0 takes a free port
    #[arg(value_name = "[BIND:]PORT", default_value = "8000")]
    listen: Listen,
    /// How many questions a client is asked: one number, or a range to draw from
    #[arg(long, value_name = "N|A..=B", allow_negative_numbers = true, default_value = "5..=20", value_parser = rounds)]
    rounds: (u16, u16),
    /// The secret, 8 bytes [default: drawn at startup]
    #[arg(long, value_parser = secret)]
    secret: Option<[u8; 8]>,
    /// Draw the same numbers in every run with this seed
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Use all 32 bits in operands, so that sums wrap
    #[arg(long)]
    full_range: bool,
}

fn rounds(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| {
        text.trim()
            .parse::<u16>()
            .map_err(|_| "expected a number from 0 to 65535, or a range such as 5..=20")
    };
    let (fewest, most) = match text.split_once("..") {
        Some((fewest, most)) => (number(fewest)?, number(most.trim_start_matches('='))?),
        None => (number(text)?, number(text)?),
    };
    if fewest > most {
        return Err(format!("the range is empty: {fewest} is more than {most}"));
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
        common.dial(&self.address, PORT, "math", quiz, |target| self.solve(target, common))
    }
}

impl ClientArgs {
    fn solve(&self, target: &Target, common: &Common) -> Result<(), Failure> {
        let mut output = common.output(self.raw);
        let mut client =
            common.connect::<ServerBytes, ClientBytes, _>(target, Client::new(), DEFAULT_BUFFER)?;
        connected(&mut output, client.peer())?;
        loop {
            match client.next()? {
                Next::Event(Event::Question(question)) => emit(&mut output, || {
                    let (a, b) = (question.a, question.b);
                    json!({ "event": "question", "a": a, "b": b, "answer": question.sum() })
                })?,
                Next::Event(Event::Secret(secret)) => {
                    emit(&mut output, || {
                        let mut event = json!({ "event": "secret" });
                        put_text(&mut event, "secret", &secret.0);
                        event
                    })?;
                    output.piece(&secret.0).and_then(|()| output.end()).map_err(Failure::stdout)?;
                }
                Next::Command | Next::Boundary => {}
                Next::Done | Next::Abort => return Ok(()),
            }
        }
    }
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
        common.serve::<ClientBytes, ServerBytes, _>(&self.listen, common.limits(), service, told)
    }
}

/// What is told of a session.
fn told(report: &Report) -> Value {
    let Report { peer, asked, right, outcome } = report;
    let mut details = json!({ "asked": asked, "right": right });
    let outcome = match outcome {
        Outcome::Solved => ("solved", None),
        Outcome::Wrong { answer, expected } => {
            details["answer"] = (*answer).into();
            details["expected"] = (*expected).into();
            ("wrong", None)
        }
        Outcome::Failed(e, quote) => ("failed", Some(format!("{e}{}", quote.suffix()))),
        Outcome::Unanswered(e) => ("failed", Some(e.to_string())),
        Outcome::Stopped => ("stopped", None),
    };
    session(*peer, details, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_a_number_or_a_range() {
        assert_eq!(rounds("7"), Ok((7, 7)));
        assert_eq!(rounds("5..=20"), Ok((5, 20)));
        assert!(rounds("20..=5").is_err());
        assert!(rounds("five").is_err());
        assert!(rounds("70000").is_err());
    }

    #[test]
    fn a_secret_is_eight_bytes() {
        assert_eq!(secret("opensesm"), Ok(*b"opensesm"));
        assert_eq!(secret("short").unwrap_err(), "expected exactly 8 bytes, not 5");
        assert!(secret("sésame99").is_err(), "nine bytes");
    }
}
