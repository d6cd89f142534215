//! `socklab rps`.

use clap::Args;
use fastrand::Rng;
use serde_json::{Value, json};
use socklab_core::machine::StreamEnd;
use socklab_core::rps::{ClientBytes, PROMPT, ServerBytes};
use socklab_core::wire::LineError;

use super::chat::accept;
use super::common::{Address, Common, Failure, Listen, Pace, Run, ServerOptions};
use super::events::{self, connected, emit, outcome, session, stopped};
use super::game::{self, Ending, Player};
use crate::net::{self, DEFAULT_BUFFER, Listener, Quote, Surplus, Target};
use crate::rps::{
    self, Choice, Event, Options, ROUNDS, Report, Round, Service, Tally, Verdict, client, server,
};
use crate::ui::{Output, say};

const PORT: u16 = 12345;

/// Play as player 1
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    address: Address<PORT>,
    /// Choose at random, without a person
    #[arg(long)]
    auto: bool,
    /// Make the same choices in every game and in every run with this seed
    #[arg(long, value_name = "N", allow_negative_numbers = true, requires = "auto")]
    seed: Option<u64>,
    /// Send what you type without checking it, to test the checks of the server
    #[arg(long, conflicts_with = "auto")]
    unchecked: bool,
    /// Write what the server says to a terminal without escaping control characters
    #[arg(long)]
    raw: bool,
}

/// Play as player 2 against one client at a time
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    listen: Listen<PORT>,
    /// Choose at random, without a person; serve many clients at once, until stopped
    #[arg(long)]
    auto: bool,
    /// Make the same choices in every game and in every run with this seed
    #[arg(long, value_name = "N", allow_negative_numbers = true, requires = "auto")]
    seed: Option<u64>,
    /// After a game, wait for the next client
    #[arg(long, conflicts_with = "auto")]
    forever: bool,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    server: ServerOptions,
}

impl Run for ClientArgs {
    fn run(self, common: &Common) -> Result<(), Failure> {
        let service = || Service::new(Options::default());
        common.dial(&self.address, "rps", service, |target| self.play(target, common))
    }
}

impl ClientArgs {
    fn play(&self, target: &Target, common: &Common) -> Result<(), Failure> {
        let mut output = common.output(self.raw);
        let machine = client::Client::new();
        let mut client = common
            .connect::<ServerBytes, ClientBytes, _>(target, machine, DEFAULT_BUFFER)?
            .timeout(common.person_timeout());
        let keyboard = (!self.auto).then(|| common.keyboard()).transpose()?;
        connected(&mut output, client.peer())?;
        let rng = self.auto.then(|| self.seed.map_or_else(Rng::new, Rng::with_seed));
        let game = Game::new(rng);
        let mut player = Player1 { game, not_understood: Vec::new(), unchecked: self.unchecked };
        let result = game::play(&mut client, &mut player, keyboard.as_ref(), &mut output);
        player.game.end(&mut output, |tally| (tally.player1, tally.player2))?;
        if !matches!(result, Ok(Ending::Over)) {
            game::close(client, &result);
            return game::finished(result);
        }
        let (delivery, surplus) = client.finish_and_close();
        // The last verdict is complete without its newline, so a newline and white space may still follow.
        let text = surplus.start.bytes().trim_ascii_start();
        let bytes = surplus.bytes - (surplus.start.bytes().len() - text.len());
        if !text.is_empty() {
            let surplus = Surplus { bytes, start: Quote::new(text) };
            events::surplus(&mut output, &surplus)?;
            let s = if bytes == 1 { "" } else { "s" };
            return Err(Failure::Peer(format!(
                "the server continues after {ROUNDS} rounds: {bytes} byte{s} after the end, {}",
                surplus.start
            )));
        }
        common.delivered(delivery, "the server", "our last acknowledgement")
    }
}

/// State that both kinds of players share.
struct Game {
    /// Set if the player chooses at random.
    rng: Option<Rng>,
    tally: Tally,
    prompt: String,
}

impl Game {
    fn new(rng: Option<Rng>) -> Self {
        let prompt = String::from_utf8_lossy(PROMPT).into_owned();
        Self { rng, tally: Tally::default(), prompt }
    }

    fn auto(&mut self) -> Option<Choice> {
        self.rng.as_mut().map(rps::random_choice)
    }

    /// Records and shows a round. `us` is the verdict if the local player has won.
    fn round(&mut self, round: Round, us: Verdict, output: &mut Output) -> Result<(), Failure> {
        self.tally.count(round);
        let number = self.tally.rounds();
        let Round { verdict, player1, player2 } = round;
        emit(output, || {
            json!({
                "event": "round", "round": number, "player1": player1.name(),
                "player2": player2.name(), "verdict": verdict.words(),
            })
        })?;
        let (ours, theirs) =
            if us == Verdict::Player1 { (player1, player2) } else { (player2, player1) };
        let what = match verdict {
            Verdict::Draw => "a draw",
            _ if verdict == us => "you win",
            _ => "you lose",
        };
        let line = format!("round {number}: you {ours}, the other {theirs}: {what}");
        output.line(line.as_bytes()).map_err(Failure::stdout)
    }

    /// Shows the result of the game. `ours` returns the numbers of rounds won and lost by the local player.
    fn end(
        &self,
        output: &mut Output,
        ours: impl FnOnce(Tally) -> (u8, u8),
    ) -> Result<(), Failure> {
        if self.tally.rounds() == 0 {
            return Ok(());
        }
        let ((won, lost), drawn) = (ours(self.tally), self.tally.draws);
        emit(output, || json!({ "event": "game", "won": won, "lost": lost, "drawn": drawn }))?;
        let line = format!("{won} won, {lost} lost, {drawn} drawn");
        output.line(line.as_bytes()).map_err(Failure::stdout)
    }
}

/// Parses a choice: 1, 2, 3 or the word.
fn choice(line: &[u8]) -> Result<Choice, &'static str> {
    match line.trim_ascii() {
        b"1" => Ok(Choice::Scissor),
        b"2" => Ok(Choice::Paper),
        b"3" => Ok(Choice::Stone),
        word => Choice::parse(word)
            .map_err(|_| "expected 1, 2 or 3, or the word: Scissor, Paper, Stone"),
    }
}

struct Player1 {
    game: Game,
    /// Last text that was not understood; empty if a later text was understood.
    not_understood: Vec<u8>,
    unchecked: bool,
}

impl Player for Player1 {
    type Machine = client::Client;

    fn event(&mut self, event: Event<&[u8]>, output: &mut Output) -> Result<(), Failure> {
        match event {
            Event::Prompt(text) => {
                self.game.prompt = format!("{} ", String::from_utf8_lossy(text));
                // Without a colon, the text counts as a prompt only because nothing followed it. It may be something
                // else.
                if !text.ends_with(b":") {
                    self.not_understood = text.to_vec();
                }
                game::report_prompt(output, text)
            }
            Event::Line(text) => {
                self.not_understood = text.to_vec();
                game::show(output, text)?;
                if let Some(at) = Round::mistake_in(text) {
                    say(format_args!(
                        "cannot parse this verdict: {at}, expected a verdict and two choices, separated by \
                         commas"
                    ));
                }
                Ok(())
            }
            Event::Round(round) => {
                self.not_understood.clear();
                self.game.round(round, Verdict::Player1, output)
            }
        }
    }

    fn failed(&mut self, e: net::Error<client::Error>) -> Failure {
        e.or_quote(&self.not_understood).into()
    }

    fn auto(&mut self) -> Option<client::Command<'_>> {
        self.game.auto().map(client::Command::Choose)
    }

    fn prompt(&self) -> &str {
        &self.game.prompt
    }

    fn parse<'c>(&mut self, line: &'c [u8]) -> Result<client::Command<'c>, &'static str> {
        if self.unchecked {
            return Ok(client::Command::Unchecked(line));
        }
        choice(line).map(client::Command::Choose)
    }

    fn waiting(&self) -> &str {
        "waiting for player 2"
    }
}

struct Player2 {
    game: Game,
    /// Not set for a connection that the client closes without a choice, such as one of a port scanner.
    is_game: bool,
    has_chosen: bool,
}

impl Player for Player2 {
    type Machine = server::Server;

    fn event(&mut self, event: server::Event, output: &mut Output) -> Result<(), Failure> {
        match event {
            server::Event::Chosen => {
                self.has_chosen = true;
                say("player 1 has chosen");
                emit(output, || json!({ "event": "chosen" }))
            }
            server::Event::Round(round) => self.game.round(round, Verdict::Player2, output),
        }
    }

    fn failed(&mut self, e: net::Error<server::Error>) -> Failure {
        let is_close = matches!(
            &e,
            net::Error::Protocol(
                server::Error::Line(LineError::Truncated { how: StreamEnd::Closed | StreamEnd::Reset, got: 0 }),
                quote,
            ) if quote.is_empty()
        );
        self.is_game = self.has_chosen || !is_close;
        e.into()
    }

    fn auto(&mut self) -> Option<server::Command> {
        self.game.auto().map(server::Command::Choose)
    }

    fn prompt(&self) -> &str {
        &self.game.prompt
    }

    fn parse(&mut self, line: &[u8]) -> Result<server::Command, &'static str> {
        choice(line).map(server::Command::Choose)
    }

    fn waiting(&self) -> &str {
        "waiting for player 1"
    }
}

impl Run for ServerArgs {
    fn adjust(command: clap::Command) -> clap::Command {
        // A person plays against one client at a time.
        command.mut_arg("threads", |threads| threads.requires("auto"))
    }

    fn run(self, common: &Common) -> Result<(), Failure> {
        if !self.auto {
            return self.play(common);
        }
        let limits = common.person_limits(&self.pace, &self.server);
        let service = Service::new(Options { seed: self.seed });
        common.serve::<ClientBytes, ServerBytes, _>(
            self.listen.addrs()?,
            &self.server,
            limits,
            service,
            report_json,
        )
    }
}

impl ServerArgs {
    /// Runs a server with a person as its player, for one client at a time.
    fn play(&self, common: &Common) -> Result<(), Failure> {
        // Before the address is printed: a program that reads the address may send a signal at once.
        let keyboard = common.keyboard()?;
        let mut output = common.output(false);
        let mut listener = Listener::bind(self.listen.addrs()?)?;
        let addr = listener.local_addr();
        say(format_args!("listening on {addr}"));
        emit(&mut output, || json!({ "event": "listening", "address": addr.to_string() }))?;
        loop {
            let Some(accepted) = accept(&mut listener, &keyboard)? else {
                return stopped(&mut output);
            };
            let peer = accepted.peer();
            let machine = server::Server::new();
            let mut client = common
                .accepted::<ClientBytes, ServerBytes, _>(accepted, machine)?
                .pace(self.pace.time);
            connected(&mut output, peer)?;
            if keyboard.is_terminal() {
                say(format_args!("playing against {peer}; Ctrl-D ends the game"));
            }
            let mut player = Player2 { game: Game::new(None), is_game: true, has_chosen: false };
            let result = game::play(&mut client, &mut player, Some(&keyboard), &mut output);
            game::close(client, &result);
            player.game.end(&mut output, |tally| (tally.player2, tally.player1))?;
            match result {
                Ok(Ending::Over) if self.forever => {}
                Ok(Ending::Quit) => {
                    say(Failure::Quit);
                    return stopped(&mut output);
                }
                // Stopping a server is not a failure.
                Ok(_) | Err(Failure::Interrupted(_)) => return stopped(&mut output),
                Err(Failure::Peer(text)) if self.forever || !player.is_game => {
                    say(format_args!("{peer}: {text}"));
                    let peer = peer.to_string();
                    let failed = || json!({ "event": "failed", "peer": peer, "message": text });
                    emit(&mut output, failed)?;
                }
                Err(e) => return Err(e),
            }
            // Lines typed for this client are not meant for the next one.
            keyboard.discard_typed_ahead();
        }
    }
}

/// Returns the event of a session.
fn report_json(report: &Report) -> Value {
    let Tally { player1, player2, draws } = report.tally;
    let details = json!({ "player1": player1, "player2": player2, "drawn": draws });
    session(report.peer, details, outcome(&report.ended, "played"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_number_or_the_word() {
        for (text, wanted) in [
            ("1", Choice::Scissor),
            (" 2 ", Choice::Paper),
            ("3", Choice::Stone),
            ("stone", Choice::Stone),
            ("Scissor", Choice::Scissor),
        ] {
            assert_eq!(choice(text.as_bytes()), Ok(wanted));
        }
        for text in ["", "0", "4", "12", "rock"] {
            assert!(choice(text.as_bytes()).is_err(), "{text}");
        }
    }
}
