//! `socklab coin`.

use clap::Args;
use fastrand::Rng;
use serde_json::{Value, json};
use socklab_core::coin::{Answer, ClientBytes, ServerBytes};

use super::common::{Address, Common, Failure, Listen, MaxClients, Pace, Run, keyboard};
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
    /// Guess the same in every run with this seed
    #[arg(long, value_name = "N", allow_negative_numbers = true, requires = "auto")]
    seed: Option<u64>,
    /// Send what you type as it is, so that the server's own checks can be tried
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
    /// Toss the same for every client, in every run with this seed
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<u64>,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    clients: MaxClients,
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
        let keyboard = self.auto.is_none().then(keyboard).transpose()?;
        connected(&mut output, client.peer())?;
        let mut guesser = Guesser {
            prompt: None,
            asked: Vec::new(),
            unknown: Vec::new(),
            reply: Vec::new(),
            quits: false,
            farewell: Farewell::None,
            unchecked: self.unchecked,
            left: self.auto.unwrap_or(0),
            rng: self.seed.map_or_else(Rng::new, Rng::with_seed),
        };
        let result = game::play(&mut client, &mut guesser, keyboard.as_ref(), &mut output);
        let (score, guesses) = (client.machine().score(), client.machine().guesses());
        client.close();
        let missing = guesses.saturating_sub(score.of);
        let s = if guesses == 1 { "" } else { "es" };
        // Also of a game that failed, if there was one.
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
        if missing > 0 && matches!(result, Ok(Ending::Over | Ending::Left)) {
            let last = Quote::new(&guesser.reply);
            let none = if score.of == 0 { "no reply" } else { "not every reply" };
            return Err(Failure::Peer(format!(
                "{none} to {guesses} guess{s} was understood{}",
                last.suffix()
            )));
        }
        match result? {
            Ending::Over | Ending::Left => guesser.farewell.sound(),
            Ending::Interrupted => Err(Failure::INTERRUPTED),
        }
    }
}

/// What a server says to Q.
enum Farewell {
    /// Nothing.
    None,
    /// What is none: it continues, or has not understood Q.
    Other(Vec<u8>),
    /// Some words: they may be any.
    Said,
}

impl Farewell {
    fn sound(&self) -> Result<(), Failure> {
        let said = match self {
            Self::Said => return Ok(()),
            Self::None => "the server closed the connection without a word to Q".into(),
            Self::Other(text) => format!("the server's last word to Q is {}", Quote::new(text)),
        };
        let bye = Quote::new(Reply::Bye.text());
        Err(Failure::Peer(format!("{said}, expected a farewell such as {bye}")))
    }
}

/// Who guesses.
struct Guesser {
    /// What the server asks, once it has.
    prompt: Option<String>,
    /// The same as it came.
    asked: Vec<u8>,
    /// The last text that was not understood; empty when what came later was.
    unknown: Vec<u8>,
    /// The last text before Q that was not understood as a reply.
    reply: Vec<u8>,
    /// Q is sent.
    quits: bool,
    /// What the server said to Q.
    farewell: Farewell,
    unchecked: bool,
    /// So many guesses are left to be made by itself.
    left: u32,
    rng: Rng,
}

impl Player for Guesser {
    type Machine = client::Client;

    fn hear(&mut self, event: Event<'_>, output: &mut Output) -> Result<(), Failure> {
        match event {
            Event::Prompt(text) => {
                self.prompt = Some(format!("{} [Q quits] ", String::from_utf8_lossy(text)));
                self.asked = text.trim_ascii().to_vec();
                // One that silence ended may have been meant as something else.
                if !text.ends_with(b":") {
                    self.unknown = text.to_vec();
                }
                game::prompted(output, text)
            }
            Event::Line(text) => {
                self.unknown = text.to_vec();
                if !self.quits {
                    self.reply = text.to_vec();
                } else if self.asked == text.trim_ascii() {
                    self.farewell = Farewell::Other(text.to_vec());
                } else if !text.trim_ascii().is_empty() {
                    self.farewell = Farewell::Said;
                }
                game::show(output, text)
            }
            Event::Reply(reply) => {
                if self.quits {
                    self.farewell = match reply {
                        Reply::Bye => Farewell::Said,
                        other => Farewell::Other(other.text().to_vec()),
                    };
                }
                // Unless it is not a reply to what was sent.
                if reply != Reply::Invalid || self.unchecked {
                    self.unknown.clear();
                } else {
                    self.unknown = reply.text().to_vec();
                    self.reply.clone_from(&self.unknown);
                }
                emit(output, || json!({ "event": "reply", "reply": name(reply) }))?;
                output.line(reply.text()).map_err(Failure::stdout)
            }
        }
    }

    fn failed(&mut self, e: net::Error<client::Error>) -> Failure {
        e.or_quote(&self.unknown).into()
    }

    fn auto(&mut self) -> Option<Command<'_>> {
        let Some(left) = self.left.checked_sub(1) else { return self.quit() };
        self.left = left;
        Some(Command::Answer(if self.rng.bool() { b"H" } else { b"T" }))
    }

    fn prompt(&self) -> &str {
        self.prompt.as_deref().unwrap_or("H, T or Q: ")
    }

    fn parse<'c>(&mut self, line: &'c [u8]) -> Result<Command<'c>, &'static str> {
        let answer = Answer::parse(line);
        self.quits |= answer == Answer::Quit;
        if self.unchecked {
            return Ok(Command::Answer(line));
        }
        // Capitals: people's servers may know nothing else.
        Ok(Command::Answer(match answer {
            Answer::Guess(coin::Side::Head) => b"H",
            Answer::Guess(coin::Side::Tail) => b"T",
            Answer::Quit => b"Q",
            Answer::Invalid => return Err("H is head, T is tail, Q quits"),
        }))
    }

    fn quit(&mut self) -> Option<Command<'static>> {
        self.quits = true;
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
        let Self { listen, seed, pace, clients } = self;
        let limits = common.person_limits(&pace, &clients);
        let service = Service::new(Options { seed });
        common.serve::<ClientBytes, ServerBytes, _>(listen.addrs()?, limits, service, report_json)
    }
}

/// What is told of a session.
fn report_json(report: &Report) -> Value {
    let details = json!({ "right": report.score.right, "of": report.score.of });
    session(report.peer, details, outcome(&report.ended, "quit"))
}
