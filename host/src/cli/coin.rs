//! `socklab coin`.

use clap::Args;
use fastrand::Rng;
use serde_json::{Value, json};
use socklab_core::coin::{Answer, ClientBytes, ServerBytes};

use super::common::{Address, Common, Failure, Listen, Pace, Run, ServerOptions};
use super::events::{connected, emit, outcome, session};
use super::game::{self, Ending, Player};
use crate::coin::{self, Command, Event, Options, Reply, Report, Score, Service, client};
use crate::net::{self, DEFAULT_BUFFER, Quote, Target};
use crate::ui::{Output, say};

const PORT: u16 = 12345;

/// Guess head or tail until you quit
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    address: Address<PORT>,
    /// Guess N times at random, then quit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    auto: Option<u32>,
    /// Make the same guesses in every run with this seed
    #[arg(long, value_name = "N", allow_negative_numbers = true, requires = "auto")]
    seed: Option<u64>,
    /// Send what you type without checking it, to test the checks of the server
    #[arg(long, conflicts_with = "auto")]
    unchecked: bool,
    /// Write what the server says to a terminal without escaping control characters
    #[arg(long)]
    raw: bool,
}

/// Toss a coin for every client
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    listen: Listen<PORT>,
    /// Make the same tosses for every client and in every run with this seed
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<u64>,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    server: ServerOptions,
}

impl Run for ClientArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let service = || Service::new(Options::default());
        common.dial(&self.address, "coin", service, |target| self.play(target, common))
    }
}

impl ClientArgs {
    fn play(&self, target: &Target, common: &Common) -> Result<(), Failure> {
        let mut output = common.output(self.raw);
        let mut client = common.connect::<ServerBytes, ClientBytes, _>(
            target,
            client::Client::new(),
            DEFAULT_BUFFER,
        )?;
        let keyboard = self.auto.is_none().then(|| common.keyboard()).transpose()?;
        connected(&mut output, client.peer())?;
        let mut guesser = Guesser {
            prompt: None,
            received_prompt: Vec::new(),
            not_understood: Vec::new(),
            unknown_reply: Vec::new(),
            has_quit: false,
            farewell: Farewell::None,
            unchecked: self.unchecked,
            guesses_left: self.auto.unwrap_or(0),
            rng: self.seed.map_or_else(Rng::new, Rng::with_seed),
        };
        let result = game::play(&mut client, &mut guesser, keyboard.as_ref(), &mut output);
        let (score, guesses) = (client.machine().score(), client.machine().guesses());
        game::close(client, &result);
        let missing = guesses.saturating_sub(score.of);
        let s = if guesses == 1 { "" } else { "es" };
        // After a failure too, if the game had started.
        if guesser.prompt.is_some() {
            emit(&mut output, || {
                let Score { right, of } = score;
                json!({ "event": "score", "guesses": guesses, "right": right, "of": of })
            })?;
        }
        if guesser.prompt.is_some() && (score.of > 0 || missing == 0) {
            output.line(score.to_string().as_bytes()).map_err(Failure::stdout)?;
        } else if missing > 0 && result.is_err() {
            say(format_args!("no reply to {guesses} guess{s} was understood"));
        }
        if missing > 0 && matches!(result, Ok(Ending::Over | Ending::Quit)) {
            let last = Quote::new(&guesser.unknown_reply);
            let subject = if score.of == 0 { "no reply" } else { "not every reply" };
            return Err(Failure::Peer(format!(
                "{subject} to {guesses} guess{s} was understood{}",
                last.suffix()
            )));
        }
        match result? {
            Ending::Over | Ending::Quit => guesser.farewell.check(),
            Ending::Interrupted => Err(Failure::INTERRUPTED),
        }
    }
}

/// Reply of a server to Q.
enum Farewell {
    /// No reply.
    None,
    /// A text that shows that the server continues or has not understood Q.
    Invalid(Vec<u8>),
    /// Any other text.
    Received,
}

impl Farewell {
    fn check(&self) -> Result<(), Failure> {
        let problem = match self {
            Self::Received => return Ok(()),
            Self::None => "the server closed the connection without a reply to Q".into(),
            Self::Invalid(text) => format!("the server replied to Q with {}", Quote::new(text)),
        };
        let bye = Quote::new(Reply::Bye.text());
        Err(Failure::Peer(format!("{problem}, expected a farewell such as {bye}")))
    }
}

/// The client's player.
struct Guesser {
    /// Prompt of the server, once it has been received.
    prompt: Option<String>,
    /// The prompt as received.
    received_prompt: Vec<u8>,
    /// Last text that was not understood; empty if a later text was understood.
    not_understood: Vec<u8>,
    /// Last text before Q that was not understood as a reply.
    unknown_reply: Vec<u8>,
    /// Q has been sent.
    has_quit: bool,
    /// Reply to Q.
    farewell: Farewell,
    unchecked: bool,
    /// Number of random guesses that are still to be made.
    guesses_left: u32,
    rng: Rng,
}

impl Player for Guesser {
    type Machine = client::Client;

    fn event(&mut self, event: Event<&[u8]>, output: &mut Output) -> Result<(), Failure> {
        match event {
            Event::Prompt(text) => {
                self.prompt = Some(format!("{} [Q quits] ", String::from_utf8_lossy(text)));
                self.received_prompt = text.trim_ascii().to_vec();
                // Without a colon, the text counts as a prompt only because nothing followed it. It may be something
                // else.
                if !text.ends_with(b":") {
                    self.not_understood = text.to_vec();
                }
                game::report_prompt(output, text)
            }
            Event::Line(text) => {
                self.not_understood = text.to_vec();
                if !self.has_quit {
                    self.unknown_reply = text.to_vec();
                } else if self.received_prompt == text.trim_ascii() {
                    self.farewell = Farewell::Invalid(text.to_vec());
                } else if !text.trim_ascii().is_empty() {
                    self.farewell = Farewell::Received;
                }
                game::show(output, text)
            }
            Event::Reply(reply) => {
                if self.has_quit {
                    self.farewell = match reply {
                        Reply::Bye => Farewell::Received,
                        other => Farewell::Invalid(other.text().to_vec()),
                    };
                }
                // "Invalid" is an unexpected reply: without --unchecked the client sends valid guesses only.
                if reply != Reply::Invalid || self.unchecked {
                    self.not_understood.clear();
                } else {
                    self.not_understood = reply.text().to_vec();
                    self.unknown_reply.clone_from(&self.not_understood);
                }
                emit(output, || json!({ "event": "reply", "reply": name(reply) }))?;
                output.line(reply.text()).map_err(Failure::stdout)
            }
        }
    }

    fn failed(&mut self, e: net::Error<client::Error>) -> Failure {
        e.or_quote(&self.not_understood).into()
    }

    fn auto(&mut self) -> Option<Command<'_>> {
        let Some(left) = self.guesses_left.checked_sub(1) else { return self.quit() };
        self.guesses_left = left;
        Some(Command::Answer(if self.rng.bool() { b"H" } else { b"T" }))
    }

    fn prompt(&self) -> &str {
        self.prompt.as_deref().unwrap_or("H, T or Q: ")
    }

    fn parse<'c>(&mut self, line: &'c [u8]) -> Result<Command<'c>, &'static str> {
        let answer = Answer::parse(line);
        self.has_quit |= answer == Answer::Quit;
        if self.unchecked {
            return Ok(Command::Answer(line));
        }
        // Capital letters, because some servers accept no others.
        Ok(Command::Answer(match answer {
            Answer::Guess(coin::Side::Head) => b"H",
            Answer::Guess(coin::Side::Tail) => b"T",
            Answer::Quit => b"Q",
            Answer::Invalid => return Err("expected H for head, T for tail, or Q to quit"),
        }))
    }

    fn quit(&mut self) -> Option<Command<'static>> {
        self.has_quit = true;
        Some(Command::Answer(b"Q"))
    }

    fn waiting(&self) -> &str {
        "waiting for the server"
    }
}

const fn name(reply: Reply) -> &'static str {
    match reply {
        Reply::Right => "right",
        Reply::Wrong => "wrong",
        Reply::Invalid => "invalid",
        Reply::Bye => "bye",
    }
}

impl Run for ServerArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { listen, seed, pace, server } = self;
        let limits = common.person_limits(&pace, &server);
        let service = Service::new(Options { seed });
        common.serve::<ClientBytes, ServerBytes, _>(
            listen.addrs()?,
            &server,
            limits,
            service,
            report_json,
        )
    }
}

/// Returns the event of a session.
fn report_json(report: &Report) -> Value {
    let details = json!({ "right": report.score.right, "of": report.score.of });
    session(report.peer, details, outcome(&report.ended, "quit"))
}
