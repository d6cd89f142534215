//! The messages of a client: arguments, or lines of standard input.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};

use mio::Waker;
use socklab_core::datagram::DATAGRAM_MAX;

use crate::ui::streams::check_stdin;

/// Number of lines that are read ahead.
const QUEUE: usize = 16;

/// Result of asking a source for a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Message(Vec<u8>),
    /// The line with this number is longer than a datagram. The first line is 1.
    TooLong(u64),
    /// No message has been read yet. The waker is used when one has.
    Pending,
    /// The source has ended.
    End,
}

pub(super) enum Source {
    Arguments(std::vec::IntoIter<String>),
    Stdin(Receiver<io::Result<Next>>),
}

impl Source {
    /// Returns the next message without waiting.
    pub(super) fn next(&mut self) -> io::Result<Next> {
        match self {
            Self::Arguments(messages) => {
                let text = messages.next();
                Ok(text.map_or(Next::End, |text| Next::Message(text.into_bytes())))
            }
            Self::Stdin(lines) => match lines.try_recv() {
                Ok(line) => line,
                Err(TryRecvError::Empty) => Ok(Next::Pending),
                Err(TryRecvError::Disconnected) => Ok(Next::End),
            },
        }
    }

    /// Starts a thread that reads standard input. Systems report readiness differently for terminals, pipes and files,
    /// and blocking reads work for all of them.
    pub(super) fn stdin(waker: Arc<Waker>) -> io::Result<Self> {
        check_stdin()?;
        let (sender, lines) = mpsc::sync_channel(QUEUE);
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            read(&mut io::stdin().lock(), &sender, &waker);
            // Disconnected before waking, so that the client sees the end.
            drop(sender);
            let _ = waker.wake();
        })?;
        Ok(Self::Stdin(lines))
    }
}

/// Reads until the end of the input, an error, or the end of the client.
fn read(reader: &mut impl BufRead, lines: &SyncSender<io::Result<Next>>, waker: &Waker) {
    for number in 1.. {
        let line = match next_line(reader, number) {
            Ok(Next::End) => return,
            line => line,
        };
        let is_failed = line.is_err();
        if lines.send(line).is_err() || is_failed {
            return;
        }
        let _ = waker.wake();
    }
}

/// Reads a line and removes its end. One that is too long is read to its end, but not kept.
fn next_line(reader: &mut impl BufRead, number: u64) -> io::Result<Next> {
    /// Of the longest line with its end, which may have a carriage return.
    const MOST: usize = DATAGRAM_MAX + 2;
    let mut line = Vec::new();
    if Read::by_ref(reader).take(MOST as u64).read_until(b'\n', &mut line)? == 0 {
        return Ok(Next::End);
    }
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    } else if line.len() == MOST {
        reader.skip_until(b'\n')?;
    }
    Ok(if line.len() > DATAGRAM_MAX { Next::TooLong(number) } else { Next::Message(line) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Next> {
        let mut reader = io::BufReader::with_capacity(1000, bytes);
        (1..)
            .map(|number| next_line(&mut reader, number).unwrap())
            .take_while(|next| *next != Next::End)
            .collect()
    }

    fn message(bytes: &[u8]) -> Next {
        Next::Message(bytes.to_vec())
    }

    #[test]
    fn a_line_ends_at_a_newline_or_at_the_end() {
        assert_eq!(lines(b""), []);
        let expected = ["", "a\rb", "", "c", "d\r"].map(|line| message(line.as_bytes()));
        assert_eq!(lines(b"\na\rb\r\n\r\nc\nd\r"), expected);
    }

    #[test]
    fn a_line_that_is_too_long_costs_only_itself() {
        let long = |n| vec![b'x'; n];
        for end in [&b"\n"[..], b"\r\n"] {
            for n in [DATAGRAM_MAX + 1, DATAGRAM_MAX + 2, DATAGRAM_MAX + 3, 1_000_000] {
                let all = lines(&[&long(n), end, b"after\n"].concat());
                assert_eq!(all, [Next::TooLong(1), message(b"after")], "{n}");
            }
            let all = lines(&[&long(DATAGRAM_MAX), end, b"after\n"].concat());
            assert_eq!(all, [message(&long(DATAGRAM_MAX)), message(b"after")]);
        }
        assert_eq!(lines(&long(DATAGRAM_MAX)), [message(&long(DATAGRAM_MAX))]);
        assert_eq!(lines(&long(DATAGRAM_MAX + 1)), [Next::TooLong(1)]);
    }
}
