//! The ways to drive a machine. Each returns what was observed.

use embedded_io::ErrorKind;
use socklab_core::driver::asynch::{Fault, Halves, Transport, Whole};
use socklab_core::driver::{Error, Next, asynch, blocking, nonblocking, polled};
use socklab_core::machine::{CommandError, EventView, Input, Machine, StreamEnd, StreamState};
use socklab_core::session::{Handler, Polled, Session, Stop, Want, pump};
use socklab_tests::rng::Rng;
use socklab_tests::role::Application;
use socklab_tests::script::{Outcome, assert_lawful, every_cut};
use socklab_tests::transport::{
    BothSides, Failed, Net, NetEnd, NetError, Socket, Stream, block_on, pipe,
};

/// What every way of driving a machine must agree on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observed<E> {
    pub(crate) events: Vec<E>,
    pub(crate) sent: Vec<u8>,
    pub(crate) ended: Ended,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ended {
    Done,
    /// The machine asked to reset the connection.
    Aborted,
    /// An error of the machine.
    Protocol(String),
    /// An error of the transport.
    Transport(ErrorKind),
}

/// Returns what to do next, without the event.
pub(crate) fn without_event<E>(next: &Next<E>) -> Next<()> {
    match next {
        Next::Event(_) => Next::Event(()),
        Next::Command => Next::Command,
        Next::Boundary => Next::Boundary,
        Next::Close => Next::Close,
        Next::Abort => Next::Abort,
    }
}

/// Passes the event to the role and records it.
pub(crate) fn record_event<R: Application>(
    role: &mut R,
    events: &mut Vec<R::Event>,
    event: R::Event,
) {
    role.emitted(&event);
    if !events.last_mut().is_some_and(|last| R::append(last, &event)) {
        events.push(event);
    }
}

/// Steps the machine by hand, under every cut.
pub(crate) fn by_hand<R: Application>(
    role: &R,
    bytes: &[u8],
    how: StreamEnd,
) -> Observed<R::Event> {
    let transcript = assert_lawful(every_cut(role, bytes, Some(how)));
    let ended = match &transcript.outcome {
        Outcome::Done => Ended::Done,
        Outcome::Abort => Ended::Aborted,
        Outcome::Error(error, _) => Ended::Protocol(error.clone()),
        other => panic!("the script does not end: {other:?}"),
    };
    Observed { events: transcript.events(), sent: transcript.sent, ended }
}

/// Gives a session or connection all commands that the role has now. A command that does not fit is
/// split.
macro_rules! give_commands {
    ($role:expr, $command:expr, $pay:expr) => {
        while let Some(command) = $role.command() {
            match $command(command) {
                Ok(()) => $role.given(),
                Err(Error::Refused(CommandError::OutputFull)) => {
                    assert!($role.split(), "the command does not fit and cannot be split");
                    continue;
                }
                Err(e) => panic!("a command in turn got {e:?}"),
            }
            while !$role.payload().is_empty() {
                let n = $pay($role.payload());
                $role.advance_outbound(n);
            }
        }
    };
}

pub(crate) fn by_session<R: Application>(
    role: &R,
    bytes: &[u8],
    how: StreamEnd,
    seed: u64,
) -> Observed<R::Event> {
    let (mut role, mut rng, mut rest) = (role.clone(), Rng::new(seed), bytes);
    let input = vec![0; R::Machine::MIN_INPUT + rng.below(9)];
    let output = vec![0; R::Machine::MIN_OUTPUT + rng.below(9)];
    let session = std::cell::RefCell::new(Session::new(role.machine(), input, output).unwrap());
    let (mut events, sent) = (vec![], std::cell::RefCell::new(vec![]));
    let drain = || {
        let mut session = session.borrow_mut();
        sent.borrow_mut().extend_from_slice(session.transmit());
        let n = session.transmit().len();
        session.transmitted(n);
    };
    let command = |command: <R::Machine as Machine>::Command<'_>| {
        drain();
        session.borrow_mut().command(command).map_err(Error::<(), ()>::Refused)
    };
    let pay = |payload: &[u8]| {
        drain();
        session.borrow_mut().write_payload(payload)
    };
    if !R::TAKES_TURNS {
        give_commands!(role, command, pay);
    }
    let ended = loop {
        let polled = session.borrow_mut().poll();
        if let Ok(Polled::Want(want)) = polled
            && want != Want::Boundary
            && rng.percent(50)
        {
            // Polling again has no effect.
            let again = session.borrow_mut().poll();
            assert!(matches!(again, Ok(Polled::Want(same)) if same == want), "{want:?}, {again:?}");
        }
        let want = match polled {
            Ok(Polled::Event(event)) => {
                let event = R::own(session.borrow().view(event));
                record_event(&mut role, &mut events, event);
                if !R::TAKES_TURNS {
                    give_commands!(role, command, pay);
                }
                continue;
            }
            Ok(Polled::Want(want)) => want,
            Err(e) => break Ended::Protocol(format!("{e:?}")),
        };
        match want {
            Want::Boundary => {}
            Want::Write => drain(),
            Want::Flush => session.borrow_mut().flushed(),
            Want::Command if !role.payload().is_empty() => {
                let n = pay(role.payload());
                role.advance_outbound(n);
            }
            Want::Command if role.command().is_some() => {
                // One command only, because the role takes turns.
                let result = command(role.command().unwrap());
                result.expect("it is the application's turn");
                role.given();
            }
            Want::Command | Want::Read { .. } | Want::ReadOrWrite => {
                let mut session = session.borrow_mut();
                if rest.is_empty() {
                    assert!(!session.has_ended(), "the session waits for input after the end");
                    session.ended(how);
                    // Only the first end counts.
                    session.ended(StreamEnd::Closed);
                    session.idle();
                    continue;
                }
                let space = session.recv_space();
                assert!(!space.is_empty(), "the session waits for input without space for it");
                let n = rng.within(1, space.len().min(rest.len()));
                space[..n].copy_from_slice(&rest[..n]);
                session.received(n);
                rest = &rest[n..];
            }
            Want::Close => break Ended::Done,
            Want::Abort => break Ended::Aborted,
            Want::Broken(law) => panic!("{law}"),
        }
    };
    drain();
    Observed { events, sent: sent.into_inner(), ended }
}

/// The application of a pump.
struct RoleHandler<R: Application> {
    role: R,
    events: Vec<R::Event>,
    offered: bool,
}

impl<R: Application> RoleHandler<R> {
    const fn new(role: R) -> Self {
        Self { role, events: vec![], offered: false }
    }

    /// The offered command was accepted, or the session would have ended.
    fn advance_inbound(&mut self) {
        if std::mem::take(&mut self.offered) {
            self.role.given();
        }
    }
}

impl<R: Application> Handler<R::Machine> for RoleHandler<R> {
    fn event(&mut self, event: EventView<'_, R::Machine>) {
        self.advance_inbound();
        record_event(&mut self.role, &mut self.events, R::own(event));
    }

    fn command(&mut self) -> Option<<R::Machine as Machine>::Command<'_>> {
        self.advance_inbound();
        let command = self.role.command();
        self.offered = command.is_some();
        command
    }

    fn payload(&mut self, room: &mut [u8]) -> usize {
        self.advance_inbound();
        let n = room.len().min(self.role.payload().len());
        room[..n].copy_from_slice(&self.role.payload()[..n]);
        self.role.advance_outbound(n);
        n
    }
}

pub(crate) fn by_pump<R: Application>(
    role: &R,
    bytes: &[u8],
    how: StreamEnd,
    seed: u64,
    output: usize,
) -> Observed<R::Event> {
    let mut rng = Rng::new(seed);
    let mut player = RoleHandler::new(role.clone());
    let mut machine = role.machine();
    let (mut sent, mut consumed, mut arrived, mut ended) = (vec![], 0, 0, false);
    let mut output = vec![0; output];
    let ended = loop {
        let state = if ended { StreamState::Ended(how) } else { StreamState::Open };
        let input = Input { bytes: &bytes[consumed..arrived], state };
        let pumped = pump(&mut machine, &mut player, input, &mut output);
        consumed += pumped.consumed;
        sent.extend_from_slice(&output[..pumped.written]);
        match pumped.stop {
            Stop::Want(Want::Close) => break Ended::Done,
            Stop::Want(Want::Abort) => break Ended::Aborted,
            Stop::Want(Want::Broken(law)) => panic!("{law}"),
            Stop::Want(Want::Write | Want::Boundary) => {}
            Stop::Want(_) if arrived < bytes.len() => {
                arrived += rng.within(1, bytes.len() - arrived);
            }
            Stop::Want(want) => {
                assert!(!ended, "the machine waits for {want:?} after the end");
                ended = true;
            }
            Stop::Failed(e) => break Ended::Protocol(format!("{e:?}")),
            Stop::Refused(e) => panic!("a command in turn got {e:?}"),
        }
    };
    Observed { events: player.events, sent, ended }
}

/// A connection of the blocking driver.
type Blocking<R> = blocking::Connection<Stream, <R as Application>::Machine, Vec<u8>, Vec<u8>>;

pub(crate) fn by_blocking<R: Application>(
    role: &R,
    stream: Stream,
    seed: u64,
) -> (Observed<R::Event>, usize) {
    let (mut role, mut rng, mut events) = (role.clone(), Rng::new(seed), vec![]);
    let input = vec![0; R::Machine::MIN_INPUT + rng.below(9)];
    let output = vec![0; R::Machine::MIN_OUTPUT + rng.below(9)];
    let connection = Blocking::<R>::new(stream, role.machine(), input, output).unwrap();
    let connection = std::cell::RefCell::new(connection);
    let command =
        |command: <R::Machine as Machine>::Command<'_>| connection.borrow_mut().command(command);
    let pay = |payload: &[u8]| connection.borrow_mut().write_payload(payload).unwrap();
    if !R::TAKES_TURNS {
        give_commands!(role, command, pay);
    }
    let ended = loop {
        let next = connection.borrow_mut().next().map(|next| match next {
            Next::Event(event) => (Next::Event(()), Some(R::own(event))),
            other => (without_event(&other), None),
        });
        match next {
            Ok((Next::Event(()), event)) => {
                record_event(&mut role, &mut events, event.expect("an event was returned"));
                if !R::TAKES_TURNS {
                    give_commands!(role, command, pay);
                }
            }
            Ok((Next::Command, _)) if !role.payload().is_empty() => {
                let n = pay(role.payload());
                role.advance_outbound(n);
            }
            Ok((Next::Command, _)) => {
                command(role.command().expect("the script has one")).unwrap();
                role.given();
            }
            Ok((Next::Boundary, _)) => {}
            Ok((Next::Close, _)) => break Ended::Done,
            Ok((Next::Abort, _)) => break Ended::Aborted,
            Err(Error::Protocol(e)) => break Ended::Protocol(format!("{e:?}")),
            Err(Error::Transport(Failed(kind))) => break Ended::Transport(kind),
            Err(e) => panic!("{e:?}"),
        }
    };
    let stream = connection.into_inner().into_transport();
    (Observed { events, sent: stream.sent, ended }, stream.writes_after_failure)
}

pub(crate) fn by_polled<R: Application>(role: &R, stream: Stream, seed: u64) -> Observed<R::Event> {
    let (mut role, mut rng, mut events) = (role.clone(), Rng::new(seed), vec![]);
    let input = vec![0; R::Machine::MIN_INPUT + rng.below(9)];
    let output = vec![0; R::Machine::MIN_OUTPUT + rng.below(9)];
    let mut connection = polled::Connection::new(stream, role.machine(), input, output).unwrap();
    let (mut ended, mut rounds, mut asked) = (None, 0, false);
    while ended.is_none() {
        rounds += 1;
        assert!(rounds < 1_000_000, "the session does not end");
        // All commands that can be given are given first, so that their order does not depend on the
        // storm.
        if asked || !R::TAKES_TURNS && (role.command().is_some() || !role.payload().is_empty()) {
            asked = false;
            let done = if role.payload().is_empty() {
                let command = role.command().expect("the script has one");
                connection.command(command).map(|()| role.given())
            } else {
                connection.write_payload(role.payload()).map(|n| role.advance_outbound(n))
            };
            match done {
                Ok(()) => {}
                Err(nb::Error::WouldBlock) => asked = R::TAKES_TURNS,
                Err(nb::Error::Other(Error::Refused(CommandError::OutputFull))) => {
                    assert!(role.split());
                }
                Err(nb::Error::Other(Error::Transport(Failed(kind)))) => {
                    ended = Some(Ended::Transport(kind));
                }
                Err(e) => panic!("{e:?}"),
            }
            continue;
        }
        match connection.next() {
            Ok(Next::Event(event)) => {
                let event = R::own(event);
                record_event(&mut role, &mut events, event);
            }
            Ok(Next::Command) => asked = true,
            Ok(Next::Boundary) | Err(nb::Error::WouldBlock) => {}
            Ok(Next::Close) => ended = Some(Ended::Done),
            Ok(Next::Abort) => ended = Some(Ended::Aborted),
            Err(nb::Error::Other(Error::Protocol(e))) => {
                ended = Some(Ended::Protocol(format!("{e:?}")));
            }
            Err(nb::Error::Other(Error::Transport(Failed(kind)))) => {
                ended = Some(Ended::Transport(kind));
            }
            Err(e) => panic!("{e:?}"),
        }
    }
    let ended = ended.expect("the loop ended");
    Observed { events, sent: connection.into_transport().sent, ended }
}

pub(crate) fn by_nonblocking<R: Application>(
    role: &R,
    bytes: &[u8],
    end: NetEnd,
    seed: u64,
    prepare: impl FnOnce(&mut Net, &Socket),
) -> (Observed<R::Event>, Option<NetError>) {
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
    // All commands that can be given are given first, so that their order does not depend on the
    // storm.
    let ended = loop {
        rounds += 1;
        assert!(rounds < 1_000_000, "the session does not end");
        let can_speak = !R::TAKES_TURNS && (role.command().is_some() || !role.payload().is_empty());
        if can_speak {
            sent.extend(net.take(&theirs));
            if role.payload().is_empty() {
                let command = role.command().expect("checked above");
                match connection.command(&mut net, command) {
                    Ok(()) => role.given(),
                    Err(nb::Error::WouldBlock) => {}
                    Err(nb::Error::Other(Error::Refused(CommandError::OutputFull))) => {
                        assert!(role.split());
                    }
                    Err(e) => panic!("{e:?}"),
                }
            } else {
                match connection.write_payload(&mut net, role.payload()) {
                    Ok(n) => role.advance_outbound(n),
                    Err(nb::Error::WouldBlock) => {}
                    Err(e) => panic!("{e:?}"),
                }
            }
            continue;
        }
        let next = connection.next(&mut net).map(|next| match next {
            Next::Event(event) => (Next::Event(()), Some(R::own(event))),
            other => (without_event(&other), None),
        });
        match next {
            Ok((Next::Event(()), event)) => record_event(&mut role, &mut events, event.unwrap()),
            Ok((Next::Command, _)) if !role.payload().is_empty() => {
                match connection.write_payload(&mut net, role.payload()) {
                    Ok(n) => role.advance_outbound(n),
                    Err(nb::Error::WouldBlock) => sent.extend(net.take(&theirs)),
                    Err(e) => panic!("{e:?}"),
                }
            }
            Ok((Next::Command, _)) => {
                let command = role.command().expect("the script has one");
                match connection.command(&mut net, command) {
                    Ok(()) => role.given(),
                    // The peer reads some output.
                    Err(nb::Error::WouldBlock) => sent.extend(net.take(&theirs)),
                    Err(e) => panic!("{e:?}"),
                }
            }
            Ok((Next::Boundary, _)) => {}
            Ok((Next::Close, _)) => break Ended::Done,
            Ok((Next::Abort, _)) => break Ended::Aborted,
            Err(nb::Error::WouldBlock) => sent.extend(net.take(&theirs)),
            Err(nb::Error::Other(Error::Protocol(e))) => break Ended::Protocol(format!("{e:?}")),
            Err(nb::Error::Other(e)) => panic!("{e:?}"),
        }
    };
    let is_dropped = ended == Ended::Aborted;
    assert!(is_dropped || !connection.wants_send(), "the session ended with unsent bytes");
    sent.extend(net.take(&theirs));
    (Observed { events, sent, ended }, connection.fault())
}

/// Drives the machine as the only client of a pool.
pub(crate) fn by_pool<R: Application>(
    role: &R,
    bytes: &[u8],
    end: NetEnd,
    seed: u64,
) -> Observed<R::Event> {
    let mut rng = Rng::new(seed);
    let mut net = Net::new(seed);
    net.storm = rng.below(90);
    let client = net.dial();
    net.preset(&client, bytes, Some(end));
    let input = vec![0; R::Machine::MIN_INPUT + rng.below(9)];
    let output = vec![0; R::Machine::MIN_OUTPUT + rng.below(9)];
    let mut pool =
        nonblocking::Server::<Net, _, _, _, _, 1>::new(Socket::Idle, [(input, output)]).unwrap();
    let (mut now, mut over, mut sent, mut rounds) = (0, None, vec![], 0);
    let (events, ended) = loop {
        rounds += 1;
        assert!(rounds < 100_000, "the session does not end");
        let open = |_| (role.machine(), RoleHandler::new(role.clone()));
        let polled = pool.poll(&mut net, now, open, |e| {
            let ended = match e.outcome {
                nonblocking::Outcome::Done => Ended::Done,
                nonblocking::Outcome::Aborted => Ended::Aborted,
                nonblocking::Outcome::Failed(e) => Ended::Protocol(format!("{e:?}")),
                nonblocking::Outcome::Refused(e) => panic!("a command in turn got {e:?}"),
                nonblocking::Outcome::Broken(law) => panic!("{law}"),
            };
            over = Some((e.handler.events.clone(), ended));
        });
        sent.extend(net.take(&client));
        if let Some(over) = over.take() {
            break over;
        }
        // Time passes slowly, so that a storm is not taken for an idle peer.
        now += u32::from(polled.is_err());
    };
    Observed { events, sent, ended }
}

pub(crate) fn by_async<R: Application>(
    role: &R,
    bytes: &[u8],
    end: Result<(), ErrorKind>,
    seed: u64,
    whole: bool,
) -> Observed<R::Event> {
    let (role, mut rng) = (role.clone(), Rng::new(seed));
    let buffers = rng.percent(50);
    let (their_writer, reader) = pipe(1 << 16, rng.within(1, 9), false);
    let (writer, their_reader) = pipe(1 << 16, rng.within(1, 9), buffers);
    their_writer.preset(bytes);
    their_writer.end(end);
    let input = vec![0; R::Machine::MIN_INPUT + rng.below(9)];
    let output = vec![0; R::Machine::MIN_OUTPUT + rng.below(9)];
    // Everything that is sent fits into the pipe, so one object does as well as two.
    let (events, ended) = if whole {
        let socket = BothSides { reader, writer };
        run_async(role, Whole(socket), input, output)
    } else {
        run_async(role, Halves(reader, writer), input, output)
    };
    Observed { events, sent: their_reader.take(), ended }
}

fn run_async<R: Application, T>(
    mut role: R,
    transport: T,
    input: Vec<u8>,
    output: Vec<u8>,
) -> (Vec<R::Event>, Ended)
where
    T: Transport,
    T::Reader: embedded_io_async::ErrorType<Error = Failed>,
    T::Writer: embedded_io_async::ErrorType<Error = Failed>,
{
    let mut connection = asynch::Connection::new(transport, role.machine(), input, output).unwrap();
    let result = block_on(async {
        let mut events = vec![];
        loop {
            let can_speak = !R::TAKES_TURNS;
            while can_speak && (role.command().is_some() || !role.payload().is_empty()) {
                if role.payload().is_empty() {
                    let command = role.command().expect("checked above");
                    match connection.command(command).await {
                        Ok(()) => role.given(),
                        Err(Error::Refused(CommandError::OutputFull)) => assert!(role.split()),
                        Err(e) => panic!("{e:?}"),
                    }
                } else {
                    let n = connection.write_payload(role.payload()).await.unwrap();
                    role.advance_outbound(n);
                }
            }
            match connection.next().await {
                Ok(Next::Event(event)) => {
                    let event = R::own(event);
                    record_event(&mut role, &mut events, event);
                }
                Ok(Next::Command) if !role.payload().is_empty() => {
                    let n = connection.write_payload(role.payload()).await.unwrap();
                    role.advance_outbound(n);
                }
                Ok(Next::Command) => {
                    connection.command(role.command().expect("the script has one")).await.unwrap();
                    role.given();
                }
                Ok(Next::Boundary) => {}
                Ok(Next::Close) => break (events, Ended::Done),
                Ok(Next::Abort) => break (events, Ended::Aborted),
                Err(Error::Protocol(e)) => break (events, Ended::Protocol(format!("{e:?}"))),
                Err(Error::Transport(Fault::Read(Failed(kind)) | Fault::Write(Failed(kind)))) => {
                    break (events, Ended::Transport(kind));
                }
                Err(e) => panic!("{e:?}"),
            }
        }
    });
    result.expect("the whole script is available")
}
