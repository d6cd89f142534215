//! `socklab guess`.

use clap::Args;
use serde_json::{Value, json};
use socklab_core::guess::{ClientBytes, ServerBytes};

use super::common::{Address, Common, Failure, Listen, Pace, Run, ServerOptions};
use super::events::{connected, emit, outcome, session};
use super::game::{self, Ending, Player};
use crate::guess::{
    Bisection, Command, Event, Message, NUMBERS, Options, Report, Service, Verifier, client,
};
use crate::net::{self, DEFAULT_BUFFER, Quote, Target};
use crate::ui::Output;

const PORT: u16 = 12345;

/// Guess the server's number in at most five guesses
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    address: Address<PORT>,
    /// Play automatically, by bisection
    #[arg(long)]
    auto: bool,
    /// Send what you type without checking it, to test the checks of the server
    #[arg(long, conflicts_with = "auto")]
    unchecked: bool,
    /// Write what the server says to a terminal without escaping control characters
    #[arg(long)]
    raw: bool,
}

/// Choose a random number for each client to guess
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    listen: Listen<PORT>,
    /// The number to guess, 1 to 100 [default: random for each client]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(1..=100))]
    number: Option<i32>,
    /// Choose the same number for every client and in every run with this seed
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with = "number")]
    seed: Option<u64>,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    server: ServerOptions,
}

impl Run for ClientArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let service = || Service::new(Options::default());
        common.dial(&self.address, "guess", service, |target| self.play(target, common))
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
        let keyboard = (!self.auto).then(|| common.keyboard()).transpose()?;
        connected(&mut output, client.peer())?;
        let mut guesser = Guesser {
            guess: None,
            guesses: 0,
            bisection: Bisection::default(),
            verifier: Verifier::default(),
            violation: None,
            not_understood: Vec::new(),
            auto: self.auto,
            unchecked: self.unchecked,
        };
        let result = game::play(&mut client, &mut guesser, keyboard.as_ref(), &mut output);
        game::close(client, &result);
        match (result, guesser.violation) {
            (Ok(Ending::Over | Ending::Quit), Some(text)) => Err(Failure::Peer(text)),
            (result, _) => game::finished(result),
        }
    }
}

/// The client's player.
struct Guesser {
    /// Last guess; `None` if it was not a number.
    guess: Option<i64>,
    guesses: u32,
    bisection: Bisection,
    verifier: Verifier,
    /// First violation of the rules by the server. A person may continue to play.
    violation: Option<String>,
    /// Last line that was not understood; empty if a later message was understood.
    not_understood: Vec<u8>,
    auto: bool,
    unchecked: bool,
}

impl Guesser {
    fn guess(&mut self, guess: i32) -> Command<'static> {
        self.record(Some(guess.into()));
        Command::Guess(guess)
    }

    fn record(&mut self, guess: Option<i64>) {
        self.guess = guess;
        self.guesses = self.guesses.saturating_add(1);
        let nearest = guess.map(|guess| guess.clamp(i32::MIN.into(), i32::MAX.into()));
        self.verifier.record_guess(nearest.and_then(|guess| guess.try_into().ok()));
    }

    /// Checks that a message follows the rules. A violation ends the game if no person plays.
    fn verify(&mut self, message: Message) -> Result<(), Failure> {
        let Err(violation) = self.verifier.check(message) else { return Ok(()) };
        let text = format!("{violation}{}", Quote::new(&self.not_understood).suffix());
        if self.auto {
            return Err(Failure::Peer(text));
        }
        self.violation.get_or_insert(text);
        Ok(())
    }
}

impl Player for Guesser {
    type Machine = client::Client;

    fn event(&mut self, event: Event<&[u8]>, output: &mut Output) -> Result<(), Failure> {
        let message = match event {
            Event::Message(message) => message,
            // Lines of white space are ignored, as in the other games.
            Event::Line(text) if text.trim_ascii().is_empty() => return Ok(()),
            Event::Line(text) => {
                self.not_understood = text.to_vec();
                return game::show(output, text);
            }
        };
        let verified = self.verify(message);
        self.not_understood.clear();
        self.bisection.update(message);
        let guess = self.guess;
        let text = match (message, guess) {
            (Message::Guess, _) => return verified,
            (Message::Low, Some(guess)) => format!("{guess} is too low"),
            (Message::Low, None) => "too low".into(),
            (Message::High, Some(guess)) => format!("{guess} is too high"),
            (Message::High, None) => "too high".into(),
            (Message::Invalid, _) => "the server accepts numbers from 1 to 100 only".into(),
            (Message::Win, Some(guess)) => format!("{guess} is right: you win"),
            (Message::Win, None) => "you win".into(),
            (Message::GameOver, _) => "no guesses left: the game is over".into(),
        };
        emit(output, || {
            let guesses = self.guesses;
            json!({ "event": name(message), "guess": guess, "guesses": guesses })
        })?;
        output.line(text.as_bytes()).map_err(Failure::stdout)?;
        verified
    }

    fn failed(&mut self, e: net::Error<client::Error>) -> Failure {
        e.or_quote(&self.not_understood).into()
    }

    fn auto(&mut self) -> Option<Command<'_>> {
        let guess = self.bisection.guess();
        Some(self.guess(guess))
    }

    fn prompt(&self) -> &str {
        "your guess, 1 to 100: "
    }

    fn parse<'c>(&mut self, line: &'c [u8]) -> Result<Command<'c>, &'static str> {
        let text = str::from_utf8(line).unwrap_or_default().trim();
        if self.unchecked {
            // A number of any size: the server decides whether it is valid.
            self.record(text.parse().ok());
            return Ok(Command::Unchecked(line));
        }
        let guess: Option<i32> = text.parse().ok();
        let guess = guess.filter(|guess| NUMBERS.contains(guess));
        Ok(self.guess(guess.ok_or("expected a number from 1 to 100")?))
    }

    fn waiting(&self) -> &str {
        "waiting for the server"
    }
}

const fn name(message: Message) -> &'static str {
    match message {
        Message::Guess => "guess",
        Message::Low => "low",
        Message::High => "high",
        Message::Invalid => "invalid",
        Message::Win => "win",
        Message::GameOver => "game_over",
    }
}

impl Run for ServerArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let Self { listen, number, seed, pace, server } = self;
        let limits = common.person_limits(&pace, &server);
        let service = Service::new(Options { number, seed });
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
    let details = json!({ "number": report.number, "guesses": report.guesses });
    let done = if report.is_won { "won" } else { "lost" };
    session(report.peer, details, outcome(&report.ended, done))
}
