//! Source of the messages of an echo client: the arguments, or lines of stdin of any length.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};

use mio::Waker;

use crate::echo::{Checker, FileMessage, removed};
use crate::sys;
use crate::ui::streams::check_stdin;

/// Number of lines that are read ahead.
const QUEUE: usize = 64;

/// Largest number of bytes of a line that is kept in memory.
///
/// The length of a message is sent before its bytes, so a longer line must be read twice. If stdin is a file, it is
/// read again. Otherwise the line is copied to a temporary file.
const MEMORY: usize = 1 << 16;

/// Largest number of temporary files with lines that have not been sent.
const SPOOL_FILES: usize = 2;

/// A message to send.
pub(super) enum Message {
    /// A message in memory.
    Memory(Vec<u8>),
    /// A long line in a file.
    File(FileMessage),
}

/// Result of asking a source for a message.
pub(super) enum Next {
    Message(Message),
    /// There is no message yet. The client's waker is called when there is one.
    Pending,
    /// The source has ended.
    End,
}

/// Error of a source. There are no further messages.
#[derive(Debug)]
pub(super) enum SourceError {
    /// The line with this number is longer than a message may be. The first line is 1.
    TooLong(u64),
    /// Standard input cannot be read.
    Read(io::Error),
    /// A line cannot be written to a temporary file.
    Spool(io::Error),
}

pub(super) enum Source {
    Arguments(std::vec::IntoIter<String>),
    Stdin {
        lines: Receiver<Result<Message, SourceError>>,
        /// Contains an entry for each temporary file whose line has not been sent. The reading thread waits while it is
        /// full.
        spool_slots: Receiver<()>,
    },
}

impl Source {
    /// Returns the next message without waiting.
    pub(super) fn next(&mut self) -> Result<Next, SourceError> {
        match self {
            Self::Arguments(messages) => Ok(messages
                .next()
                .map_or(Next::End, |text| Next::Message(Message::Memory(text.into_bytes())))),
            Self::Stdin { lines, .. } => match lines.try_recv() {
                Ok(line) => line.map(Next::Message),
                Err(TryRecvError::Empty) => Ok(Next::Pending),
                Err(TryRecvError::Disconnected) => Ok(Next::End),
            },
        }
    }

    /// Releases the slot of a temporary file after its message has been sent.
    pub(super) fn release_file(&self) {
        if let Self::Stdin { spool_slots, .. } = self {
            // Empty if stdin is a file, which needs no temporary files.
            let _ = spool_slots.try_recv();
        }
    }

    /// Starts a thread that reads stdin. No line may have more than `max` bytes.
    ///
    /// A thread, because systems report readiness differently for terminals, pipes and files. Blocking reads work for
    /// all of them.
    pub(super) fn stdin(waker: Arc<Waker>, max: u32) -> io::Result<Self> {
        check_stdin()?;
        let (sender, lines) = mpsc::sync_channel(QUEUE);
        let (slots, spool_slots) = mpsc::sync_channel(SPOOL_FILES);
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let _ = read_stdin(&sender, slots, &waker, max);
            // Disconnected before waking, so that the client sees the end.
            drop(sender);
            let _ = waker.wake();
        })?;
        Ok(Self::Stdin { lines, spool_slots })
    }
}

/// The client has dropped the source.
struct Disconnected;

fn read_stdin(
    lines: &SyncSender<Result<Message, SourceError>>,
    slots: SyncSender<()>,
    waker: &Waker,
    max: u32,
) -> Result<(), Disconnected> {
    // A duplicate of the descriptor, because the buffer of `Stdin` would hide the file offset of a line.
    let mut reader = match sys::file::stdin().and_then(|file| Lines::new(file, slots, max)) {
        Ok(reader) => reader,
        Err(e) => return lines.send(Err(SourceError::Read(e))).map_err(|_| Disconnected),
    };
    loop {
        let line = match reader.next() {
            Ok(Some(line)) => Ok(line),
            Ok(None) => return Ok(()),
            Err(LineError::Disconnected) => return Err(Disconnected),
            Err(LineError::Source(e)) => Err(e),
        };
        let failed = line.is_err();
        lines.send(line).map_err(|_| Disconnected)?;
        let _ = waker.wake();
        if failed {
            return Ok(());
        }
    }
}

/// Reason why no line was read.
enum LineError {
    Source(SourceError),
    Disconnected,
}

/// Reader of lines.
struct Lines<R> {
    reader: BufReader<R>,
    /// The input, if it is a regular file that can be read a second time.
    file: Option<Arc<File>>,
    /// Offset of the next byte of `reader` in `file`.
    at: u64,
    slots: SyncSender<()>,
    /// Largest number of bytes of a line.
    max: u32,
    /// Number of the current line. The first one is 1.
    number: u64,
}

impl Lines<Box<dyn Read>> {
    /// Returns a reader of this duplicate of standard input, or of `Stdin` without one.
    fn new(file: Option<File>, slots: SyncSender<()>, max: u32) -> io::Result<Self> {
        let (input, file, at) = match file {
            Some(mut file) if file.metadata().is_ok_and(|found| found.is_file()) => {
                let (again, at) = (Arc::new(file.try_clone()?), file.stream_position()?);
                (Box::new(sys::file::sequential(file)?) as Box<dyn Read>, Some(again), at)
            }
            Some(file) => (Box::new(file) as Box<dyn Read>, None, 0),
            None => (Box::new(io::stdin()) as Box<dyn Read>, None, 0),
        };
        let reader = BufReader::with_capacity(MEMORY, input);
        Ok(Self { reader, file, at, slots, max, number: 0 })
    }
}

impl<R: Read> Lines<R> {
    /// Reads the next line and removes its end. Returns `None` at the end of the input.
    fn next(&mut self) -> Result<Option<Message>, LineError> {
        self.number += 1;
        let start = self.at;
        let (mut line, mut long, mut is_ended) = (Vec::new(), None::<LongLine>, false);
        while !is_ended {
            let mut piece = Vec::new();
            let read = self.reader.by_ref().take(MEMORY as u64).read_until(b'\n', &mut piece);
            match read.map_err(|e| LineError::Source(SourceError::Read(e)))? {
                0 => break,
                n => self.at += n as u64,
            }
            is_ended = piece.pop_if(|last| *last == b'\n').is_some();
            if long.is_none() && line.len() + piece.len() > MEMORY {
                // Input that cannot be read again is copied to a temporary file.
                let spool = match &self.file {
                    Some(_) => None,
                    None => {
                        self.slots.send(()).map_err(|_| LineError::Disconnected)?;
                        Some(tempfile::tempfile().map_err(spool_error)?)
                    }
                };
                let mut new = LongLine::new(spool);
                new.add(&line).map_err(spool_error)?;
                line = Vec::new();
                long = Some(new);
            }
            let length = if let Some(long) = &mut long {
                long.add(&piece).map_err(spool_error)?;
                long.length
            } else {
                if line.is_empty() {
                    line = piece;
                } else {
                    line.extend_from_slice(&piece);
                }
                line.len() as u64
            };
            // Checked before the end of the line, so that an endless line is refused. One byte more is allowed, because
            // it may be a carriage return of the line end.
            if length > u64::from(self.max) + 1 {
                return Err(LineError::Source(SourceError::TooLong(self.number)));
            }
        }
        if self.at == start {
            return Ok(None);
        }
        let Some(long) = long else {
            if is_ended {
                line.pop_if(|last| *last == b'\r');
            }
            return self.check_length(line.len() as u64).map(|_| Some(Message::Memory(line)));
        };
        let (spool, summary) = long.finish(is_ended);
        let length = self.check_length(summary.length)?;
        let Summary { start: first, crc, .. } = summary;
        let (file, offset) = match (spool, &self.file) {
            (Some(spool), _) => (Arc::new(spool), 0),
            (None, Some(file)) => (Arc::clone(file), start),
            (None, None) => return Ok(None),
        };
        Ok(Some(Message::File(FileMessage { file, offset, length, start: first, crc })))
    }

    fn check_length(&self, length: u64) -> Result<u32, LineError> {
        match u32::try_from(length) {
            Ok(length) if length <= self.max => Ok(length),
            _ => Err(LineError::Source(SourceError::TooLong(self.number))),
        }
    }
}

fn spool_error(e: io::Error) -> LineError {
    LineError::Source(SourceError::Spool(e))
}

/// The part of a long line that has been read.
struct LongLine {
    spool: Option<File>,
    length: u64,
    start: Vec<u8>,
    /// Checksum of the expected reply. It starts once `start` is complete.
    crc: crc32fast::Hasher,
    /// The last byte was a carriage return, which may belong to the line end. It is not counted yet.
    cr: bool,
}

impl LongLine {
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
            // `start` suffices: ten characters have at most 40 bytes.
            self.crc.update(&self.start[removed(&self.start).unwrap_or(0)..]);
        }
        self.crc.update(rest);
    }

    /// Completes the line. `is_ended` is set if a newline follows it, and not the end of the input.
    fn finish(mut self, is_ended: bool) -> (Option<File>, Summary) {
        if self.cr && !is_ended {
            self.count(b"\r");
        }
        let Self { spool, length, start, crc, .. } = self;
        (spool, Summary { length, start: start.into(), crc: crc.finalize() })
    }
}

/// Length, start and checksum of a complete long line.
struct Summary {
    length: u64,
    start: Box<[u8]>,
    crc: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns all lines of an input as bytes, each with whether it is in a file.
    fn all<R: Read>(mut lines: Lines<R>, spool_slots: &Receiver<()>) -> Vec<(Vec<u8>, bool)> {
        let mut all = Vec::new();
        loop {
            match lines.next() {
                Ok(None) => return all,
                Ok(Some(Message::Memory(line))) => all.push((line, false)),
                Ok(Some(Message::File(FileMessage { file, offset, length, start, crc }))) => {
                    let mut line = vec![0; length as usize];
                    sys::read::read_exact_at(&file, &mut line, offset).unwrap();
                    assert_eq!(*start, line[..Checker::START_BYTES]);
                    let removed = removed(&line).unwrap_or(0);
                    assert_eq!(crc, crc32fast::hash(&line[removed..]));
                    all.push((line, true));
                    let _ = spool_slots.try_recv();
                }
                Err(LineError::Source(e)) => panic!("{e:?}"),
                Err(LineError::Disconnected) => panic!("disconnected"),
            }
        }
    }

    #[test]
    fn lines_of_any_length_are_read_from_a_pipe_and_from_a_file() {
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
        // The lines do not start at offset 0.
        file.write_all(b"before\n").unwrap();
        file.write_all(&bytes).unwrap();
        file.seek(io::SeekFrom::Start(7)).unwrap();
        let (slots, spool_slots) = mpsc::sync_channel(SPOOL_FILES);
        let from_file = all(Lines::new(Some(file), slots.clone(), u32::MAX).unwrap(), &spool_slots);
        let reader = BufReader::with_capacity(1000, &bytes[..]);
        let lines = Lines { reader, file: None, at: 0, slots, max: u32::MAX, number: 0 };
        let from_pipe = all(lines, &spool_slots);
        for all in [from_file, from_pipe] {
            for ((line, is_in_file), expected) in all.iter().zip(&expected) {
                assert!(line == expected, "{} bytes, expected {}", line.len(), expected.len());
                assert!(line.len() <= MEMORY || *is_in_file, "{} bytes", line.len());
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
            let (slots, _spool_slots) = mpsc::sync_channel(SPOOL_FILES);
            let reader = BufReader::with_capacity(5000, &bytes[..]);
            let mut lines = Lines { reader, file: None, at: 0, slots, max: 65_535, number: 0 };
            assert!(matches!(lines.next(), Ok(Some(Message::Memory(_)))));
            match lines.next() {
                Ok(Some(_)) => assert!(fits, "{length}"),
                Err(LineError::Source(SourceError::TooLong(2))) => assert!(!fits, "{length}"),
                _ => panic!("{length}"),
            }
        }
        let endless = BufReader::new(io::repeat(b'x'));
        let (slots, _spool_slots) = mpsc::sync_channel(SPOOL_FILES);
        let mut lines = Lines { reader: endless, file: None, at: 0, slots, max: 65_535, number: 0 };
        assert!(matches!(lines.next(), Err(LineError::Source(SourceError::TooLong(1)))));
    }
}
