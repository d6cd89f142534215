//! The non-blocking driver, and its pool.

use std::net::{Ipv4Addr, SocketAddr};

use embedded_nal::{TcpClientStack, TcpErrorKind, TcpFullStack};
use socklab_core::chat::{self, Chat};
use socklab_core::driver::nonblocking::Outcome;
use socklab_core::driver::{Error, Next, nonblocking};
use socklab_core::machine::{
    Action, CommandError, Input, Invalid, Machine, Need, Step, StreamEnd, StreamState,
};
use socklab_core::session::{Handler, TooSmall};
use socklab_core::{add, echo, math};
use socklab_tests::oracle::{echo_message, question};
use socklab_tests::role::MathClient;
use socklab_tests::transport::{Net, NetEnd, NetError, Socket};

use crate::ways::{by_hand, by_nonblocking};

#[test]
fn it_keeps_reading_when_sending_fails() {
    let all = [question(1, 2).repeat(3), b"Sopensesm".to_vec()].concat();
    let whole = by_hand(&MathClient, &all, StreamEnd::Closed);
    for seed in 0..20 {
        for kind in [TcpErrorKind::PipeClosed, TcpErrorKind::Other] {
            let broken = |net: &mut Net, ours: &Socket| net.break_sending(ours, kind);
            let (seen, found) = by_nonblocking(&MathClient, &all, NetEnd::Zero, seed, broken);
            assert_eq!((&seen.events, &seen.ended), (&whole.events, &whole.ended), "{kind:?}");
            assert_eq!((seen.sent.len(), found), (0, Some(NetError(kind))));
        }
    }
}

#[test]
fn it_returns_would_block_until_something_can_move_and_can_be_timed_out() {
    let mut net = Net::new(1);
    net.storm = 0;
    let (ours, theirs) = net.line();
    let mut connection =
        nonblocking::Connection::<Net, _, _, _>::new(ours, math::Client::new(), [0; 9], [0; 4])
            .unwrap();
    for _ in 0..3 {
        assert_eq!(connection.next(&mut net), Err(nb::Error::WouldBlock));
    }
    net.preset(&theirs, &question(40, 2)[..8], None);
    assert_eq!(connection.next(&mut net), Err(nb::Error::WouldBlock));
    net.preset(&theirs, &[2], None);
    assert!(matches!(connection.next(&mut net), Ok(Next::Event(_))));
    assert!(connection.wants_send());
    assert_eq!(connection.next(&mut net), Err(nb::Error::WouldBlock));
    assert!(!connection.wants_send());
    assert_eq!(net.take(&theirs), [0, 0, 0, 42]);
    connection.time_out();
    let error = connection.next(&mut net).unwrap_err();
    let nb::Error::Other(Error::Protocol(error)) = error else { panic!("{error:?}") };
    assert_eq!(error.to_string(), "the server sent nothing more in time, with 1 question answered");
}

/// Application of a math server. Counts the commands it was asked for.
struct QuizHandler {
    left: u32,
    asked: std::rc::Rc<std::cell::Cell<u32>>,
}

impl Handler<math::Server> for QuizHandler {
    fn event(&mut self, _: math::server::Event) {}

    fn command(&mut self) -> Option<math::server::Command> {
        self.asked.set(self.asked.get() + 1);
        Some(match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                math::server::Command::Ask(math::Question { a: left, b: 1 })
            }
            None => math::server::Command::Reveal(math::Secret(*b"opensesm")),
        })
    }
}

#[test]
fn a_pool_of_two_serves_five_clients() {
    for seed in 0..60 {
        let mut net = Net::new(seed);
        net.storm = (seed as usize * 7) % 80;
        let mut clients: Vec<_> = (0..5)
            .map(|_| {
                let socket = net.dial();
                let client = math::Client::new();
                let connection =
                    nonblocking::Connection::<Net, _, _, _>::new(socket, client, [0; 9], [0; 4]);
                (connection.unwrap(), None, 0)
            })
            .collect();
        let buffers = [([0; 4], [0; 9]); 2];
        let mut server =
            nonblocking::Server::<Net, _, _, _, _, 2>::new(Socket::Idle, buffers).unwrap();
        let (mut opened, mut done, mut rounds) = (0, 0, 0);
        let asked = std::rc::Rc::default();
        while clients.iter().any(|(_, secret, _)| secret.is_none()) || done < 5 {
            rounds += 1;
            assert!(rounds < 100_000, "seed {seed}: {opened} opened, {done} done");
            let open = |_| {
                opened += 1;
                (math::Server::new(), QuizHandler { left: 7, asked: std::rc::Rc::clone(&asked) })
            };
            let result = server.poll(&mut net, 0, open, |ended| {
                assert_eq!((ended.outcome, ended.handler.left), (Outcome::Done, 0), "seed {seed}");
                assert!(ended.fault.is_none());
                done += 1;
            });
            assert!(matches!(result, Ok(()) | Err(nb::Error::WouldBlock)));
            assert!(server.clients() <= 2 && opened - done == server.clients());
            for (connection, secret, questions) in &mut clients {
                while secret.is_none() {
                    match connection.next(&mut net) {
                        Ok(Next::Event(math::client::Event::Secret(s))) => *secret = Some(s),
                        Ok(Next::Event(math::client::Event::Question(q))) => {
                            assert_eq!((q.a, q.b), (6 - *questions, 1));
                            *questions += 1;
                        }
                        Err(nb::Error::WouldBlock) => break,
                        other => panic!("seed {seed}: {other:?}"),
                    }
                }
            }
        }
        assert_eq!((opened, done, net.closed, net.waiting()), (5, 5, 5, 0));
        assert!(
            clients
                .iter()
                .all(|client| (client.1, client.2) == (Some(math::Secret(*b"opensesm")), 7))
        );
        assert_eq!(asked.get(), 5 * 8, "every command that was asked for was sent");
    }
}

#[test]
fn a_pool_loses_no_command_if_a_client_answers_early_and_reads_late() {
    for seed in 0..30 {
        let mut net = Net::new(seed);
        // Less than one question fits on the line.
        (net.holds, net.most) = (8, 8);
        let client = net.dial();
        let answers: Vec<u8> = (0..7_u32).rev().flat_map(|a| (a + 1).to_be_bytes()).collect();
        net.preset(&client, &answers, None);
        let buffers = [([0; 64], [0; 9]); 2];
        let mut server =
            nonblocking::Server::<Net, _, _, _, _, 2>::new(Socket::Idle, buffers).unwrap();
        let asked = std::rc::Rc::default();
        let (mut done, mut rounds, mut got) = (false, 0, vec![]);
        while !done {
            rounds += 1;
            assert!(rounds < 10_000, "seed {seed}: it hangs, {} bytes sent", got.len());
            let open = |_| {
                (math::Server::new(), QuizHandler { left: 7, asked: std::rc::Rc::clone(&asked) })
            };
            let result = server.poll(&mut net, 0, open, |ended| {
                assert_eq!(ended.outcome, Outcome::Done, "seed {seed}");
                done = true;
            });
            assert!(matches!(result, Ok(()) | Err(nb::Error::WouldBlock)));
            if rounds % 3 == 0 {
                got.extend(net.take(&client));
            }
        }
        got.extend(net.take(&client));
        let expected: Vec<u8> = (0..7).rev().flat_map(|a| question(a, 1)).collect();
        assert_eq!(got, [&expected[..], b"Sopensesm"].concat(), "seed {seed}");
        assert_eq!(asked.get(), 8, "every command that was asked for was sent");
    }
}

/// A machine that writes a byte, pauses, writes another, waits for 50 ms without input, and then
/// for the end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum PausingMachine {
    First,
    Paused,
    Second,
    Listening,
    Waiting,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct EndedEarly(StreamEnd);

impl std::fmt::Display for EndedEarly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for EndedEarly {}

impl Machine for PausingMachine {
    type Command<'c> = std::convert::Infallible;
    type Event = usize;
    type Error = EndedEarly;
    const MIN_INPUT: usize = 1;
    const MIN_OUTPUT: usize = 1;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<usize>, EndedEarly> {
        if let StreamState::Ended(how) = input.state {
            return Err(EndedEarly(how));
        }
        let (next, written, action) = match self {
            Self::First => (Self::Paused, 1, Action::Continue),
            Self::Paused => (Self::Second, 0, Action::Boundary),
            Self::Second => (Self::Listening, 1, Action::Continue),
            Self::Listening if input.state == StreamState::Idle => {
                (Self::Waiting, 0, Action::Event(input.bytes.len()))
            }
            Self::Listening => (Self::Listening, 0, Action::Need(Need::InputOrIdle(50))),
            Self::Waiting => (Self::Waiting, 0, Action::Need(Need::Input)),
        };
        *self = next;
        output[..written].fill(b'.');
        Ok(Step::new(0, written, action))
    }

    fn command(&mut self, command: Self::Command<'_>, _: &mut [u8]) -> Result<usize, CommandError> {
        match command {}
    }
}

struct IdleHandler(Option<usize>);

impl Handler<PausingMachine> for IdleHandler {
    fn event(&mut self, bytes: usize) {
        assert_eq!(self.0.replace(bytes), None, "one idle time, one event");
    }
}

#[test]
fn a_pool_paces_its_writes_reports_idle_and_times_out_clients() {
    for (seed, start) in (0_u32..40).map(|seed| (seed, (seed * 37).wrapping_sub(700))) {
        let mut net = Net::new(seed.into());
        let client = net.dial();
        let buffers = [([0; 4], [0; 4]); 2];
        let mut server = nonblocking::Server::<Net, PausingMachine, IdleHandler, _, _, 2>::new(
            Socket::Idle,
            buffers,
        )
        .unwrap();
        server.set_pace(20);
        server.set_timeout(Some(1000));
        let (mut at, mut sent, mut ended, mut waits) = (0_u32, vec![], None, vec![]);
        while ended.is_none() {
            assert!(at < 2000, "seed {seed}: the client is never timed out");
            let now = start.wrapping_add(at);
            let open = |_| (PausingMachine::First, IdleHandler(None));
            let polled = server.poll(&mut net, now, open, |e| {
                assert!(e.fault.is_none());
                ended = Some((at, e.outcome, e.handler.0));
            });
            sent.extend(net.take(&client).iter().map(|_| at));
            if polled.is_err() {
                // The stack is always ready, so only time has to pass.
                let wait = server.wait(now).filter(|_| sent.len() == 2).unwrap_or(1);
                assert!(wait > 0, "seed {seed}: a wait of 0 would spin");
                if sent.len() == 2 {
                    waits.push(wait);
                }
                at += wait;
            }
        }
        let (first, second) = (sent[0], sent[1]);
        assert!(second - first >= 20, "seed {seed}: {sent:?}");
        // Idle is reported after 50 ms. The client times out 1000 ms after its last progress.
        let (end, outcome, idle_event) = ended.unwrap();
        assert_eq!(
            (outcome, idle_event),
            (Outcome::Failed(EndedEarly(StreamEnd::TimedOut)), Some(0)),
            "seed {seed}"
        );
        assert!((1000..1100).contains(&(end - second)), "seed {seed}: {end} {sent:?}");
        assert!(waits.len() < 40, "seed {seed}: {waits:?}");
        assert_eq!(server.clients(), 0);
    }
}

#[test]
fn a_pool_refuses_buffers_that_are_too_small() {
    let buffers = [([0; 43], [0; 4]); 1];
    let server =
        nonblocking::Server::<Net, echo::Server, IgnoreEvents, _, _, 1>::new(Socket::Idle, buffers);
    assert_eq!(server.err(), Some(TooSmall { min_input: 44, min_output: 4 }));
}

struct IgnoreEvents;

impl Handler<echo::Server> for IgnoreEvents {
    fn event(&mut self, _: echo::server::Event) {}
}

/// The OS reports a reset once. Here the write gets it, and the read then finds an orderly end.
#[test]
fn a_reset_reported_by_a_write_is_not_taken_for_an_orderly_end() {
    for (kind, how) in
        [(TcpErrorKind::Other, StreamEnd::Reset), (TcpErrorKind::PipeClosed, StreamEnd::Closed)]
    {
        for end in [NetEnd::Zero, NetEnd::PipeClosed] {
            let broken = |net: &mut Net, ours: &Socket| net.break_sending(ours, kind);
            let (seen, _) = by_nonblocking(&MathClient, &question(1, 2), end, 1, broken);
            let expected = by_hand(&MathClient, &question(1, 2), how).ended;
            assert_eq!(seen.ended, expected, "{kind:?}, then {end:?}");
        }
    }
}

/// An application that sends these lines, one whenever it may.
struct LinesHandler(std::vec::IntoIter<&'static [u8]>);

impl Handler<Chat> for LinesHandler {
    fn event(&mut self, _: chat::Event<&[u8]>) {}

    fn command(&mut self) -> Option<chat::Command<'_>> {
        self.0.next().map(chat::Command::Say)
    }
}

#[test]
fn a_pool_asks_an_application_without_turns_for_commands() {
    for seed in 0..30 {
        let mut net = Net::new(seed);
        net.storm = (seed as usize * 7) % 80;
        let theirs = net.dial();
        let buffers = [([0; 1025], [0; 1025]); 1];
        let mut server =
            nonblocking::Server::<Net, _, _, _, _, 1>::new(Socket::Idle, buffers).unwrap();
        let (mut sent, mut ended, mut rounds) = (vec![], None, 0);
        while ended.is_none() {
            rounds += 1;
            assert!(rounds < 100_000, "the session does not end");
            let lines: Vec<&[u8]> = vec![b"one", b"two", b"and three", b"bye"];
            let open = |_| (Chat::duplex(), LinesHandler(lines.into_iter()));
            let polled = server.poll(&mut net, 0, open, |over| ended = Some(over.outcome));
            assert!(matches!(polled, Ok(()) | Err(nb::Error::WouldBlock)), "{polled:?}");
            sent.extend(net.take(&theirs));
        }
        assert_eq!((ended, sent), (Some(Outcome::Done), b"one\ntwo\nand three\nbye\n".to_vec()));
    }
}

#[test]
fn a_failed_close_is_reported_and_affects_no_other_client() {
    let mut net = Net::new(1);
    net.storm = 0;
    let clients = [net.dial(), net.dial()];
    for client in &clients {
        net.preset(client, b"", Some(NetEnd::Zero));
    }
    net.fails_to_close = true;
    let buffers = [([0; 44], [0; 4]); 2];
    let mut server = nonblocking::Server::<Net, _, _, _, _, 2>::new(Socket::Idle, buffers).unwrap();
    let mut outcomes = vec![];
    for _ in 0..5 {
        let open = |_| (echo::Server::new(), IgnoreEvents);
        let polled =
            server.poll(&mut net, 0, open, |over| outcomes.push((over.outcome, over.fault)));
        assert!(matches!(polled, Ok(()) | Err(nb::Error::WouldBlock)), "{polled:?}");
    }
    let fault = Some(NetError(TcpErrorKind::Other));
    assert_eq!((outcomes, server.clients()), (vec![(Outcome::Done, fault); 2], 0));
}

/// A peer that is always faster than the server: it always has another message and accepts
/// everything.
struct FloodingStack {
    /// Number of clients that still connect.
    coming: u16,
    /// Whether it only reads.
    quiet: bool,
    received: Vec<usize>,
    sent: Vec<usize>,
}

impl FloodingStack {
    fn new(clients: u16) -> Self {
        let none = vec![0; usize::from(clients)];
        Self { coming: clients, quiet: false, received: none.clone(), sent: none }
    }
}

impl TcpClientStack for FloodingStack {
    type TcpSocket = usize;
    type Error = NetError;

    fn socket(&mut self) -> Result<usize, NetError> {
        Ok(0)
    }

    fn connect(&mut self, _: &mut usize, _: SocketAddr) -> nb::Result<(), NetError> {
        Ok(())
    }

    fn send(&mut self, socket: &mut usize, bytes: &[u8]) -> nb::Result<usize, NetError> {
        self.sent[*socket] += bytes.len();
        assert!(self.sent[*socket] < 1_000_000, "one poll does not end");
        Ok(bytes.len())
    }

    fn receive(&mut self, socket: &mut usize, room: &mut [u8]) -> nb::Result<usize, NetError> {
        if self.quiet {
            return Err(nb::Error::WouldBlock);
        }
        let at = &mut self.received[*socket];
        let message = echo_message(b"0123456789abc");
        for byte in &mut *room {
            *byte = message[*at % message.len()];
            *at += 1;
        }
        assert!(*at < 1_000_000, "one poll does not end");
        Ok(room.len())
    }

    fn close(&mut self, _: usize) -> Result<(), NetError> {
        Ok(())
    }
}

impl TcpFullStack for FloodingStack {
    fn bind(&mut self, _: &mut usize, _: u16) -> Result<(), NetError> {
        Ok(())
    }

    fn listen(&mut self, _: &mut usize) -> Result<(), NetError> {
        Ok(())
    }

    fn accept(&mut self, _: &mut usize) -> nb::Result<(usize, SocketAddr), NetError> {
        self.coming = self.coming.checked_sub(1).ok_or(nb::Error::WouldBlock)?;
        Ok((usize::from(self.coming), (Ipv4Addr::LOCALHOST, 1).into()))
    }
}

#[test]
fn a_flooding_client_blocks_neither_other_clients_nor_the_caller() {
    let mut net = FloodingStack::new(3);
    let buffers = [([0; 64], [0; 64]); 3];
    let mut server = nonblocking::Server::<FloodingStack, _, _, _, _, 3>::new(9, buffers).unwrap();
    server.set_timeout(Some(10));
    for now in 0..100 {
        let open = |_| (echo::Server::new(), IgnoreEvents);
        let before = net.received.clone();
        assert_eq!(server.poll(&mut net, now, open, |over| panic!("{:?}", over.outcome)), Ok(()));
        for (client, (now, before)) in net.received.iter().zip(before).enumerate() {
            assert!(now - before <= 64 * 64, "{client}: {} bytes in one poll", now - before);
        }
    }
    assert!(net.received.iter().all(|n| *n > 10_000), "{:?}", net.received);
    assert!(net.sent.iter().all(|n| *n > 1000), "{:?}", net.sent);
}

/// An application that always has another line to send.
struct EndlessSpeaker;

impl Handler<Chat> for EndlessSpeaker {
    fn event(&mut self, _: chat::Event<&[u8]>) {}

    fn command(&mut self) -> Option<chat::Command<'_>> {
        Some(chat::Command::Say(b"and"))
    }
}

#[test]
fn an_application_with_endless_commands_does_not_block_its_server() {
    let mut net = FloodingStack { quiet: true, ..FloodingStack::new(1) };
    let buffers = [([0; 1025], [0; 1025]); 1];
    let mut server = nonblocking::Server::<FloodingStack, _, _, _, _, 1>::new(9, buffers).unwrap();
    let open = |_| (Chat::duplex(), EndlessSpeaker);
    assert_eq!(server.poll(&mut net, 0, open, |_| {}), Ok(()));
    assert!(net.sent[0] >= 4 * 10, "{:?}", net.sent);
}

/// An application that answers with the client's own name.
struct AnswersWithName(Vec<u8>);

impl Handler<add::server::Server> for AnswersWithName {
    fn event(&mut self, event: add::server::Event<&[u8]>) {
        if let add::server::Event::Name(name) = event {
            self.0 = name.to_vec();
        }
    }

    fn command(&mut self) -> Option<add::server::Command<'_>> {
        Some(add::server::Command::Answer { name: &self.0, number: 1 })
    }
}

#[test]
fn a_refused_command_ends_its_session_and_is_reported() {
    for seed in 0..20 {
        let mut net = Net::new(seed);
        let clients = [net.dial(), net.dial()];
        // A line ends with LF or CRLF, so the first of the two CRs belongs to the name.
        net.preset(&clients[0], b"Eve\r\r\n5\n", None);
        net.preset(&clients[1], b"Ada\n5\n", None);
        let buffers = [(vec![0; 1025], vec![0; 1038])];
        let mut server =
            nonblocking::Server::<Net, _, _, _, _, 1>::new(Socket::Idle, buffers).unwrap();
        let mut outcomes = vec![];
        for _ in 0..1000 {
            let open = |_| (add::server::Server::new(), AnswersWithName(vec![]));
            let polled = server.poll(&mut net, 0, open, |over| outcomes.push(over.outcome));
            assert!(matches!(polled, Ok(()) | Err(nb::Error::WouldBlock)), "{polled:?}");
            if outcomes.len() == 2 {
                break;
            }
        }
        assert_eq!(
            outcomes,
            [Outcome::Refused(Invalid::CarriageReturn.into()), Outcome::Done],
            "seed {seed}"
        );
        assert_eq!((net.take(&clients[0]), net.take(&clients[1])), (vec![], b"Ada\n1\n".to_vec()));
        assert_eq!((server.clients(), net.closed), (0, 2));
    }
}

#[test]
fn clients_are_served_while_accept_fails() {
    for seed in 0..20 {
        let mut net = Net::new(seed);
        (net.sockets, net.storm) = (1, 0);
        let clients = [net.dial(), net.dial()];
        net.preset(&clients[1], &echo_message(b"0123456789abc"), Some(NetEnd::Zero));
        let buffers = [([0; 44], [0; 44]); 2];
        let mut server =
            nonblocking::Server::<Net, _, _, _, _, 2>::new(Socket::Idle, buffers).unwrap();
        let (mut outcomes, mut failed) = (vec![], 0);
        for _ in 0..1000 {
            let open = |_| (echo::Server::new(), IgnoreEvents);
            match server.poll(&mut net, 0, open, |over| outcomes.push(over.outcome)) {
                Ok(()) | Err(nb::Error::WouldBlock) => {}
                Err(nb::Error::Other(e)) => {
                    assert_eq!(e, NetError(TcpErrorKind::Other));
                    failed += 1;
                    if failed == 3 {
                        let message = echo_message(b"0123456789abc");
                        net.preset(&clients[0], &message, Some(NetEnd::Zero));
                    }
                }
            }
            if outcomes.len() == 2 {
                break;
            }
        }
        assert_eq!(outcomes, [Outcome::Done; 2], "seed {seed}");
        assert!(failed >= 3, "seed {seed}: the listener's failure is reported");
        for client in &clients {
            assert_eq!(net.take(client), echo_message(b"abc"));
        }
    }
}

/// An application that gives `Finish` again and again.
struct AlwaysFinishes;

impl Handler<echo::Server> for AlwaysFinishes {
    fn event(&mut self, _: echo::server::Event) {}

    fn command(&mut self) -> Option<echo::server::Command> {
        Some(echo::server::Command::Finish)
    }
}

#[test]
fn a_command_out_of_turn_does_not_end_the_session_while_the_machine_reads() {
    for seed in 0..20 {
        let mut net = Net::new(seed);
        // All input is read before the application is asked.
        net.storm = 0;
        let client = net.dial();
        let message = echo_message(b"0123456789abc");
        net.preset(&client, &message[..7], None);
        let buffers = [([0; 44], [0; 44])];
        let mut server =
            nonblocking::Server::<Net, _, _, _, _, 1>::new(Socket::Idle, buffers).unwrap();
        let mut ended = None;
        for round in 0..1000 {
            let open = |_| (echo::Server::new(), AlwaysFinishes);
            let polled = server.poll(&mut net, 0, open, |over| ended = Some(over.outcome));
            assert!(matches!(polled, Ok(()) | Err(nb::Error::WouldBlock)), "{polled:?}");
            if round == 100 {
                assert_eq!(ended, None, "seed {seed}: in the middle of a message");
                net.preset(&client, &message[7..], None);
            }
            if ended.is_some() {
                break;
            }
        }
        assert_eq!((ended, net.take(&client)), (Some(Outcome::Done), echo_message(b"abc")));
    }
}
