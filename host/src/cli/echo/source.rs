//! Where the messages of an echo client come from: its arguments, or lines of stdin of any length.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};

use mio::Waker;

use crate::echo::{Checker, FileMessage, removed};
use crate::ui::streams::check_stdin;

/// Number of lines that are read before they can be sent.
const WAITING: usize = 64;

/// A longer line is not held in memory. Its length goes before it, so it has to be looked at twice: a
/// file is read twice, anything else is copied to a temporary file.
const MEMORY: usize = 1 << 16;

/// Number of temporary files with lines that have not been sent.
const SPOOLED: usize = 2;

/// A message.
pub(super) enum Message {
    /// In memory.
    Held(Vec<u8>),
    /// A line that is too long for that.
    File(FileMessage),
}

/// What a source has now.
pub(super) enum Have {
    Message(Message),
    /// Nothing yet; the client's waker will tell.
    Nothing,
    /// It is at its end.
    End,
}

/// Why there is no line.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is longer than a message may be: its number, the first being 1.
    TooLong(u64),
    /// Standard input cannot be read.
    Read(io::Error),
    /// A line cannot be kept in a temporary file.
    Spool(io::Error),
}

pub(super) enum Source {
    Arguments(std::vec::IntoIter<String>),
    Stdin {
        lines: Receiver<Result<Message, Fault>>,
        /// An entry for each temporary file that has not been sent.
        spools: Receiver<()>,
    },
}

impl Source {
    pub(super) fn take(&mut self) -> Result<Have, Fault> {
        match self {
            Self::Arguments(messages) => Ok(messages
                .next()
                .map_or(Have::End, |text| Have::Message(Message::Held(text.into_bytes())))),
            Self::Stdin { lines, .. } => match lines.try_recv() {
                Ok(line) => line.map(Have::Message),
                Err(TryRecvError::Empty) => Ok(Have::Nothing),
                Err(TryRecvError::Disconnected) => Ok(Have::End),
            },
        }
    }

    /// A message from a file has been sent.
    pub(super) fn sent(&self) {
        if let Self::Stdin { spools, .. } = self {
            // None for a line that needed no temporary file.
            let _ = spools.try_recv();
        }
    }

    /// Reads stdin in a thread: readiness of a terminal, a pipe and a file are three different things
    /// to a system, blocking reads are one. No line may have more than `most` bytes.
    pub(super) fn stdin(waker: Arc<Waker>, most: u32) -> io::Result<Self> {
        check_stdin()?;
        let (sender, lines) = mpsc::sync_channel(WAITING);
        let (spooling, spools) = mpsc::sync_channel(SPOOLED);
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let _ = read_stdin(&sender, spooling, &waker, most);
            // Disconnected first, so that the client sees the end when it wakes.
            drop(sender);
            let _ = waker.wake();
        })?;
        Ok(Self::Stdin { lines, spools })
    }
}

/// The client takes no more lines.
struct Gone;

fn read_stdin(
    lines: &SyncSender<Result<Message, Fault>>,
    spooling: SyncSender<()>,
    waker: &Waker,
    most: u32,
) -> Result<(), Gone> {
    let stdin = io::stdin();
    // A descriptor of its own is read, past the buffer of `Stdin`: where a line begins is known then.
    let file = stdin.as_fd().try_clone_to_owned().map(File::from);
    let mut reader = match file.and_then(|file| Lines::new(file, spooling, most)) {
        Ok(reader) => reader,
        Err(e) => return lines.send(Err(Fault::Read(e))).map_err(|_| Gone),
    };
    loop {
        let line = match reader.next() {
            Ok(Some(line)) => Ok(line),
            Ok(None) => return Ok(()),
            Err(Stop::Gone) => return Err(Gone),
            Err(Stop::Fault(fault)) => Err(fault),
        };
        let failed = line.is_err();
        lines.send(line).map_err(|_| Gone)?;
        let _ = waker.wake();
        if failed {
            return Ok(());
        }
    }
}

/// Why no line is read.
enum Stop {
    Fault(Fault),
    Gone,
}

/// Lines of a file.
struct Lines<R> {
    reader: BufReader<R>,
    /// The same, if it can be read twice.
    file: Option<Arc<File>>,
    /// Offset in it of what is read next.
    at: u64,
    spooling: SyncSender<()>,
    most: u32,
    number: u64,
}

impl Lines<File> {
    fn new(mut file: File, spooling: SyncSender<()>, most: u32) -> io::Result<Self> {
        let (twice, at) = if file.metadata()?.is_file() {
            (Some(Arc::new(file.try_clone()?)), file.stream_position()?)
        } else {
            (None, 0)
        };
        let reader = BufReader::with_capacity(MEMORY, file);
        Ok(Self { reader, file: twice, at, spooling, most, number: 0 })
    }
}

impl<R: Read> Lines<R> {
    /// The next line, without its end.
    fn next(&mut self) -> Result<Option<Message>, Stop> {
        self.number += 1;
        let start = self.at;
        let (mut line, mut long, mut is_ended) = (Vec::new(), None::<Long>, false);
        while !is_ended {
            let mut piece = Vec::new();
            let read = self.reader.by_ref().take(MEMORY as u64).read_until(b'\n', &mut piece);
            match read.map_err(|e| Stop::Fault(Fault::Read(e)))? {
                0 => break,
                n => self.at += n as u64,
            }
            is_ended = piece.pop_if(|last| *last == b'\n').is_some();
            if long.is_none() && line.len() + piece.len() > MEMORY {
                // What cannot be read again is written down.
                let spool = match &self.file {
                    Some(_) => None,
                    None => {
                        self.spooling.send(()).map_err(|_| Stop::Gone)?;
                        Some(tempfile::tempfile().map_err(spool_fault)?)
                    }
                };
                let mut new = Long::new(spool);
                new.add(&line).map_err(spool_fault)?;
                line = Vec::new();
                long = Some(new);
            }
            let length = if let Some(long) = &mut long {
                long.add(&piece).map_err(spool_fault)?;
                long.length
            } else {
                if line.is_empty() {
                    line = piece;
                } else {
                    line.extend_from_slice(&piece);
                }
                line.len() as u64
            };
            // Not at the end of a line that continues for long; with a carriage return it may still be right.
            if length > u64::from(self.most) + 1 {
                return Err(Stop::Fault(Fault::TooLong(self.number)));
            }
        }
        if self.at == start {
            return Ok(None);
        }
        let Some(long) = long else {
            if is_ended {
                line.pop_if(|last| *last == b'\r');
            }
            return self.fits(line.len() as u64).map(|_| Some(Message::Held(line)));
        };
        let (spool, filed) = long.finish(is_ended);
        let length = self.fits(filed.length)?;
        let Spooled { start: first, crc, .. } = filed;
        let (file, offset) = match (spool, &self.file) {
            (Some(spool), _) => (Arc::new(spool), 0),
            (None, Some(file)) => (Arc::clone(file), start),
            (None, None) => return Ok(None),
        };
        Ok(Some(Message::File(FileMessage { file, offset, length, start: first, crc })))
    }

    fn fits(&self, length: u64) -> Result<u32, Stop> {
        match u32::try_from(length) {
            Ok(length) if length <= self.most => Ok(length),
            _ => Err(Stop::Fault(Fault::TooLong(self.number))),
        }
    }
}

fn spool_fault(e: io::Error) -> Stop {
    Stop::Fault(Fault::Spool(e))
}

/// A line that is too long for memory, as far as it has been read.
struct Long {
    spool: Option<File>,
    length: u64,
    start: Vec<u8>,
    /// The checksum of the reply; until the start is known there is none.
    crc: crc32fast::Hasher,
    /// The last byte was a carriage return: it may be a part of the line's end.
    cr: bool,
}

impl Long {
    fn new(spool: Option<File>) -> Self {
        Self { spool, length: 0, start: Vec::new(), crc: crc32fast::Hasher::new(), cr: false }
    }

    fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        if piece.is_empty() {
            return Ok(());
        }
        if let Some(spool) = &mut self.spool {
            spool.write_all(piece)?;
        }
        if std::mem::take(&mut self.cr) {
            self.count(b"\r");
        }
        match piece {
            [front @ .., b'\r'] => {
                self.cr = true;
                self.count(front);
            }
            piece => self.count(piece),
        }
        Ok(())
    }

    fn count(&mut self, piece: &[u8]) {
        self.length += piece.len() as u64;
        let missing = Checker::START_BYTES - self.start.len();
        let (start, rest) = piece.split_at(piece.len().min(missing));
        self.start.extend_from_slice(start);
        if missing > 0 && start.len() == missing {
            // It is longer than that in any case.
            self.crc.update(&self.start[removed(&self.start).unwrap_or(0)..]);
        }
        self.crc.update(rest);
    }

    /// All of it has been read; with the end of the line, or that of the input.
    fn finish(mut self, is_ended: bool) -> (Option<File>, Spooled) {
        if self.cr && !is_ended {
            self.count(b"\r");
        }
        let Self { spool, length, start, crc, .. } = self;
        (spool, Spooled { length, start: start.into(), crc: crc.finalize() })
    }
}

/// What is known of a long line.
struct Spooled {
    length: u64,
    start: Box<[u8]>,
    crc: u32,
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    /// All lines of an input, as bytes, and which of them are in files.
    fn all<R: Read>(mut lines: Lines<R>, spools: &Receiver<()>) -> Vec<(Vec<u8>, bool)> {
        let mut all = Vec::new();
        loop {
            match lines.next() {
                Ok(None) => return all,
                Ok(Some(Message::Held(line))) => all.push((line, false)),
                Ok(Some(Message::File(FileMessage { file, offset, length, start, crc }))) => {
                    let mut line = vec![0; length as usize];
                    file.read_exact_at(&mut line, offset).unwrap();
                    assert_eq!(*start, line[..Checker::START_BYTES]);
                    let removed = removed(&line).unwrap_or(0);
                    assert_eq!(crc, crc32fast::hash(&line[removed..]));
                    all.push((line, true));
                    let _ = spools.try_recv();
                }
                Err(Stop::Fault(fault)) => panic!("{fault:?}"),
                Err(Stop::Gone) => panic!("gone"),
            }
        }
    }

    #[test]
    fn lines_of_any_length_come_as_they_are_from_a_pipe_and_from_a_file() {
        let long = |n: usize| (0..n).map(|i| b'a' + (i % 26) as u8).collect::<Vec<_>>();
        let umlauts = "ä".repeat(50_000).into_bytes();
        let lines: [&[u8]; 12] = [
            b"",
            b"short\n",
            b"\r\n",
            b"a\rb\r\n",
            &[&long(MEMORY)[..], b"\n"].concat(),
            &[&long(MEMORY)[..], b"\r\n"].concat(),
            &[&long(MEMORY + 1)[..], b"\n"].concat(),
            &[&long(300_000)[..], b"\r\n"].concat(),
            &[&long(200_000)[..], b"\r\r\n"].concat(),
            &[&umlauts[..], b"\n"].concat(),
            &[&long(3)[..], &[b'\r'; 100_000], b"x\n"].concat(),
            &[&long(100_000)[..], b"\r"].concat(),
        ];
        let bytes = lines.concat();
        let expected: Vec<Vec<u8>> = lines[1..]
            .iter()
            .map(|line| match *line {
                [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] | line => line.to_vec(),
            })
            .collect();
        let mut file = tempfile::tempfile().unwrap();
        // Not from its beginning.
        file.write_all(b"before\n").unwrap();
        file.write_all(&bytes).unwrap();
        file.seek(io::SeekFrom::Start(7)).unwrap();
        let (spooling, spools) = mpsc::sync_channel(SPOOLED);
        let of_file = all(Lines::new(file, spooling.clone(), u32::MAX).unwrap(), &spools);
        let reader = BufReader::with_capacity(1000, &bytes[..]);
        let of_pipe =
            all(Lines { reader, file: None, at: 0, spooling, most: u32::MAX, number: 0 }, &spools);
        for all in [of_file, of_pipe] {
            for ((line, is_filed), expected) in all.iter().zip(&expected) {
                assert!(line == expected, "{} bytes, expected {}", line.len(), expected.len());
                assert!(line.len() <= MEMORY || *is_filed, "{} bytes", line.len());
            }
            assert_eq!(all.len(), expected.len());
        }
    }

    #[test]
    fn a_line_that_is_too_long_for_a_message_is_not_read_to_its_end() {
        for (length, end, fits) in [
            (65_535, &b"\n"[..], true),
            (65_535, b"\r\n", true),
            (65_535, b"", true),
            (65_536, b"\n", false),
            (65_536, b"\r\n", false),
            (65_535, b"\r", false),
            (70_000, b"\n", false),
        ] {
            let bytes = [b"first\n", &vec![b'x'; length][..], end].concat();
            let (spooling, _spools) = mpsc::sync_channel(SPOOLED);
            let reader = BufReader::with_capacity(5000, &bytes[..]);
            let mut lines = Lines { reader, file: None, at: 0, spooling, most: 65_535, number: 0 };
            assert!(matches!(lines.next(), Ok(Some(Message::Held(_)))));
            match lines.next() {
                Ok(Some(_)) => assert!(fits, "{length}"),
                Err(Stop::Fault(Fault::TooLong(2))) => assert!(!fits, "{length}"),
                _ => panic!("{length}"),
            }
        }
        let endless = BufReader::new(io::repeat(b'x'));
        let (spooling, _spools) = mpsc::sync_channel(SPOOLED);
        let mut lines =
            Lines { reader: endless, file: None, at: 0, spooling, most: 65_535, number: 0 };
        assert!(matches!(lines.next(), Err(Stop::Fault(Fault::TooLong(1)))));
    }
}
