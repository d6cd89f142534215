//! What the games share: a person, or a program in their place, who takes turns with a peer.

use std::fmt;

use socklab_core::driver::Next;
use socklab_core::machine::{CommandError, Machine};

use super::common::Failure;
use super::events::{emit, text_event};
use crate::net;
use crate::ui::{Keyboard, Output, Typed, say};

/// Why a connection of this machine failed.
type Error<M> = net::Error<<M as Machine>::Error>;

/// One side of a game.
pub(super) trait Player {
    type Machine: Machine;

    /// The machine says this.
    fn hear(
        &mut self,
        event: <Self::Machine as Machine>::Event<'_>,
        output: &mut Output,
    ) -> Result<(), Failure>;

    /// Why the game failed. A player that has heard what it did not understand quotes it.
    fn failed(&mut self, e: Error<Self::Machine>) -> Failure {
        e.into()
    }

    /// What it does in its turn, if it plays by itself.
    fn auto(&mut self) -> Option<<Self::Machine as Machine>::Command<'_>>;

    /// What the person is asked for in their turn.
    fn prompt(&self) -> &str;

    /// What the person's line means, or what it should have been.
    fn parse<'c>(
        &mut self,
        line: &'c [u8],
    ) -> Result<<Self::Machine as Machine>::Command<'c>, &'static str>;

    /// How the person says that they have had enough, if the game has a word for it.
    fn quit(&mut self) -> Option<<Self::Machine as Machine>::Command<'static>> {
        None
    }

    /// What the person waits for in the other's turn.
    fn waiting(&self) -> &str;
}

/// How a game ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As games do.
    Over,
    /// The person had enough.
    Left,
    /// The same by Ctrl-C.
    Interrupted,
}

/// What stands in front of the line that is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prompt {
    None,
    Turn,
    Waiting,
}

/// Plays to the end. Without a keyboard the player has to play by itself.
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
                player.hear(event, output)?;
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
            let Some(command) = player.auto() else { return Ok(Ending::Left) };
            client.command(command)?;
            continue;
        };
        if !is_our_turn {
            if prompt != Prompt::Waiting {
                keyboard.wait(player.waiting());
                prompt = Prompt::Waiting;
            }
            // An end is told in its turn.
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
                    Err(net::Error::Refused(CommandError::Invalid)) => return Err(no_line()),
                    result => result?,
                },
                Err(what) => say(what),
            },
            Typed::End | Typed::Interrupted => {
                let Some(command) = player.quit() else { return leave(keyboard, &typed) };
                client.command(command)?;
                ending = match typed {
                    Typed::Interrupted => Ending::Interrupted,
                    _ => Ending::Left,
                };
            }
        }
    }
}

/// What is typed can be no line only in this way: from a script with `--unchecked`.
fn no_line() -> Failure {
    Failure::Usage(
        "a line of standard input ends with a carriage return, which the server would not see; leave \
         it out"
            .into(),
    )
}

/// The person has had enough before the game was over. A script that ends too early has not done
/// what it was to do.
fn leave(keyboard: &Keyboard, typed: &Typed) -> Result<Ending, Failure> {
    match typed {
        Typed::Interrupted => Ok(Ending::Interrupted),
        _ if !keyboard.is_terminal() => Err(Failure::Usage(
            "standard input ended before the game was over; use --auto to play without it".into(),
        )),
        _ => Ok(Ending::Left),
    }
}

/// What a client's exit says: a game that was left has not been played.
pub(super) fn finished(result: Result<Ending, Failure>) -> Result<(), Failure> {
    match result? {
        Ending::Over => Ok(()),
        Ending::Left => Err(Failure::Left),
        Ending::Interrupted => Err(Failure::INTERRUPTED),
    }
}

/// Something that the other side says to the person.
pub(super) fn show(output: &mut Output, text: &[u8]) -> Result<(), Failure> {
    emit(output, || text_event("line", text))?;
    output.line(text).map_err(Failure::stdout)
}

/// The other side's prompt: a program wants to know it, a person sees it where they type.
pub(super) fn prompted(output: &mut Output, text: &[u8]) -> Result<(), Failure> {
    emit(output, || text_event("prompt", text))
}
