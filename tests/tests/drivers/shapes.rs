//! Shapes of async transports: one object, two halves, and halves with errors of their own.

use std::convert::Infallible;

use embedded_io::ErrorKind;
use embedded_io_async::{ErrorType, Read, Write};
use socklab_core::chat::{self, Chat};
use socklab_core::driver::asynch::{Connection, Fault, Halves, Transport, Whole};
use socklab_core::driver::{Error, Next};
use socklab_core::machine::CommandError;
use socklab_core::{Machine, echo, guess, math};
use socklab_tests::oracle::question;
use socklab_tests::transport::{BothSides, Deadlock, block_on, join, pipe};

/// Returns both ends of a line that holds this number of bytes in each direction.
fn line(holds: usize, buffers: bool) -> [BothSides; 2] {
    let ((writer, reader), (back, answers)) = (pipe(holds, 9, buffers), pipe(holds, 9, buffers));
    [BothSides { reader: answers, writer }, BothSides { reader, writer: back }]
}

fn connect<T: Transport, M: Machine>(
    transport: T,
    machine: M,
    extra: usize,
) -> Connection<T, M, Vec<u8>, Vec<u8>> {
    let (input, output) = (vec![0; M::MIN_INPUT + extra], vec![0; M::MIN_OUTPUT + extra]);
    Connection::new(transport, machine, input, output).unwrap()
}

async fn quiz<T: Transport>(transport: T) -> usize {
    use math::server::{Command, Event};
    let mut commands = (0..7)
        .map(|a| Command::Ask(math::Question { a, b: 1 }))
        .chain([Command::Reveal(math::Secret(*b"opensesm"))]);
    let (mut server, mut right) = (connect(transport, math::Server::new(), 0), 0);
    loop {
        match server.next().await.unwrap() {
            Next::Command => server.command(commands.next().unwrap()).await.unwrap(),
            Next::Event(Event::Right { .. }) => right += 1,
            Next::Close => return right,
            other => panic!("{other:?}"),
        }
    }
}

async fn answers<T: Transport>(transport: T) -> Option<math::Secret> {
    let (mut client, mut secret) = (connect(transport, math::Client::new(), 0), None);
    loop {
        match client.next().await.unwrap() {
            Next::Event(math::client::Event::Secret(s)) => secret = Some(s),
            Next::Event(_) => {}
            Next::Close => return secret,
            other => panic!("{other:?}"),
        }
    }
}

/// Question and answer need no full duplex: both ends are one object each, whatever the line holds.
#[test]
fn one_object_is_enough_for_question_and_answer() {
    for holds in [1, 3, 64] {
        for buffers in [false, true] {
            let [client, server] = line(holds, buffers);
            let both = block_on(join(answers(Whole(client)), quiz(Whole(server))));
            assert_eq!(both, Ok((Some(math::Secret(*b"opensesm")), 7)), "{holds}, {buffers}");
        }
    }
}

async fn echoes<T: Transport>(transport: T) {
    let mut server = connect(transport, echo::Server::new(), 0);
    while let Next::Event(_) = server.next().await.unwrap() {}
}

/// Sends messages, each when the last one is answered. Returns the bytes of the replies.
async fn asks<T: Transport>(transport: T, messages: u8) -> Vec<u8> {
    let (mut client, mut replies) = (connect(transport, echo::Client::new(), 64), vec![]);
    for n in 0..messages {
        let message = [b"0123456789 and ", &[b'a' + n; 5][..]].concat();
        client.command(echo::client::Command::Send(&message)).await.unwrap();
        if n + 1 == messages {
            client.command(echo::client::Command::Finish).await.unwrap();
        }
        loop {
            match client.next().await.unwrap() {
                Next::Event(echo::client::Event::Reply(piece)) => {
                    replies.extend_from_slice(piece.bytes);
                    if piece.is_last() {
                        break;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(matches!(client.next().await, Ok(Next::Close)));
    replies
}

#[test]
fn one_object_is_enough_for_echo_with_one_message_in_flight() {
    // The line holds a reply, which comes while the message is still sent.
    for holds in [32, 64] {
        for buffers in [false, true] {
            let [client, server] = line(holds, buffers);
            let both = block_on(join(asks(Whole(client), 5), echoes(Whole(server))));
            let replies = both.unwrap_or_else(|Deadlock| panic!("{holds}, {buffers}")).0;
            let expected: Vec<u8> = (b'a'..b'f').flat_map(|letter| [letter; 5]).collect();
            assert_eq!(replies.len() % 5, 0);
            assert!(replies.windows(5).any(|five| five == &expected[..5]), "{replies:?}");
        }
    }
}

/// Says long lines without waiting for the other side, and reads its lines. Returns their number.
async fn talks<T: Transport>(transport: T) -> usize {
    let (mut side, mut heard) = (connect(transport, Chat::duplex(), 0), 0);
    let lines: Vec<_> = (b'a'..=b'e').map(|letter| [letter; 900]).collect();
    let mut lines = lines.iter().peekable();
    while heard < 5 {
        while let Some(line) = lines.peek() {
            match side.try_command(chat::Command::Say(&line[..])) {
                Ok(()) => lines.next(),
                Err(CommandError::OutputFull) => break,
                Err(e) => panic!("{e:?}"),
            };
        }
        match side.next().await.unwrap() {
            Next::Event(_) => heard += 1,
            other => panic!("{other:?}"),
        }
    }
    // The other side may still read.
    for line in lines {
        side.command(chat::Command::Say(&line[..])).await.unwrap();
    }
    side.flush().await.unwrap();
    heard
}

/// The documented limit of one object: it writes first, and a peer that does the same blocks it.
#[test]
fn two_halves_are_needed_where_both_sides_send_at_the_same_time() {
    for buffers in [false, true] {
        let [one, two] = line(64, buffers);
        let both = block_on(join(talks(Whole(one)), talks(Whole(two))));
        assert_eq!(both, Err(Deadlock));
        let [one, two] = line(64, buffers);
        let halves = |BothSides { reader, writer }| Halves(reader, writer);
        let both = block_on(join(talks(halves(one)), talks(halves(two))));
        assert_eq!(both, Ok((5, 5)));
        // One object beside two halves, which read while they write.
        let [one, two] = line(64, buffers);
        let both = block_on(join(talks(Whole(one)), talks(halves(two))));
        assert_eq!(both, Ok((5, 5)));
    }
}

/// An error of a receiver, as some UART drivers have it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct RxError;

/// Another one, of its sender.
#[derive(Clone, Copy, Debug, PartialEq)]
struct TxError(u8);

macro_rules! error {
    ($error:ty, $text:literal) => {
        impl std::fmt::Display for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($text)
            }
        }

        impl std::error::Error for $error {}

        impl embedded_io::Error for $error {
            fn kind(&self) -> ErrorKind {
                ErrorKind::Other
            }
        }
    };
}

error!(RxError, "overrun");
error!(TxError, "no clock");

struct Rx(std::collections::VecDeque<u8>);

struct Tx(Option<TxError>);

impl ErrorType for Rx {
    type Error = RxError;
}

impl ErrorType for Tx {
    type Error = TxError;
}

impl Read for Rx {
    async fn read(&mut self, space: &mut [u8]) -> Result<usize, RxError> {
        let n = space.len().min(self.0.len());
        for (to, from) in space.iter_mut().zip(self.0.drain(..n)) {
            *to = from;
        }
        if n > 0 { Ok(n) } else { Err(RxError) }
    }
}

impl Write for Tx {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, TxError> {
        self.0.take().map_or(Ok(bytes.len()), Err)
    }

    async fn flush(&mut self) -> Result<(), TxError> {
        Ok(())
    }
}

#[test]
fn halves_may_have_two_types_of_errors() {
    let halves = Halves(Rx(question(1, 2).into()), Tx(Some(TxError(7))));
    let mut client = connect(halves, math::Client::new(), 0);
    let mut next = || block_on(async { client.next().await.map(|next| next.map(|_| ())) }).unwrap();
    assert_eq!(next(), Ok(Next::Event(())));
    let error = next().unwrap_err();
    assert_eq!(error, Error::Transport(Fault::Write(TxError(7))));
    assert_eq!(
        next().unwrap_err(),
        Error::Transport(Fault::Read(RxError)),
        "the write is repeated"
    );
    let texts = [Fault::Read(RxError), Fault::Write(TxError(7))].map(|fault| fault.to_string());
    assert_eq!(texts, ["read failed: overrun", "write failed: no clock"]);
}

/// A transport that never fails.
struct Silent;

impl ErrorType for Silent {
    type Error = Infallible;
}

impl Read for Silent {
    async fn read(&mut self, _: &mut [u8]) -> Result<usize, Infallible> {
        std::future::pending().await
    }
}

impl Write for Silent {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

#[test]
fn a_transport_lends_what_it_has() {
    assert!(matches!(Whole(Silent).lend(true, false), (Some(_), None)));
    assert!(matches!(Whole(Silent).lend(false, true), (None, Some(_))));
    assert!(matches!(Whole(Silent).lend(true, true), (None, Some(_))), "the writer if both");
    assert!(matches!(Halves(Silent, Silent).lend(true, true), (Some(_), Some(_))));
    let mut server = connect(Whole(Silent), guess::Server::new(42), 0);
    assert!(matches!(block_on(server.advance()), Ok(Ok(Next::Boundary))));
    assert!(matches!(block_on(server.advance()), Err(Deadlock)), "it waits for a guess");
}

/// The application thinks while the connection listens: whichever is first ends the race, and a
/// listening that lost it has lost nothing.
#[test]
fn listen_can_be_raced_against_the_application() {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::task::Poll;
    let (their_writer, reader) = pipe(64, 9, false);
    let (writer, their_reader) = pipe(64, 9, true);
    let mut server = connect(Halves(reader, writer), Chat::server(), 0);
    let done = block_on(async {
        assert!(matches!(server.next().await, Ok(Next::Command)));
        for (arrives, unread) in
            [(&b""[..], &b""[..]), (b"ear", b"ear"), (b"", b"ear"), (b"ly\n", b"early\n")]
        {
            their_writer.preset(arrives);
            {
                let mut listen = pin!(server.listen());
                // The application is ready in the second poll.
                let heard = poll_fn(|cx| Poll::Ready(listen.as_mut().poll(cx).is_ready())).await;
                assert_eq!(heard, !arrives.is_empty());
            }
            assert_eq!(server.unread(), unread);
        }
        server.command(chat::Command::Say(b"bye")).await.unwrap();
        their_writer.end(Ok(()));
        loop {
            match server.next().await {
                Ok(Next::Event(_)) => {}
                Ok(Next::Close) => return,
                other => panic!("{other:?}"),
            }
        }
    });
    assert_eq!((done, their_reader.take()), (Ok(()), b"bye\n".to_vec()));
}
