//! Code that the games share: a person or a program takes turns with a peer.

use std::fmt;

use socklab_core::driver::Next;
use socklab_core::machine::{CommandError, EventView, Machine};

use super::common::Failure;
use super::events::{emit, text_event};
use crate::net;
use crate::ui::{Keyboard, Output, Typed, say};

/// Error of a connection with the machine `M`.
type Error<M> = net::Error<<M as Machine>::Error>;

/// The local side of a game.
pub(super) trait Player {
    type Machine: Machine;

    /// Handles an event of the machine.
    fn event(
        &mut self,
        event: EventView<'_, Self::Machine>,
        output: &mut Output,
    ) -> Result<(), Failure>;

    /// Converts the error of the connection. A player that has received a text it did not understand quotes it.
    fn failed(&mut self, e: Error<Self::Machine>) -> Failure {
        e.into()
    }

    /// Returns the next command if the player plays automatically.
    fn auto(&mut self) -> Option<<Self::Machine as Machine>::Command<'_>>;

    /// Returns the prompt for the person's turn.
    fn prompt(&self) -> &str;

    /// Converts the person's line to a command, or returns what was expected.
    fn parse<'c>(
        &mut self,
        line: &'c [u8],
    ) -> Result<<Self::Machine as Machine>::Command<'c>, &'static str>;

    /// Returns the command to quit, if the game has one.
    fn quit(&mut self) -> Option<<Self::Machine as Machine>::Command<'static>> {
        None
    }

    /// Returns the status that is shown during the peer's turn.
    fn waiting(&self) -> &str;
}

/// How a game ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The game was played to its end.
    Over,
    /// The person quit.
    Quit,
    /// The person interrupted the program.
    Interrupted,
}

/// Prompt or status that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prompt {
    None,
    Turn,
    Waiting,
}

/// Plays a game to its end. Without a keyboard the player must play automatically.
pub(super) fn play<P: Player>(
    client: &mut net::Client<P::Machine>,
    player: &mut P,
    keyboard: Option<&Keyboard>,
    output: &mut Output,
) -> Result<Ending, Failure>
where
    <P::Machine as Machine>::Error: fmt::Display,
{
    if let Some(keyboard) = keyboard {
        keyboard.set_waker(client.waker());
    }
    let (mut prompt, mut ending) = (Prompt::None, Ending::Over);
    loop {
        let is_our_turn = match client.try_next().map_err(|e| player.failed(e))? {
            Some(Next::Event(event)) => {
                player.event(event, output)?;
                prompt = Prompt::None;
                continue;
            }
            Some(Next::Close | Next::Abort) => return Ok(ending),
            Some(Next::Boundary) => continue,
            Some(Next::Command) => true,
            None => false,
        };
        let Some(keyboard) = keyboard else {
            if !is_our_turn {
                client.wait()?;
                continue;
            }
            let Some(command) = player.auto() else { return Ok(Ending::Quit) };
            client.command(command)?;
            continue;
        };
        if !is_our_turn {
            if prompt != Prompt::Waiting {
                keyboard.wait(player.waiting());
                prompt = Prompt::Waiting;
            }
            // The end of the input is handled in the player's turn.
            if keyboard.urgent() == Some(Typed::Interrupted) {
                return Err(Failure::INTERRUPTED);
            }
            client.wait()?;
            continue;
        }
        if prompt != Prompt::Turn {
            keyboard.ask(player.prompt());
            prompt = Prompt::Turn;
        }
        let Some(typed) = keyboard.next().map_err(|e| Failure::stdin(&e))? else {
            client.wait_without_timeout()?;
            continue;
        };
        prompt = Prompt::None;
        match typed {
            Typed::Line(line) => match player.parse(&line) {
                Ok(command) => match client.command(command) {
                    Err(net::Error::Refused(CommandError::Invalid(_))) => {
                        return Err(trailing_carriage_return());
                    }
                    result => result?,
                },
                Err(expected) => say(expected),
            },
            Typed::End | Typed::Interrupted => {
                let Some(command) = player.quit() else { return quit_early(keyboard, &typed) };
                client.command(command)?;
                ending = match typed {
                    Typed::Interrupted => Ending::Interrupted,
                    _ => Ending::Quit,
                };
            }
        }
    }
}

/// Closes the connection of a game. An interrupt while the peer has to speak is not delayed: nothing that was sent may
/// get lost.
pub(super) fn close<M: Machine>(client: net::Client<M>, result: &Result<Ending, Failure>) {
    if !matches!(result, Err(Failure::Interrupted(_))) {
        client.close();
    }
}

/// Returns the failure for a typed line that the machine refuses. The only such lines come from a script with
/// `--unchecked`.
fn trailing_carriage_return() -> Failure {
    Failure::Usage(
        "a line of standard input ends with a carriage return, which the server would remove; remove it"
            .into(),
    )
}

/// Ends a game that has no command to quit. For a script it is a usage error: it should have played to the end.
fn quit_early(keyboard: &Keyboard, typed: &Typed) -> Result<Ending, Failure> {
    match typed {
        Typed::Interrupted => Ok(Ending::Interrupted),
        _ if !keyboard.is_terminal() => Err(Failure::Usage(
            "standard input ended before the game was over; use --auto to play without it".into(),
        )),
        _ => Ok(Ending::Quit),
    }
}

/// Converts the result of a game to that of the program. A game that was quit is a failure.
pub(super) fn finished(result: Result<Ending, Failure>) -> Result<(), Failure> {
    match result? {
        Ending::Over => Ok(()),
        Ending::Quit => Err(Failure::Quit),
        Ending::Interrupted => Err(Failure::INTERRUPTED),
    }
}

/// Shows a line from the peer.
pub(super) fn show(output: &mut Output, text: &[u8]) -> Result<(), Failure> {
    emit(output, || text_event("line", text))?;
    output.line(text).map_err(Failure::stdout)
}

/// Reports the peer's prompt as an event. A person sees it as the prompt of the keyboard.
pub(super) fn report_prompt(output: &mut Output, text: &[u8]) -> Result<(), Failure> {
    emit(output, || text_event("prompt", text))
}
