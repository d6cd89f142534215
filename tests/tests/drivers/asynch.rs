//! The async driver.

use embedded_io::ErrorKind;
use socklab_core::driver::asynch::Halves;
use socklab_core::driver::{Error, Next, asynch};
use socklab_core::machine::{CommandError, StreamEnd};
use socklab_core::{echo, math};
use socklab_tests::oracle::{echo_reply_bytes, question};
use socklab_tests::role::{Application as _, EchoClient, MathClient};
use socklab_tests::transport::{Deadlock, Failed, Reader, Writer, block_on, join, pipe};

use crate::ways::{Ended, by_async, by_hand, record_event, without_event};

/// An echo server over pipes that writes a whole reply before it reads again.
async fn naive_echo(reader: Reader, writer: Writer) {
    let mut server =
        asynch::Connection::new(Halves(reader, writer), echo::Server::new(), [0; 44], [0; 64])
            .unwrap();
    loop {
        match server.next().await.unwrap() {
            Next::Event(_) => server.flush().await.unwrap(),
            Next::Close => return,
            other => panic!("{other:?}"),
        }
    }
}

/// Sends all payloads as fast as there is space and returns the replies.
async fn send_all(reader: Reader, writer: Writer, payloads: &[String]) -> Vec<Vec<u8>> {
    let (mut role, mut replies) = (EchoClient::new(payloads, true), vec![]);
    let mut client =
        asynch::Connection::new(Halves(reader, writer), echo::Client::new(), [0; 32], [0; 512])
            .unwrap();
    loop {
        while let Some(command) = role.command() {
            match client.try_command(command) {
                Ok(()) => role.given(),
                Err(CommandError::OutputFull) => break,
                Err(e) => panic!("{e:?}"),
            }
        }
        match client.next().await.unwrap() {
            Next::Event(event) => {
                let event = EchoClient::<4>::own(event);
                record_event(&mut role, &mut replies, event);
            }
            Next::Close => return replies.into_iter().map(|reply| reply.bytes).collect(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn echo_does_not_deadlock_with_a_server_that_stops_reading() {
    let payloads: Vec<String> = (0..60).map(|n| format!("0123456789 message {n:050}")).collect();
    let expected: Vec<Vec<u8>> =
        payloads.iter().map(|p| echo_reply_bytes(p.as_bytes()).unwrap()).collect();
    // Pipe capacities from one byte to several messages.
    for holds in [1, 7, 64, 200] {
        for buffers in [false, true] {
            let (writer, their_reader) = pipe(holds, 1000, buffers);
            let (their_writer, reader) = pipe(holds, 1000, buffers);
            let result = block_on(join(
                send_all(reader, writer, &payloads),
                naive_echo(their_reader, their_writer),
            ));
            let (replies, ()) = match result {
                Ok(both) => both,
                Err(Deadlock) => panic!("deadlock: pipes of {holds} bytes, buffering {buffers}"),
            };
            assert_eq!(replies, expected);
        }
    }
}

#[test]
fn no_byte_is_lost_when_a_call_is_dropped() {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::task::Poll;
    // The questions arrive byte by byte. `next` is dropped each time it has to wait, also in the
    // middle of a flush.
    for holds in 1..8 {
        let (their_writer, reader) = pipe(64, 64, false);
        let (writer, their_reader) = pipe(holds, 64, true);
        let mut connection =
            asynch::Connection::new(Halves(reader, writer), math::Client::new(), [0; 9], [0; 4])
                .unwrap();
        let script = [question(40, 2), question(1, 2), b"Sopensesm".to_vec()].concat();
        let (mut fed, mut got, mut events, mut rounds) = (0, vec![], 0, 0);
        let done = block_on(async {
            loop {
                rounds += 1;
                assert!(rounds < 1000, "holds {holds}: {got:?} has come, {events} events");
                let polled = {
                    let mut next = pin!(connection.next());
                    poll_fn(|cx| {
                        Poll::Ready(match next.as_mut().poll(cx) {
                            Poll::Ready(Ok(next)) => Some(without_event(&next)),
                            Poll::Ready(Err(e)) => panic!("{e:?}"),
                            Poll::Pending => None,
                        })
                    })
                    .await
                };
                match polled {
                    Some(Next::Event(())) => events += 1,
                    Some(Next::Close) => return true,
                    Some(other) => panic!("{other:?}"),
                    None => {
                        got.extend(their_reader.take());
                        // Like a real server, it asks the next question only when all answers have
                        // arrived.
                        if fed < script.len() && (fed % 9 != 0 || got.len() == fed / 9 * 4) {
                            their_writer.preset(&script[fed..=fed]);
                            fed += 1;
                        }
                    }
                }
            }
        });
        assert_eq!(done, Ok(true));
        got.extend(their_reader.take());
        assert_eq!((got, events), ([0, 0, 0, 42, 0, 0, 0, 3].to_vec(), 3), "holds {holds}");
    }
}

#[test]
fn every_error_of_a_read_is_reported() {
    for (kind, how) in [
        (ErrorKind::ConnectionReset, StreamEnd::Reset),
        (ErrorKind::ConnectionAborted, StreamEnd::Reset),
        (ErrorKind::BrokenPipe, StreamEnd::Reset),
        (ErrorKind::TimedOut, StreamEnd::TimedOut),
    ] {
        let seen = by_async(&MathClient, &question(1, 2), Err(kind), 5, false);
        assert_eq!(seen, by_hand(&MathClient, &question(1, 2), how), "{kind:?}");
    }
    for kind in [ErrorKind::Other, ErrorKind::NotConnected, ErrorKind::OutOfMemory] {
        let seen = by_async(&MathClient, &question(1, 2), Err(kind), 5, false);
        assert_eq!(seen.ended, Ended::Transport(kind));
    }
}

/// A writer that fails every write: the peer has reset the connection.
struct FailingWriter(ErrorKind);

impl embedded_io_async::ErrorType for FailingWriter {
    type Error = Failed;
}

impl embedded_io_async::Write for FailingWriter {
    async fn write(&mut self, _: &[u8]) -> Result<usize, Failed> {
        Err(Failed(self.0))
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        Ok(())
    }
}

/// The OS reports a reset once. Here the write gets it, and the read then finds an orderly end.
#[test]
fn a_reset_reported_by_a_write_is_not_taken_for_an_orderly_end() {
    for (kind, how) in [
        (ErrorKind::ConnectionReset, StreamEnd::Reset),
        (ErrorKind::ConnectionAborted, StreamEnd::Reset),
        (ErrorKind::BrokenPipe, StreamEnd::Closed),
    ] {
        let (writer, reader) = pipe(64, 9, false);
        writer.preset(&question(1, 2));
        writer.end(Ok(()));
        let (machine, gone) = (math::Client::new(), FailingWriter(kind));
        let mut connection =
            asynch::Connection::new(Halves(reader, gone), machine, [0; 9], [0; 4]).unwrap();
        let ended = block_on(async {
            assert!(matches!(connection.next().await, Ok(Next::Event(_))));
            connection.next().await.map(|next| without_event(&next))
        });
        let Ok(Err(Error::Protocol(e))) = ended else { panic!("{ended:?}") };
        let expected = by_hand(&MathClient, &question(1, 2), how).ended;
        assert_eq!(Ended::Protocol(format!("{e:?}")), expected, "{kind:?}");
    }
}
