use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::ProgressBar;

/// The progress bar on the screen, if there is one.
static CURRENT: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Progress bar that is removed while the program writes other lines: see [`above`]. It is cleared when it is dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Makes `bar` the current progress bar. There must be no other one.
    pub(crate) fn new(bar: ProgressBar) -> Self {
        *current() = Some(bar.clone());
        Self(bar)
    }
}

impl Deref for Bar {
    type Target = ProgressBar;

    fn deref(&self) -> &ProgressBar {
        &self.0
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        *current() = None;
        self.0.finish_and_clear();
    }
}

fn current() -> MutexGuard<'static, Option<ProgressBar>> {
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes whole lines above the progress bar: removes the bar, calls `write`, and draws the bar again.
pub(super) fn above<R>(write: impl FnOnce() -> R) -> R {
    // The lock is released before writing: a write can block on a stopped terminal, and must not block the thread that
    // clears the bar.
    let bar = current().clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use indicatif::{ProgressDrawTarget, ProgressStyle, TermLike};

    use super::*;

    /// A terminal that records what is written to it.
    #[derive(Clone, Debug, Default)]
    struct Terminal(Arc<Mutex<String>>);

    impl Terminal {
        fn put(&self, text: &str) -> io::Result<()> {
            self.0.lock().expect("no panic").push_str(text);
            Ok(())
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            80
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.put(&format!("{text}\n"))
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.put(text.trim_end())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.put("<clear>")
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_written_above_the_bar() {
        let terminal = Terminal::default();
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let style = ProgressStyle::with_template("{pos} of {len}").expect("a template");
        let bar = Bar::new(ProgressBar::with_draw_target(Some(9), target).with_style(style));
        bar.set_position(4);
        bar.tick();
        above(|| terminal.put("a line\n")).expect("the terminal accepts it");
        let text = terminal.0.lock().expect("no panic").clone();
        let (before, after) = text.split_once("a line\n").expect("it is written");
        assert!(before.ends_with("4 of 9<clear>"), "{text:?}");
        assert!(after.contains("4 of 9"), "{text:?}");
        drop(bar);
        let text = terminal.0.lock().expect("no panic").clone();
        assert!(text.ends_with("<clear>"), "{text:?}");
        assert_eq!(above(|| 1), 1);
    }
}
