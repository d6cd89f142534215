//! Signal handling.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

pub(crate) use crate::sys::Signal;
pub(crate) use crate::sys::signals::{Closer, Signals, end_by, watch};

/// What a signal does to a client.
static ENDING: Ending = Ending(Mutex::new(State::Off));

/// Number of signals that have asked a server or a proxy to stop.
static STOPS: AtomicU32 = AtomicU32::new(0);

/// Counts a signal that has asked a server or a proxy to stop.
pub(crate) fn record_stop() {
    STOPS.fetch_add(1, Ordering::AcqRel);
}

/// Returns the number of signals that have asked a server or a proxy to stop.
pub(crate) fn stops() -> u32 {
    STOPS.load(Ordering::Acquire)
}

/// Lets each of `signals` call `end`, in a thread, which must end the program. After a [`claim`], this ends it, and a
/// signal since then calls `end` too.
///
/// # Errors
///
/// When the system cannot watch for signals or start a thread.
pub(crate) fn end_on(
    signals: &'static [Signal],
    end: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    ENDING.start(signals, end)
}

/// Declares that the caller handles signals from now on, because it has to clean up. It must watch for them already, and
/// have nothing to clean up yet: a signal that arrived earlier ends the program now.
///
/// # Errors
///
/// When the system cannot watch for signals.
pub(crate) fn claim() -> io::Result<()> {
    ENDING.claim()
}

/// Ends the effect of [`end_on`]. Returns whether a signal has arrived since the [`claim`].
pub(crate) fn end_off() -> bool {
    ENDING.finish()
}

struct Ending(Mutex<State>);

enum State {
    Off,
    /// A signal ends the program.
    Thread {
        signals: &'static [Signal],
        closer: Closer,
        thread: JoinHandle<()>,
    },
    /// A part of the program handles signals. They are only recorded here, for the exit code.
    Claimed(Signals),
}

impl Ending {
    fn start(
        &self,
        signals: &'static [Signal],
        end: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let mut watched = match self.replace(State::Off) {
            State::Claimed(watched) => watched,
            State::Off | State::Thread { .. } => watch(signals)?,
        };
        let closer = watched.closer();
        let thread = thread::Builder::new().name("interrupt".into()).spawn(move || {
            // After the close, a signal may be left that arrived before it.
            if watched.forever().next().is_some() || watched.has_pending() {
                end();
            }
        })?;
        self.replace(State::Thread { signals, closer, thread });
        Ok(())
    }

    fn claim(&self) -> io::Result<()> {
        match self.replace(State::Off) {
            State::Off => {}
            claimed @ State::Claimed(_) => drop(self.replace(claimed)),
            State::Thread { signals, closer, thread } => {
                // Before the close, so that no signal is between the two.
                self.replace(State::Claimed(watch(signals)?));
                closer.close();
                let _ = thread.join();
            }
        }
        Ok(())
    }

    fn finish(&self) -> bool {
        match self.replace(State::Off) {
            State::Off => false,
            State::Claimed(mut signals) => signals.has_pending(),
            State::Thread { closer, thread, .. } => {
                closer.close();
                // Wine 8 can crash if a process ends while one of its threads is ending.
                let _ = thread.join();
                false
            }
        }
    }

    fn replace(&self, state: State) -> State {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), state)
    }
}

#[cfg(test)]
mod tests {
    use std::hint;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::sys::signals::raise;

    /// A process has one set of signals, so one test at a time may raise them.
    static RAISING: Mutex<()> = Mutex::new(());

    #[test]
    fn every_watcher_gets_an_interrupt_until_it_is_closed() {
        let _raising = RAISING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut watchers =
            [watch(&[Signal::Interrupt]).unwrap(), watch(&[Signal::Interrupt]).unwrap()];
        let mut other = watch(&[Signal::Resize]).unwrap();
        raise(Signal::Interrupt);
        for watcher in &mut watchers {
            assert_eq!(watcher.forever().next(), Some(Signal::Interrupt));
            watcher.closer().close();
            assert_eq!(watcher.forever().next(), None);
        }
        other.closer().close();
        assert_eq!(other.forever().next(), None);
    }

    /// It was lost if it arrived before the new watch, and its thread ran after the claim.
    #[test]
    fn a_signal_is_not_lost_while_it_is_claimed() {
        let _raising = RAISING.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut ended_early, mut handled) = (0, 0);
        for round in 0..2000 {
            let ending = Ending(Mutex::new(State::Off));
            let ended = Arc::new(AtomicBool::new(false));
            let end = Arc::clone(&ended);
            ending.start(&[Signal::Interrupt], move || end.store(true, Ordering::SeqCst)).unwrap();
            let raising = thread::spawn(move || {
                for _ in 0..round * 20 {
                    hint::spin_loop();
                }
                raise(Signal::Interrupt);
            });
            let mut own = watch(&[Signal::Interrupt]).unwrap();
            ending.claim().unwrap();
            let ended_by_claim = ended.load(Ordering::SeqCst);
            raising.join().unwrap();
            // The claim has joined the thread, which calls nothing later.
            assert_eq!(ended.load(Ordering::SeqCst), ended_by_claim);
            let (is_handled, is_recorded) = (own.has_pending(), ending.finish());
            assert!(ended_by_claim || (is_handled && is_recorded), "round {round}");
            if ended_by_claim { ended_early += 1 } else { handled += 1 }
        }
        assert!(ended_early > 0 && handled > 0, "{ended_early} {handled}");
    }
}
