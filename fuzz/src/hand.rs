//! A session that is driven by hand and held to the rules of [`Session::poll`].

use std::fmt::{Debug, Formatter};

use socklab_core::machine::{
    Action, CommandError, EventView, Input, Machine, Spans as _, Step, StreamEnd, StreamState,
};
use socklab_core::session::{Polled, Session, Want};
use socklab_tests::role::{Application, Command};

/// Number of steps without an event after which a view is not checked.
const STEPS: usize = 64;

/// The error of a role's machine.
pub type ErrorOf<R> = <<R as Application>::Machine as Machine>::Error;

/// A session that checks what each [`poll`](Self::poll) returns.
///
/// - Polling again has no effect, except after an event and a boundary.
/// - Each [`Want`] comes only when what it promises holds: what precedes it is written and flushed, a read is
///   possible, and the application is not asked for a command while a write has found the connection gone.
/// - An error comes only when pending output has left. Until then neither more bytes nor the end of the stream
///   changes it, no command or payload is accepted, and a transport that cannot write does not hide it.
/// - The spans of an event lie inside the input.
#[derive(Clone)]
pub struct Hand<R: Application> {
    session: Session<R::Machine, Vec<u8>, Vec<u8>>,
    /// Lengths of the buffers.
    capacity: [usize; 2],
    /// State of the stream, as reported.
    state: StreamState,
    /// The transport took bytes since its last flush.
    unflushed: bool,
    /// The error of the machine, also while it waits for pending output.
    error: Option<ErrorOf<R>>,
}

impl<R: Application> Debug for Hand<R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Self { session, state, unflushed, error, .. } = self;
        write!(f, "{session:?}, {state:?}, unflushed {unflushed}, {error:?}")
    }
}

impl<R: Application> Hand<R> {
    /// Starts a session with input and output buffers of these lengths.
    pub fn new(role: &R, [input, output]: [usize; 2]) -> Self {
        let session = Session::new(role.machine(), vec![0; input], vec![0; output]);
        Self {
            session: session.expect("the buffers are long enough"),
            capacity: [input, output],
            state: StreamState::Open,
            unflushed: false,
            error: None,
        }
    }

    /// Polls the session, and checks the result.
    pub fn poll(&mut self) -> Result<Polled<R::Event>, ErrorOf<R>> {
        let before = self.session.clone();
        let polled = self.session.poll();
        let want = match polled {
            Ok(Polled::Event(event)) => {
                let event = R::own(self.session.view(event));
                self.check_view(&before, &event);
                assert!(self.error.is_none(), "{event:?} follows an error");
                return Ok(Polled::Event(event));
            }
            Ok(Polled::Want(want)) => want,
            Err(e) => {
                assert!(self.is_sent(), "the error {e:?} came before pending output was sent");
                self.failed(e);
                let again = self.session.clone().poll();
                assert!(again.is_err_and(|again| again == e), "the error {e:?} does not repeat");
                return Err(e);
            }
        };
        self.check(want);
        if want != Want::Boundary {
            let mut again = self.session.clone();
            match again.poll() {
                Ok(Polled::Want(next)) => assert_eq!(want, next, "poll has an effect"),
                other => panic!("{want:?}, and polled again {other:?}"),
            }
            assert_eq!(
                self.session.transmit(),
                again.transmit(),
                "poll has an effect on the output"
            );
            assert_eq!(self.session.unread(), again.unread(), "poll has an effect on the input");
        }
        Ok(Polled::Want(want))
    }

    /// Checks that what `want` promises holds.
    fn check(&mut self, want: Want) {
        let is_drained = self.session.transmit().is_empty();
        let is_gone = matches!(self.write_closed(), Some(StreamEnd::Reset | StreamEnd::TimedOut));
        if matches!(want, Want::Write | Want::Flush) {
            self.check_pending_error();
        }
        // With an error that waits nothing is read, whatever space there is.
        let can_read = self.can_read();
        let holds = match want {
            Want::Command => {
                let owes = self.outbound_remaining() > 0;
                is_drained && (owes || !self.unflushed) && !(is_gone && can_read)
            }
            Want::Read { .. } => self.is_sent() && can_read,
            Want::Write => !is_drained,
            Want::Flush => is_drained && self.unflushed,
            Want::ReadOrWrite => can_read,
            Want::Boundary | Want::Close => self.is_sent(),
            Want::Abort => true,
            Want::Broken(law) => panic!("{law}"),
        };
        assert!(holds, "it wants {want:?} of {self:?}");
    }

    /// Checks the rules for an error that waits for pending output, if there is one.
    fn check_pending_error(&mut self) {
        let cut_off = |mut session: Session<_, _, _>| {
            session.write_ended(StreamEnd::Closed);
            session.poll().err()
        };
        let e = match (cut_off(self.session.clone()), self.error) {
            (None, None) => return,
            // What it needs is output space: it has not come to the error yet.
            (Some(_), None) if !self.has_failed() => return,
            (None, Some(e)) => panic!("the error {e:?} is gone"),
            (Some(e), _) => e,
        };
        self.failed(e);
        let mut later = self.session.clone();
        let n = later.recv_space().len().min(3);
        if !later.has_ended() {
            later.recv_space()[..n].copy_from_slice(&b"\n0\xff"[..n]);
            later.received(n);
        }
        assert_eq!(cut_off(later.clone()), Some(e), "more bytes change the error");
        for how in [StreamEnd::Closed, StreamEnd::Reset, StreamEnd::TimedOut] {
            let mut ended = later.clone();
            ended.ended(how);
            assert_eq!(cut_off(ended), Some(e), "the end of the stream changes the error");
        }
    }

    /// Whether the last step of the machine failed. It wrote nothing, and had all the space there is, or more than
    /// it needs.
    fn has_failed(&self) -> bool {
        let input = Input { bytes: self.session.unread(), state: self.state };
        let space = self.capacity[1] - self.session.transmit().len();
        self.session.machine().clone().step(input, &mut vec![0; space]).is_err()
    }

    /// Notes the error. It has to be the one that was found before.
    fn failed(&mut self, e: ErrorOf<R>) {
        let first = *self.error.get_or_insert(e);
        assert_eq!(first, e, "the error changed");
    }

    /// Checks that the event shows the same bytes as one of the machine alone, whose input is followed by other
    /// bytes. An event that depends on output space is not checked.
    fn check_view(&self, before: &Session<R::Machine, Vec<u8>, Vec<u8>>, event: &R::Event) {
        let bytes = before.unread();
        let mut machine = before.machine().clone();
        let mut output = vec![0; R::Machine::MIN_OUTPUT];
        let mut at = 0;
        for _ in 0..STEPS {
            let input = Input { bytes: &bytes[at..], state: self.state };
            match machine.step(input, &mut output) {
                Ok(Step { consumed, written: 0, action: Action::Continue }) => at += consumed,
                Ok(Step { written: 0, action: Action::Event(own), .. }) => {
                    let view: EventView<'_, R::Machine> = own.view(input.bytes);
                    assert_eq!(&R::own(view), event, "the session shows other bytes");
                    let longer = [input.bytes, &[0x5a; 64]].concat();
                    assert_eq!(&R::own(own.view(&longer)), event, "a span exceeds the input");
                    return;
                }
                _ => return,
            }
        }
    }

    /// Whether everything has been written and flushed.
    pub fn is_sent(&self) -> bool {
        self.session.transmit().is_empty() && !self.unflushed
    }

    /// Whether the transport took bytes since its last flush.
    pub fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// Whether a read is possible: not after the end or an error, nor into a full buffer.
    pub fn can_read(&self) -> bool {
        self.error.is_none()
            && !self.session.has_ended()
            && self.session.unread().len() < self.capacity[0]
    }

    /// The error of the machine, also while it waits for pending output.
    pub fn error(&self) -> Option<ErrorOf<R>> {
        self.error
    }

    /// State of the stream.
    pub fn state(&self) -> StreamState {
        self.state
    }

    /// Bytes to send.
    pub fn transmit(&self) -> &[u8] {
        self.session.transmit()
    }

    /// Bytes that the machine has not consumed.
    pub fn unread(&self) -> &[u8] {
        self.session.unread()
    }

    /// Space for bytes of the transport.
    pub fn recv_space(&mut self) -> &mut [u8] {
        self.session.recv_space()
    }

    /// Space for bytes of the transport, as drivers that read and write at the same time ask for it.
    pub fn recv_space_and_transmit(&mut self) {
        let _ = self.session.recv_space_and_transmit();
    }

    /// The machine.
    pub fn machine(&self) -> &R::Machine {
        self.session.machine()
    }

    /// Number of bytes of payload that are outstanding.
    pub fn outbound_remaining(&self) -> u64 {
        self.session.machine().outbound_remaining()
    }

    /// How the sending direction ended.
    pub fn write_closed(&self) -> Option<StreamEnd> {
        self.session.write_closed()
    }

    /// Whether the stream from the peer has ended.
    pub fn has_ended(&self) -> bool {
        self.session.has_ended()
    }

    /// Gives a command.
    pub fn command(&mut self, command: Command<'_, R>) -> Result<(), CommandError> {
        let before = self.session.clone();
        let given = self.session.command(command);
        if given.is_err() {
            assert!(before.machine() == self.session.machine(), "a refused command has an effect");
            assert_eq!(before.transmit(), self.session.transmit(), "a refused command is sent");
        } else if let Some(e) = self.error {
            panic!("a command is accepted after {e:?}");
        } else if self.write_closed().is_some() {
            assert!(self.session.transmit().is_empty(), "it queues what no one accepts");
        }
        given
    }

    /// Queues payload.
    pub fn write_payload(&mut self, payload: &[u8]) -> usize {
        let before = self.outbound_remaining();
        let n = self.session.write_payload(payload);
        assert_eq!(before - self.outbound_remaining(), n as u64, "payload is miscounted");
        n
    }

    /// These bytes arrived.
    pub fn received(&mut self, bytes: &[u8]) {
        self.session.recv_space()[..bytes.len()].copy_from_slice(bytes);
        self.session.received(bytes.len());
        if self.state == StreamState::Idle {
            self.state = StreamState::Open;
        }
    }

    /// The transport took this number of bytes.
    pub fn transmitted(&mut self, n: usize) {
        self.session.transmitted(n);
        self.unflushed = true;
    }

    /// The transport is flushed.
    pub fn flushed(&mut self) {
        self.session.flushed();
        self.unflushed = false;
    }

    /// No byte came for a while.
    pub fn idle(&mut self) {
        self.session.idle();
        if self.state == StreamState::Open {
            self.state = StreamState::Idle;
        }
    }

    /// The stream from the peer ended.
    pub fn ended(&mut self, how: StreamEnd) {
        if !self.has_ended() {
            // A system reports a reset once: to a write, or to a read.
            let before = self.write_closed().filter(|_| how == StreamEnd::Closed);
            self.state = StreamState::Ended(before.unwrap_or(how));
        }
        self.session.ended(how);
    }

    /// The peer accepts no more bytes.
    pub fn write_ended(&mut self, how: StreamEnd) {
        self.session.write_ended(how);
        assert!(self.session.transmit().is_empty(), "output is kept that no one accepts");
        self.unflushed = false;
    }

    /// The caller stops waiting.
    pub fn time_out(&mut self) {
        self.ended(StreamEnd::TimedOut);
        self.session.time_out();
        self.unflushed = false;
    }

    /// Another session begins in the same buffers.
    pub fn restart(&mut self, role: &R) {
        self.session.restart(role.machine());
        (self.state, self.unflushed, self.error) = (StreamState::Open, false, None);
    }
}
