//! One script, one transcript, whoever moves the bytes: a machine by hand, a session, the pump,
//! and the three drivers over transports that do everything a real one may.

use embedded_io::ErrorKind;
use embedded_nal::TcpErrorKind;
use socklab_core::driver::{Error, Next, asynch, blocking, nonblocking};
use socklab_core::machine::{After, How, Input, Machine, Need, Refused, Step, Then};
use socklab_core::session::{Application, Buffer, Session, Stop, TooSmall, pump};
use socklab_core::{echo, math};
use socklab_tests::oracle::{echo_message, echo_reply_bytes, question};
use socklab_tests::rng::Rng;
use socklab_tests::role::{EchoClient, EchoServer, MathClient, MathServer, Role};
use socklab_tests::script::{Outcome, every_cut, hold};
use socklab_tests::transport::{
    Deadlock, Failed, Net, NetEnd, NetError, Reader, Socket, Stream, Writer, block_on, join, pipe,
};

/// What any way of driving a machine has to agree on.
#[derive(Clone, Debug, PartialEq)]
struct Seen<E> {
    events: Vec<E>,
    sent: Vec<u8>,
    ended: Ended,
}

#[derive(Clone, Debug, PartialEq)]
enum Ended {
    Done,
    /// The machine's error.
    Protocol(String),
    /// The transport's.
    Transport(ErrorKind),
}

/// What to do, without the event.
fn bare<E>(next: &Next<E>) -> Next<()> {
    match next {
        Next::Event(_) => Next::Event(()),
        Next::Command => Next::Command,
        Next::Boundary => Next::Boundary,
        Next::Done => Next::Done,
        Next::Abort => Next::Abort,
    }
}

/// Tells the role and keeps the event.
fn keep<R: Role>(role: &mut R, events: &mut Vec<R::Event>, event: R::Event) {
    role.told(&event);
    if !events.last_mut().is_some_and(|last| R::append(last, &event)) {
        events.push(event);
    }
}

/// By hand, under every cut.
fn by_hand<R: Role>(role: &R, bytes: &[u8], how: How) -> Seen<R::Event> {
    let transcript = hold(every_cut(role, bytes, Some(how)));
    let ended = match &transcript.outcome {
        Outcome::Done => Ended::Done,
        Outcome::Error(error, _) => Ended::Protocol(error.clone()),
        other => panic!("the script does not end: {other:?}"),
    };
    Seen { events: transcript.events(), sent: transcript.sent, ended }
}

/// Gives a session or connection all that can be said now. What does not fit is split.
macro_rules! speak {
    ($role:expr, $command:expr, $pay:expr) => {
        while let Some(command) = $role.command() {
            match $command(command) {
                Ok(()) => $role.given(),
                Err(Error::Refused(Refused::NoRoom)) => {
                    assert!($role.split(), "no room, and no smaller way to say it");
                    continue;
                }
                Err(e) => panic!("a command in turn got {e:?}"),
            }
            while !$role.payload().is_empty() {
                let n = $pay($role.payload());
                $role.paid(n);
            }
        }
    };
}

fn by_session<R: Role>(role: &R, bytes: &[u8], how: How, seed: u64) -> Seen<R::Event> {
    let (mut role, mut rng, mut rest) = (role.clone(), Rng::new(seed), bytes);
    let input = vec![0; R::Machine::MIN_INPUT + rng.below(9)];
    let output = vec![0; R::Machine::MIN_OUTPUT + rng.below(9)];
    let session = std::cell::RefCell::new(Session::new(role.machine(), input, output).unwrap());
    let (mut events, sent) = (vec![], std::cell::RefCell::new(vec![]));
    let drain = || {
        let mut session = session.borrow_mut();
        sent.borrow_mut().extend_from_slice(session.pending());
        let n = session.pending().len();
        session.sent(n);
    };
    let command = |command: <R::Machine as Machine>::Command<'_>| {
        drain();
        session.borrow_mut().command(command).map_err(Error::<(), ()>::Refused)
    };
    let pay = |payload: &[u8]| {
        drain();
        session.borrow_mut().pay(payload)
    };
    if !R::TAKES_TURNS {
        speak!(role, command, pay);
    }
    let ended = loop {
        let mut told = None;
        // Half of the time through `advance`, which peeks.
        let then = if rng.percent(50) {
            let peeked = session.borrow_mut().advance();
            if let Ok(Then::Event(())) = peeked {
                let mut session = session.borrow_mut();
                let Ok(Then::Event(event)) = session.step() else { panic!("the event is gone") };
                told = Some(R::own(event));
            }
            peeked
        } else {
            session.borrow_mut().step().map(|then| {
                if let Then::Event(event) = then {
                    told = Some(R::own(event));
                }
                then.without_event()
            })
        };
        match then {
            Ok(Then::Event(())) => {
                keep(&mut role, &mut events, told.expect("an event is told"));
                if !R::TAKES_TURNS {
                    speak!(role, command, pay);
                }
            }
            Ok(Then::Again | Then::Boundary) => {}
            Ok(Then::Need(Need::Output)) => drain(),
            Ok(Then::Need(Need::Command)) if role.command().is_some() => {
                // One at a time: it takes turns.
                let said = command(role.command().unwrap());
                said.expect("it is its turn");
                role.given();
            }
            Ok(Then::Need(_)) => {
                let mut session = session.borrow_mut();
                if rest.is_empty() {
                    assert!(!session.has_ended(), "it waits after the end");
                    session.ended(how);
                    // The first ending counts.
                    session.ended(How::Closed);
                    session.silent();
                    continue;
                }
                let room = session.room();
                assert!(!room.is_empty(), "it waits for input and has no room for it");
                let n = rng.within(1, room.len().min(rest.len()));
                room[..n].copy_from_slice(&rest[..n]);
                session.received(n);
                rest = &rest[n..];
            }
            Ok(Then::Done) => break Ended::Done,
            Ok(Then::Abort) => panic!("none of these aborts"),
            Err(e) => break Ended::Protocol(format!("{e:?}")),
        }
    };
    drain();
    Seen { events, sent: sent.into_inner(), ended }
}

/// The application of a pump.
struct Player<R: Role> {
    role: R,
    events: Vec<R::Event>,
    offered: bool,
}

impl<R: Role> Application<R::Machine> for Player<R> {
    fn event(&mut self, event: <R::Machine as Machine>::Event<'_>) {
        if std::mem::take(&mut self.offered) {
            self.role.given();
        }
        keep(&mut self.role, &mut self.events, R::own(event));
    }

    fn command(&mut self) -> Option<<R::Machine as Machine>::Command<'_>> {
        if std::mem::take(&mut self.offered) {
            self.role.given();
        }
        let command = self.role.command();
        self.offered = command.is_some();
        command
    }
}

fn by_pump<R: Role>(role: &R, bytes: &[u8], how: How, seed: u64, output: usize) -> Seen<R::Event> {
    let mut rng = Rng::new(seed);
    let mut player = Player { role: role.clone(), events: vec![], offered: false };
    let mut machine = role.machine();
    let (mut sent, mut consumed, mut arrived, mut ended) = (vec![], 0, 0, false);
    let mut output = vec![0; output];
    let ended = loop {
        let after = if ended { After::End(how) } else { After::More };
        let input = Input { bytes: &bytes[consumed..arrived], after };
        let pumped = pump(&mut machine, &mut player, input, &mut output);
        consumed += pumped.consumed;
        sent.extend_from_slice(&output[..pumped.written]);
        match pumped.stop {
            Stop::Need(Need::Output) | Stop::Boundary => {}
            Stop::Need(Need::Either) if pumped.written + R::Machine::MIN_OUTPUT > output.len() => {}
            Stop::Need(need) if arrived < bytes.len() => {
                let _ = need;
                arrived += rng.within(1, bytes.len() - arrived);
            }
            Stop::Need(need) => {
                assert!(!ended, "it waits for {need:?} after the end");
                ended = true;
            }
            Stop::Done => break Ended::Done,
            Stop::Abort => panic!("none of these aborts"),
            Stop::Failed(e) => break Ended::Protocol(format!("{e:?}")),
        }
    };
    Seen { events: player.events, sent, ended }
}

/// A connection of the blocking driver.
type Blocking<R> = blocking::Connection<Stream, <R as Role>::Machine, Vec<u8>, Vec<u8>>;

fn by_blocking<R: Role>(role: &R, stream: Stream, seed: u64) -> (Seen<R::Event>, usize) {
    let (mut role, mut rng, mut events) = (role.clone(), Rng::new(seed), vec![]);
    let input = vec![0; R::Machine::MIN_INPUT + rng.below(9)];
    let output = vec![0; R::Machine::MIN_OUTPUT + rng.below(9)];
    let connection = Blocking::<R>::new(stream, role.machine(), input, output).unwrap();
    let connection = std::cell::RefCell::new(connection);
    let command =
        |command: <R::Machine as Machine>::Command<'_>| connection.borrow_mut().command(command);
    let pay = |payload: &[u8]| {
        connection.borrow_mut().pay(payload).unwrap();
        payload.len()
    };
    if !R::TAKES_TURNS {
        speak!(role, command, pay);
    }
    let ended = loop {
        let next = connection.borrow_mut().next().map(|next| match next {
            Next::Event(event) => (Next::Event(()), Some(R::own(event))),
            other => (bare(&other), None),
        });
        match next {
            Ok((Next::Event(()), event)) => {
                keep(&mut role, &mut events, event.expect("it is there"));
                if !R::TAKES_TURNS {
                    speak!(role, command, pay);
                }
            }
            Ok((Next::Command, _)) => {
                command(role.command().expect("the script has one")).unwrap();
                role.given();
            }
            Ok((Next::Boundary, _)) => {}
            Ok((Next::Done, _)) => break Ended::Done,
            Ok((Next::Abort, _)) => panic!("none of these aborts"),
            Err(Error::Protocol(e)) => break Ended::Protocol(format!("{e:?}")),
            Err(Error::Transport(Failed(kind))) => break Ended::Transport(kind),
            Err(Error::Refused(refused)) => panic!("{refused:?}"),
        }
    };
    let stream = connection.into_inner().into_transport();
    (Seen { events, sent: stream.sent, ended }, stream.writes_after_failure)
}

fn by_nonblocking<R: Role>(
    role: &R,
    bytes: &[u8],
    end: NetEnd,
    seed: u64,
    prepare: impl FnOnce(&mut Net, &Socket),
) -> (Seen<R::Event>, Option<NetError>) {
    let (mut role, mut rng, mut events) = (role.clone(), Rng::new(seed), vec![]);
    let mut net = Net::new(seed);
    net.storm = rng.below(90);
    let (ours, theirs) = net.line();
    net.preset(&theirs, bytes, Some(end));
    prepare(&mut net, &ours);
    let input = vec![0; R::Machine::MIN_INPUT + rng.below(9)];
    let output = vec![0; R::Machine::MIN_OUTPUT + rng.below(9)];
    let mut connection =
        nonblocking::Connection::<Net, _, _, _>::new(ours, role.machine(), input, output).unwrap();
    let mut sent = vec![];
    let mut rounds = 0;
    // Whatever can be said is said first, so that the order does not hang on the storm.
    let ended = loop {
        rounds += 1;
        assert!(rounds < 1_000_000, "it goes round without end");
        let can_speak = !R::TAKES_TURNS && (role.command().is_some() || !role.payload().is_empty());
        if can_speak {
            sent.extend(net.take(&theirs));
            if role.payload().is_empty() {
                let command = role.command().expect("looked at above");
                match connection.command(&mut net, command) {
                    Ok(()) => role.given(),
                    Err(nb::Error::WouldBlock) => {}
                    Err(nb::Error::Other(Error::Refused(Refused::NoRoom))) => {
                        assert!(role.split());
                    }
                    Err(e) => panic!("{e:?}"),
                }
            } else {
                match connection.pay(&mut net, role.payload()) {
                    Ok(n) => role.paid(n),
                    Err(nb::Error::WouldBlock) => {}
                    Err(e) => panic!("{e:?}"),
                }
            }
            continue;
        }
        let next = connection.next(&mut net).map(|next| match next {
            Next::Event(event) => (Next::Event(()), Some(R::own(event))),
            other => (bare(&other), None),
        });
        match next {
            Ok((Next::Event(()), event)) => keep(&mut role, &mut events, event.unwrap()),
            Ok((Next::Command, _)) => {
                let command = role.command().expect("the script has one");
                match connection.command(&mut net, command) {
                    Ok(()) => role.given(),
                    Err(nb::Error::WouldBlock) => {}
                    Err(e) => panic!("{e:?}"),
                }
            }
            Ok((Next::Boundary, _)) => {}
            Ok((Next::Done, _)) => break Ended::Done,
            Ok((Next::Abort, _)) => panic!("none of these aborts"),
            Err(nb::Error::WouldBlock) => sent.extend(net.take(&theirs)),
            Err(nb::Error::Other(Error::Protocol(e))) => break Ended::Protocol(format!("{e:?}")),
            Err(nb::Error::Other(e)) => panic!("{e:?}"),
        }
    };
    assert!(!connection.wants_send(), "it ended with bytes unsent");
    sent.extend(net.take(&theirs));
    (Seen { events, sent, ended }, connection.fault())
}

fn by_async<R: Role>(
    role: &R,
    bytes: &[u8],
    end: Result<(), ErrorKind>,
    seed: u64,
) -> Seen<R::Event> {
    let (mut role, mut rng) = (role.clone(), Rng::new(seed));
    let buffers = rng.percent(50);
    let (their_writer, reader) = pipe(1 << 16, rng.within(1, 9), false);
    let (writer, their_reader) = pipe(1 << 16, rng.within(1, 9), buffers);
    their_writer.preset(bytes);
    their_writer.end(end);
    let input = vec![0; R::Machine::MIN_INPUT + rng.below(9)];
    let output = vec![0; R::Machine::MIN_OUTPUT + rng.below(9)];
    let connection = asynch::Connection::<Reader, Writer, _, _, _>::new(
        reader,
        writer,
        role.machine(),
        input,
        output,
    );
    let mut connection = connection.unwrap();
    let result = block_on(async {
        let mut events = vec![];
        loop {
            let can_speak = !R::TAKES_TURNS;
            while can_speak && (role.command().is_some() || !role.payload().is_empty()) {
                if role.payload().is_empty() {
                    let command = role.command().expect("looked at above");
                    match connection.command(command) {
                        Ok(()) => role.given(),
                        Err(Error::Refused(Refused::NoRoom)) if role.split() => {}
                        Err(Error::Refused(Refused::NoRoom)) => connection.flush().await.unwrap(),
                        Err(e) => panic!("{e:?}"),
                    }
                } else {
                    let n = connection.pay(role.payload());
                    role.paid(n);
                    if n == 0 {
                        connection.flush().await.unwrap();
                    }
                }
            }
            match connection.next().await {
                Ok(Next::Event(event)) => {
                    let event = R::own(event);
                    keep(&mut role, &mut events, event);
                }
                Ok(Next::Command) => {
                    connection.command(role.command().expect("the script has one")).unwrap();
                    role.given();
                }
                Ok(Next::Boundary) => {}
                Ok(Next::Done) => break (events, Ended::Done),
                Ok(Next::Abort) => panic!("none of these aborts"),
                Err(Error::Protocol(e)) => break (events, Ended::Protocol(format!("{e:?}"))),
                Err(Error::Transport(Failed(kind))) => break (events, Ended::Transport(kind)),
                Err(Error::Refused(refused)) => panic!("{refused:?}"),
            }
        }
    });
    let (events, ended) = result.expect("the script is all there");
    Seen { events, sent: their_reader.take(), ended }
}

/// A script through everything.
fn everywhere<R: Role>(role: &R, bytes: &[u8], pump_outputs: [usize; 2]) {
    for (how, kind, ends) in [
        (How::Closed, Ok(()), &[NetEnd::Zero, NetEnd::PipeClosed][..]),
        (How::Reset, Err(ErrorKind::ConnectionReset), &[NetEnd::Other]),
        (How::Reset, Err(ErrorKind::ConnectionAborted), &[NetEnd::Other]),
        (How::TimedOut, Err(ErrorKind::TimedOut), &[]),
    ] {
        let expected = by_hand(role, bytes, how);
        // Where the application takes turns, a reset races with it.
        if R::TAKES_TURNS && how != How::Closed {
            continue;
        }
        for seed in 0..12 {
            let seen = by_session(role, bytes, how, seed);
            assert_eq!(seen, expected, "session, {how:?}, seed {seed}");
            for output in pump_outputs {
                let seen = by_pump(role, bytes, how, seed, output);
                assert_eq!(seen, expected, "pump, {how:?}, seed {seed}, output {output}");
            }
            for interrupted in [0, 50] {
                let most = 1 + seed as usize;
                let stream = || Stream::new(bytes, kind, most, seed).interrupted(interrupted);
                let (seen, _) = by_blocking(role, stream(), seed);
                assert_eq!(seen, expected, "blocking, {how:?}, seed {seed}, {interrupted}");
                let (seen, _) = by_blocking(role, stream().buffering(), seed);
                assert_eq!(seen, expected, "buffering, {how:?}, seed {seed}, {interrupted}");
            }
            let seen = by_async(role, bytes, kind, seed);
            assert_eq!(seen, expected, "async, {how:?}, seed {seed}");
            for end in ends {
                let (seen, fault) = by_nonblocking(role, bytes, *end, seed, |_, _| {});
                assert_eq!(seen, expected, "nonblocking, {end:?}, seed {seed}");
                // Kept for who wants to know, if it ended the session.
                let is_reset = matches!(&seen.ended, Ended::Protocol(e) if e.contains("Reset"));
                if is_reset || how == How::Closed {
                    assert_eq!(fault, is_reset.then_some(NetError(TcpErrorKind::Other)));
                }
            }
        }
    }
}

#[test]
fn math_client_is_the_same_everywhere() {
    let all = [question(1, 2).repeat(3), b"Sopensesm".to_vec()].concat();
    for length in [0, 5, 9, 18, 27, 30, 36] {
        everywhere(&MathClient, &all[..length], [4, 64]);
    }
    everywhere(&MathClient, b"Q\0\0\0\x01\0\0\0\x02X", [4, 64]);
}

#[test]
fn math_server_is_the_same_everywhere() {
    let role = MathServer::new(&[(1, 2), (3, 4), (u32::MAX, 9)], Some(b"opensesm"));
    let all = [3_u32, 7, 8].map(u32::to_be_bytes).concat();
    for length in [0, 3, 4, 6, 12] {
        everywhere(&role, &all[..length], [9, 64]);
    }
    everywhere(&role, &[3_u32, 6].map(u32::to_be_bytes).concat(), [9, 64]);
}

#[test]
fn echo_server_is_the_same_everywhere() {
    let messages = ["", "short", "0123456789 and more than that", "äöü🦀äöü🦀äö+ß"];
    let all: Vec<u8> = messages.iter().flat_map(|m| echo_message(m.as_bytes())).collect();
    for length in [0, 2, 4, 20, 40, all.len()] {
        everywhere(&EchoServer, &all[..length], [4, 64]);
    }
    everywhere(&EchoServer, &[&all[..], b"\0\0\0\x02\xff\xff"].concat(), [4, 64]);
}

#[test]
fn echo_client_is_the_same_everywhere() {
    let messages = ["", "short", "0123456789 and more than that", "äöü🦀äöü🦀äö+ß"];
    let replies: Vec<u8> = messages
        .iter()
        .flat_map(|m| echo_message(&echo_reply_bytes(m.as_bytes()).unwrap()))
        .collect();
    // A pump's application cannot split a command that is too long: its output is large.
    let role = EchoClient::new(&messages, true);
    for length in [0, 3, 8, 12, 20, replies.len()] {
        everywhere(&role, &replies[..length], [128, 512]);
    }
    everywhere(&role, &[&replies[..8], b"\xff\xff\xff\xff"].concat(), [128, 512]);
}

#[test]
fn buffers_that_are_too_small_are_refused() {
    let error = TooSmall { min_input: 44, min_output: 4 };
    assert_eq!(Session::new(echo::Server::new(), [0; 43], [0; 4]).err(), Some(error));
    assert_eq!(Session::new(echo::Server::new(), [0; 44], [0; 3]).err(), Some(error));
    assert!(Session::new(echo::Server::new(), [0; 44], [0; 4]).is_ok());
    let stream = Stream::new(b"", Ok(()), 1, 1);
    assert!(blocking::Connection::new(stream, math::Client::new(), [0; 8], [0; 4]).is_err());
}

#[test]
fn a_buffer_moves_its_bytes_to_the_front_when_there_is_too_little_room_and_not_before() {
    let mut buffer = Buffer::new([0; 8]);
    assert_eq!((buffer.capacity(), buffer.room(8).len()), (8, 8));
    buffer.room(8)[..6].copy_from_slice(b"abcdef");
    buffer.fill(6);
    buffer.consume(4);
    // Two behind are enough for two, not for three; then what waits is at the front.
    assert_eq!((buffer.room(2).len(), buffer.bytes()), (2, &b"ef"[..]));
    assert_eq!((buffer.room(3).len(), buffer.bytes()), (6, &b"ef"[..]));
    // More than there can be is no fault: it gives what there is.
    assert_eq!((buffer.room(100).len(), buffer.bytes()), (6, &b"ef"[..]));
    buffer.fill(100);
    assert_eq!((buffer.bytes().len(), buffer.room(1).len()), (8, 0));
    buffer.consume(100);
    assert_eq!((buffer.bytes().len(), buffer.room(1).len()), (0, 8));
    buffer.fill(3);
    buffer.clear();
    assert_eq!((buffer.bytes().len(), buffer.room(1).len()), (0, 8));
}

// ---------------------------------------------------------------- blocking

#[test]
fn blocking_names_every_error_of_a_read() {
    let expect = |kind: ErrorKind| {
        let stream = Stream::new(&question(1, 2), Err(kind), 3, 1);
        by_blocking(&MathClient, stream, 1).0.ended
    };
    let cut = |how: How| {
        let seen = by_hand(&MathClient, &question(1, 2), how);
        seen.ended
    };
    for kind in [ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted, ErrorKind::BrokenPipe] {
        assert_eq!(expect(kind), cut(How::Reset), "{kind:?}");
    }
    assert_eq!(expect(ErrorKind::TimedOut), cut(How::TimedOut));
    for kind in [
        ErrorKind::Other,
        ErrorKind::NotFound,
        ErrorKind::PermissionDenied,
        ErrorKind::ConnectionRefused,
        ErrorKind::NotConnected,
        ErrorKind::AddrInUse,
        ErrorKind::AddrNotAvailable,
        ErrorKind::AlreadyExists,
        ErrorKind::InvalidInput,
        ErrorKind::InvalidData,
        ErrorKind::Unsupported,
        ErrorKind::OutOfMemory,
    ] {
        assert_eq!(expect(kind), Ended::Transport(kind));
    }
}

#[test]
fn blocking_reads_on_when_it_can_send_no_more() {
    let all = [question(1, 2).repeat(3), b"Sopensesm".to_vec()].concat();
    let whole = by_hand(&MathClient, &all, How::Closed);
    for bytes in 0..12 {
        for how in [
            Ok(()),
            Err(ErrorKind::BrokenPipe),
            Err(ErrorKind::ConnectionReset),
            Err(ErrorKind::ConnectionAborted),
            Err(ErrorKind::NotConnected),
            Err(ErrorKind::WriteZero),
        ] {
            let stream = Stream::new(&all, Ok(()), 5, 9).broken_after(bytes, how);
            let (seen, after_failure) = by_blocking(&MathClient, stream, 9);
            assert_eq!((&seen.events, &seen.ended), (&whole.events, &whole.ended), "{how:?}");
            assert_eq!(seen.sent, whole.sent[..bytes]);
            assert_eq!(after_failure, 0, "it writes on to a peer that takes nothing");
        }
        let stream = Stream::new(&all, Ok(()), 5, 9).broken_after(bytes, Err(ErrorKind::Other));
        let (seen, _) = by_blocking(&MathClient, stream, 9);
        assert_eq!(seen.ended, Ended::Transport(ErrorKind::Other));
    }
}

#[test]
fn blocking_pays_no_more_than_is_owed() {
    let stream = Stream::new(b"", Ok(()), 3, 1);
    let mut connection =
        blocking::Connection::new(stream, echo::Client::new(), [0; 4], [0; 4]).unwrap();
    connection.command(echo::client::Command::Begin(6)).unwrap();
    assert_eq!(connection.pay(b"1234567"), Err(Error::Refused(Refused::Invalid)));
    connection.pay(b"123").unwrap();
    connection.pay(b"456").unwrap();
    assert_eq!(connection.pay(b"7"), Err(Error::Refused(Refused::Invalid)));
    assert_eq!(connection.into_transport().sent, b"\0\0\0\x06123456");
}

// ---------------------------------------------------------------- nonblocking

#[test]
fn nonblocking_reads_on_when_sending_fails() {
    let all = [question(1, 2).repeat(3), b"Sopensesm".to_vec()].concat();
    let whole = by_hand(&MathClient, &all, How::Closed);
    for seed in 0..20 {
        for (kind, fault) in [
            (TcpErrorKind::PipeClosed, None),
            (TcpErrorKind::Other, Some(NetError(TcpErrorKind::Other))),
        ] {
            let broken = |net: &mut Net, ours: &Socket| net.break_sending(ours, kind);
            let (seen, found) = by_nonblocking(&MathClient, &all, NetEnd::Zero, seed, broken);
            assert_eq!((&seen.events, &seen.ended), (&whole.events, &whole.ended), "{kind:?}");
            assert_eq!((seen.sent.len(), found), (0, fault));
        }
    }
}

#[test]
fn nonblocking_says_would_block_until_something_can_move_and_gives_up_when_told() {
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
    connection.give_up();
    let error = connection.next(&mut net).unwrap_err();
    let nb::Error::Other(Error::Protocol(error)) = error else { panic!("{error:?}") };
    assert_eq!(error.to_string(), "the server sent nothing more in time, with 1 answered");
}

/// A quiz master who counts what it said.
struct Master {
    left: u32,
    asked: std::rc::Rc<std::cell::Cell<u32>>,
}

impl Application<math::Server> for Master {
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
                (math::Server::new(), Master { left: 7, asked: std::rc::Rc::clone(&asked) })
            };
            let result = server.poll(&mut net, 0, open, |ended| {
                assert_eq!((ended.outcome, ended.application.left), (Ok(()), 0), "seed {seed}");
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
        assert_eq!(asked.get(), 5 * 8, "each command asked for is a command given");
    }
}

#[test]
fn a_pool_loses_no_command_to_a_client_that_answers_early_and_reads_late() {
    for seed in 0..30 {
        let mut net = Net::new(seed);
        // Less than a question goes onto the line at a time.
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
            let open =
                |_| (math::Server::new(), Master { left: 7, asked: std::rc::Rc::clone(&asked) });
            let result = server.poll(&mut net, 0, open, |ended| {
                assert_eq!(ended.outcome, Ok(()), "seed {seed}");
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
        assert_eq!(asked.get(), 8, "each command asked for is a command given");
    }
}

/// Writes a byte, pauses, writes another, waits for 50 ms of silence, then for the peer's end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Spaced {
    First,
    Paused,
    Second,
    Listening,
    Waiting,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Gone(How);

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Gone {}

impl Machine for Spaced {
    type Command<'c> = std::convert::Infallible;
    type Event<'i> = usize;
    type Error = Gone;
    const MIN_INPUT: usize = 1;
    const MIN_OUTPUT: usize = 1;

    fn step(&mut self, input: Input<'_>, output: &mut [u8]) -> Result<Step<usize>, Gone> {
        if let After::End(how) = input.after {
            return Err(Gone(how));
        }
        let (next, written, then) = match self {
            Self::First => (Self::Paused, 1, Then::Again),
            Self::Paused => (Self::Second, 0, Then::Boundary),
            Self::Second => (Self::Listening, 1, Then::Again),
            Self::Listening if input.after == After::Silence => {
                (Self::Waiting, 0, Then::Event(input.bytes.len()))
            }
            Self::Listening => (Self::Listening, 0, Then::Need(Need::InputOrSilence(50))),
            Self::Waiting => (Self::Waiting, 0, Then::Need(Need::Input)),
        };
        *self = next;
        output[..written].fill(b'.');
        Ok(Step::new(0, written, then))
    }

    fn command(&mut self, command: Self::Command<'_>, _: &mut [u8]) -> Result<usize, Refused> {
        match command {}
    }
}

struct Heard(Option<usize>);

impl Application<Spaced> for Heard {
    fn event(&mut self, bytes: usize) {
        assert_eq!(self.0.replace(bytes), None, "one silence, one event");
    }
}

#[test]
fn a_pool_keeps_pauses_tells_of_silence_and_gives_up_silent_clients() {
    for (seed, start) in (0_u32..40).map(|seed| (seed, (seed * 37).wrapping_sub(700))) {
        let mut net = Net::new(seed.into());
        let client = net.dial();
        let buffers = [([0; 4], [0; 4]); 2];
        let mut server =
            nonblocking::Server::<Net, Spaced, Heard, _, _, 2>::new(Socket::Idle, buffers).unwrap();
        server.set_pace(20);
        server.set_timeout(Some(1000));
        let (mut at, mut sent, mut ended, mut waits) = (0_u32, vec![], None, vec![]);
        while ended.is_none() {
            assert!(at < 2000, "seed {seed}: it is not given up");
            let now = start.wrapping_add(at);
            let open = |_| (Spaced::First, Heard(None));
            let polled = server.poll(&mut net, now, open, |e| {
                assert!(e.fault.is_none());
                ended = Some((at, e.outcome, e.application.0));
            });
            sent.extend(net.take(&client).iter().map(|_| at));
            if polled.is_err() {
                // The net is ready at once: only the time has to pass.
                let wait = server.wait(now).filter(|_| sent.len() == 2).unwrap_or(1);
                assert!(wait > 0, "seed {seed}: it would spin");
                if sent.len() == 2 {
                    waits.push(wait);
                }
                at += wait;
            }
        }
        let (first, second) = (sent[0], sent[1]);
        assert!(second - first >= 20, "seed {seed}: {sent:?}");
        // Told of the silence after 50 ms, given up after 1000 since the last byte went through.
        let (end, outcome, heard) = ended.unwrap();
        assert_eq!((outcome, heard), (Err(Gone(How::TimedOut)), Some(0)), "seed {seed}");
        assert!((1000..1100).contains(&(end - second)), "seed {seed}: {end} {sent:?}");
        assert!(waits.len() < 40, "seed {seed}: {waits:?}");
        assert_eq!(server.clients(), 0);
    }
}

#[test]
fn a_pool_says_at_once_that_its_buffers_are_too_small() {
    let buffers = [([0; 43], [0; 4]); 1];
    let server =
        nonblocking::Server::<Net, echo::Server, Deaf, _, _, 1>::new(Socket::Idle, buffers);
    assert_eq!(server.err(), Some(TooSmall { min_input: 44, min_output: 4 }));
}

struct Deaf;

impl Application<echo::Server> for Deaf {
    fn event(&mut self, _: echo::server::Event) {}
}

// ---------------------------------------------------------------- async

/// An echo server over pipes that writes a whole reply before it reads on.
async fn naive_echo(reader: Reader, writer: Writer) {
    let mut server =
        asynch::Connection::new(reader, writer, echo::Server::new(), [0; 44], [0; 64]).unwrap();
    loop {
        match server.next().await.unwrap() {
            Next::Event(_) => server.flush().await.unwrap(),
            Next::Done => return,
            other => panic!("{other:?}"),
        }
    }
}

/// Sends all payloads as fast as there is room and gives the replies.
async fn pipelining(reader: Reader, writer: Writer, payloads: &[String]) -> Vec<Vec<u8>> {
    let (mut role, mut replies) = (EchoClient::new(payloads, true), vec![]);
    let mut client =
        asynch::Connection::new(reader, writer, echo::Client::new(), [0; 32], [0; 512]).unwrap();
    loop {
        while let Some(command) = role.command() {
            match client.command(command) {
                Ok(()) => role.given(),
                Err(Error::Refused(Refused::NoRoom)) => break,
                Err(e) => panic!("{e:?}"),
            }
        }
        match client.next().await.unwrap() {
            Next::Event(event) => {
                let event = EchoClient::own(event);
                keep(&mut role, &mut replies, event);
            }
            Next::Done => return replies.into_iter().map(|reply| reply.bytes).collect(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn async_echo_does_not_deadlock_with_a_server_that_stops_reading() {
    let payloads: Vec<String> = (0..60).map(|n| format!("0123456789 message {n:050}")).collect();
    let expected: Vec<Vec<u8>> =
        payloads.iter().map(|p| echo_reply_bytes(p.as_bytes()).unwrap()).collect();
    // From a pipe that holds one byte to one that holds several messages.
    for holds in [1, 7, 64, 200] {
        for buffers in [false, true] {
            let (writer, their_reader) = pipe(holds, 1000, buffers);
            let (their_writer, reader) = pipe(holds, 1000, buffers);
            let result = block_on(join(
                pipelining(reader, writer, &payloads),
                naive_echo(their_reader, their_writer),
            ));
            let (replies, ()) = match result {
                Ok(both) => both,
                Err(Deadlock) => panic!("deadlock: pipes of {holds}, buffering {buffers}"),
            };
            assert_eq!(replies, expected);
        }
    }
}

#[test]
fn async_loses_no_byte_when_a_call_is_dropped() {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::task::Poll;
    // The peer's question arrives in pieces; `next` is dropped each time it has to wait, also in
    // the middle of a flush.
    for holds in 1..8 {
        let (their_writer, reader) = pipe(64, 64, false);
        let (writer, their_reader) = pipe(holds, 64, true);
        let mut connection =
            asynch::Connection::new(reader, writer, math::Client::new(), [0; 9], [0; 4]).unwrap();
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
                            Poll::Ready(Ok(next)) => Some(bare(&next)),
                            Poll::Ready(Err(e)) => panic!("{e:?}"),
                            Poll::Pending => None,
                        })
                    })
                    .await
                };
                match polled {
                    Some(Next::Event(())) => events += 1,
                    Some(Next::Done) => return true,
                    Some(other) => panic!("{other:?}"),
                    None => {
                        got.extend(their_reader.take());
                        // Feeds on only when all answers so far have come, as a real server does.
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
fn async_names_every_error_of_a_read() {
    for (kind, how) in [
        (ErrorKind::ConnectionReset, How::Reset),
        (ErrorKind::ConnectionAborted, How::Reset),
        (ErrorKind::BrokenPipe, How::Reset),
        (ErrorKind::TimedOut, How::TimedOut),
    ] {
        let seen = by_async(&MathClient, &question(1, 2), Err(kind), 5);
        assert_eq!(seen, by_hand(&MathClient, &question(1, 2), how), "{kind:?}");
    }
    for kind in [ErrorKind::Other, ErrorKind::NotConnected, ErrorKind::OutOfMemory] {
        let seen = by_async(&MathClient, &question(1, 2), Err(kind), 5);
        assert_eq!(seen.ended, Ended::Transport(kind));
    }
}
