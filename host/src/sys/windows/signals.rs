//! Signals of Windows: the events of the console.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};

use crate::sys::Signal;

/// Message to a watcher: a signal, or `None` to end.
type Message = Option<Signal>;

/// Watchers of interrupts. `None` until the handler is installed: a process can have one handler of ctrlc.
static WATCHERS: Mutex<Option<Vec<Sender<Message>>>> = Mutex::new(None);

/// Exit code of a program that an interrupt ended, as shells of Unix report it.
const INTERRUPTED: i32 = 130;

/// Signals that the program handles: see [`watch`].
#[derive(Debug)]
pub(crate) struct Signals {
    messages: Receiver<Message>,
    sender: Sender<Message>,
}

/// Handle that ends the iteration over [`Signals`].
#[derive(Debug)]
pub(crate) struct Closer(Sender<Message>);

impl Signals {
    /// Returns an iterator that waits for the next signal. It ends when it is closed: see [`closer`](Self::closer).
    pub(crate) fn forever(&mut self) -> impl Iterator<Item = Signal> {
        std::iter::from_fn(|| self.messages.recv().ok().flatten())
    }

    /// Returns whether a signal has arrived that [`forever`](Self::forever) has not returned, also after the close.
    pub(crate) fn has_pending(&mut self) -> bool {
        self.messages.try_iter().flatten().next().is_some()
    }

    pub(crate) fn closer(&self) -> Closer {
        Closer(self.sender.clone())
    }
}

impl Closer {
    pub(crate) fn close(&self) {
        // An error means that the iterator has been dropped.
        let _ = self.0.send(None);
    }
}

/// Handles the given signals, except those that the program inherited as ignored. Several callers can watch the same
/// signal: each gets it.
///
/// The only signal is [`Signal::Interrupt`]. When the console is closed or the session ends, Windows ends the program
/// while the signal is being handled. The handler of ctrlc cannot delay that.
pub(crate) fn watch(signals: &[Signal]) -> io::Result<Signals> {
    let (sender, messages) = mpsc::channel();
    if signals.contains(&Signal::Interrupt) {
        let mut watchers = WATCHERS.lock().unwrap_or_else(PoisonError::into_inner);
        if watchers.is_none() {
            // A parent process can make Ctrl-C ignored for its children. Windows then calls no handler.
            ctrlc::set_handler(dispatch).map_err(|e| match e {
                ctrlc::Error::System(e) => e,
                e => io::Error::other(e),
            })?;
        }
        watchers.get_or_insert_default().push(sender.clone());
    }
    Ok(Signals { messages, sender })
}

/// Sends an interrupt to all watchers, and removes those that have been dropped.
fn dispatch() {
    let mut watchers = WATCHERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(watchers) = watchers.as_mut() {
        watchers.retain(|watcher| watcher.send(Some(Signal::Interrupt)).is_ok());
    }
}

/// Performs the default action of a signal. Returns only if that does not end the program: after a stop, or if there is
/// no action.
pub(crate) fn end_by(signal: Signal) {
    if signal == Signal::Interrupt {
        std::process::exit(INTERRUPTED);
    }
}

/// Does what the console does on an interrupt.
#[cfg(test)]
pub(crate) fn raise(signal: Signal) {
    assert_eq!(signal, Signal::Interrupt);
    dispatch();
}
