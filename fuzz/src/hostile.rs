//! A transport that does whatever the fuzzer likes, and a run by hand that says what a driver has to
//! make of it: what `pool` and `drivers` share.
//!
//! The run by hand is a [`Session`] that is told of every byte and end that the transport gave, when
//! it gave them. So at each call of the transport it is known what the driver may do there: what it
//! sends, whether there is something to read, which events came before.
//!
//! ```text
//!   role   flags  room  most  count  choice...      choices of the role          what each peer sends
//!   1      1      1     1     1      0 to 255       see `socklab_tests::role`    the rest
//!
//!   role    its number in the table of the core
//!   flags   1, 2 how a peer ends: closed, never, reset, timed out   the others are the target's
//!   room    what input and output have beyond what the machine needs: 4 bits each
//!   most    the most that a call moves; 0: all there is
//!   choice  one for each call of the transport and each turn of the caller; 0 and none left: it goes well
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::rc::Rc;

use libfuzzer_sys::Corpus;
use socklab_core::machine::{Action, CommandError, Machine, Need, StreamEnd};
use socklab_core::session::Session;
use socklab_tests::draw::Draw;
use socklab_tests::role::{Command, ROLES, Role, RoleNumber, RoleVisitor, visit_role};

/// What the fuzzer chose, in the order in which it is asked for.
#[derive(Clone, Debug)]
pub struct Choices(Rc<RefCell<VecDeque<u8>>>);

impl Choices {
    /// The next one; 0 when there are none left.
    pub fn next(&self) -> u8 {
        self.0.borrow_mut().pop_front().unwrap_or_default()
    }

    /// Whether from now on all goes well.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// What the first bytes of an input say.
pub struct Setting {
    /// For the target.
    pub flags: u8,
    /// Bytes of input and output beyond what the machine needs.
    pub room: [usize; 2],
    /// The most that a call moves.
    pub most: usize,
    /// The rest of them.
    pub choices: Choices,
}

impl Setting {
    fn new(draw: &mut Draw<'_>) -> Self {
        let [flags, room, most, count] = [(); 4].map(|()| draw.byte());
        let choices = (0..count).map(|_| draw.byte()).collect();
        Self {
            flags,
            room: [room & 15, room >> 4].map(usize::from),
            most: if most == 0 { usize::MAX } else { most.into() },
            choices: Choices(Rc::new(RefCell::new(choices))),
        }
    }

    /// How a peer ends behind its last byte.
    pub fn end(&self) -> Said {
        [Said::Nothing, Said::Blocks, Said::Fails(1), Said::Fails(2)][usize::from(self.flags & 3)]
    }
}

/// What is done with the machine of an input.
pub trait Target {
    /// This machine, and what each peer sends.
    fn run<R: Role>(role: &R, setting: &Rc<Setting>, bytes: &[u8]);
}

/// Runs the target with the server that the input chooses. An input that chooses none is of no use.
pub fn server<T: Target>(data: &[u8]) -> Corpus {
    let is_server = |role: &RoleNumber| role.is_server;
    run::<T>(data, is_server)
}

/// Runs the target with the server or client that the input chooses. An input that chooses none is of no use.
pub fn either<T: Target>(data: &[u8]) -> Corpus {
    run::<T>(data, |_| true)
}

/// The target, and all that it is given beside the role.
struct Run<T> {
    setting: Rc<Setting>,
    target: PhantomData<T>,
}

impl<T: Target> RoleVisitor for Run<T> {
    fn visit<R: Role>(self, role: &R, bytes: &[u8]) {
        T::run(role, &self.setting, bytes);
    }
}

fn run<T: Target>(data: &[u8], is_meant: impl Fn(&RoleNumber) -> bool) -> Corpus {
    let mut draw = Draw::new(data);
    let number = draw.byte();
    if !ROLES.iter().any(|role| role.number == number && is_meant(role)) {
        return Corpus::Reject;
    }
    let setting = Rc::new(Setting::new(&mut draw));
    let flag = setting.flags & 128 != 0;
    visit_role(number, &mut draw, flag, Run::<T> { setting, target: PhantomData });
    Corpus::Keep
}

/// What a call of the transport says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// So many bytes, one at the least.
    Moved(usize),
    /// `Ok(0)`.
    Nothing,
    /// Not now.
    Blocks,
    /// An error, one of several.
    Fails(u8),
}

/// What follows from it, by the transport's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Nothing: ask again.
    Again,
    /// The direction has ended like this.
    Ends(StreamEnd),
    /// The transport waited too long: a silence, or the end.
    TimesOut,
    /// It is the caller's affair.
    Fails,
}

/// The most turns that a client of a pool has in a poll.
const TURNS: usize = 64;

/// A session run by hand beside that of the driver, and what its peer still sends.
pub struct Hand<R: Role> {
    session: Session<R::Machine, Vec<u8>, Vec<u8>>,
    choices: Choices,
    most: usize,
    input: VecDeque<u8>,
    end: Said,
    /// What it said last.
    action: Result<Action<()>, <R::Machine as Machine>::Error>,
    /// There is something that the machine has not been stepped over.
    has_news: bool,
    /// The machine has said a boundary, and the driver has not gone on from it.
    at_boundary: bool,
    /// What the machine waited for last also is a silence of so many ms.
    pub silence: Option<u16>,
    /// What is on its way into the output, while the driver sends for it.
    paying: VecDeque<u8>,
    paid: usize,
    /// It was told of a silence, and nothing has come since.
    pub is_silent: bool,
    /// The last call of the transport said that it would block, and no other help is in sight.
    pub is_blocked: bool,
    /// The last call of the transport said that it would block.
    pub has_blocked: bool,
    /// Something went through, or the application had its turn, since this was last taken.
    pub has_moved: bool,
    /// The transport took bytes that are not flushed.
    pub unflushed: bool,
    /// An error of the transport that the caller has to be told.
    pub failed: bool,
    /// The application's last command was refused.
    pub refused: Option<CommandError>,
    /// Nothing more may be sent.
    is_over: bool,
    /// The driver only sends: it does not step the machine.
    pub only_sends: bool,
    /// Reads, events and commands since this was last set to 0.
    pub turns: usize,
    blocked: usize,
}

impl<R: Role> Hand<R> {
    /// For a fresh machine with buffers of these sizes.
    pub fn new(role: &R, setting: &Setting, bytes: &[u8]) -> Self {
        let [input, output] = buffers::<R>(setting);
        Self {
            session: Session::new(role.machine(), input, output).expect("they are large enough"),
            choices: setting.choices.clone(),
            most: setting.most,
            input: bytes.iter().copied().collect(),
            end: setting.end(),
            action: Ok(Action::Continue),
            has_news: true,
            at_boundary: false,
            silence: None,
            paying: VecDeque::new(),
            paid: 0,
            is_silent: false,
            is_blocked: false,
            has_blocked: false,
            has_moved: false,
            unflushed: false,
            failed: false,
            refused: None,
            is_over: false,
            only_sends: false,
            turns: 0,
            blocked: 0,
        }
    }

    /// Where the machine stands. A boundary stays until the driver has gone on from it.
    pub fn stands(&mut self) -> Result<Action<()>, <R::Machine as Machine>::Error> {
        if self.at_boundary {
            return Ok(Action::Boundary);
        }
        self.has_news = false;
        let action = self.session.advance();
        self.action = action;
        self.at_boundary = action == Ok(Action::Boundary);
        self.silence = match action {
            Ok(Action::Need(Need::InputOrIdle(ms))) => Some(ms),
            _ => None,
        };
        action
    }

    /// Where it stood when it was last asked.
    pub fn stood(&self) -> Result<Action<()>, <R::Machine as Machine>::Error> {
        self.action
    }

    /// A call of the driver gives nothing. It has stepped over what there was: where it flushed alone,
    /// that did not show.
    pub fn pauses(&mut self) {
        if self.has_news {
            let _ = self.stands();
        }
    }

    /// The driver goes on from a boundary, if it is at one and has sent what is before it.
    pub fn passes(&mut self, sends: bool) -> bool {
        // What is left over is sent without a step between; one would fill the room again.
        if !sends || self.has_news || self.is_drained() {
            let _ = self.stands();
        }
        let passes = self.is_drained() && std::mem::take(&mut self.at_boundary);
        self.has_news |= passes;
        passes
    }

    /// Nothing waits to be sent.
    pub fn is_drained(&self) -> bool {
        self.session.transmit().is_empty()
    }

    /// So many calls of a driver are one turn: they have to end.
    pub fn begins(&mut self) {
        (self.turns, self.blocked) = (0, 0);
    }

    /// A turn of those that are counted.
    pub fn turn(&mut self) {
        self.turns += 1;
    }

    /// In a pool, a client has had no more turns than it may.
    pub fn is_bounded(&self) {
        assert!(self.turns <= TURNS, "{} turns in one poll", self.turns);
        assert!(self.blocked <= 2 * TURNS, "{} calls in vain in one poll", self.blocked);
    }

    /// The driver sends this. What the transport says to it.
    pub fn send(&mut self, bytes: &[u8]) -> Said {
        assert!(!bytes.is_empty(), "there is no sense in a send of nothing");
        if !self.only_sends {
            // As above.
            if self.has_news || bytes.len() > self.session.transmit().len() {
                let _ = self.stands();
            }
            assert_ne!(self.action, Ok(Action::Event(())), "it sends before it tells of an event");
        }
        // As much of the payload as the driver has taken: how much it has room for depends on when it
        // stepped last, since a step moves what waits to the front.
        self.write_payload(bytes.len().saturating_sub(self.session.transmit().len()));
        assert!(!self.is_over, "it sends, and is over");
        let pending = self.session.transmit();
        assert_eq!(
            pending.escape_ascii().to_string(),
            bytes.escape_ascii().to_string(),
            "it sends"
        );
        self.is_blocked = false;
        let said = self.said(bytes.len());
        self.has_blocked = matches!(said, Said::Blocks | Said::Nothing);
        match said {
            Said::Moved(n) => {
                self.session.sent(n);
                (self.has_moved, self.unflushed) = (true, true);
            }
            // Where the machine waits for input too, a read comes next.
            Said::Blocks | Said::Nothing => {
                self.blocked += 1;
                let reads = !self.only_sends
                    && matches!(
                        self.action,
                        Ok(Action::Need(
                            Need::Input
                                | Need::InputOrIdle(_)
                                | Need::Command
                                | Need::InputOrCommand
                        ))
                    )
                    && !self.session.has_ended()
                    && !self.session.clone().room().is_empty();
                self.is_blocked = !reads;
            }
            Said::Fails(_) => {}
        }
        said
    }

    /// The driver reads. What the transport says to it, with as much in `room`.
    pub fn receive(&mut self, room: &mut [u8]) -> Said {
        assert!(!room.is_empty(), "a read into nothing says 0, which looks like the end");
        assert!(!self.session.has_ended(), "it reads after the end");
        assert!(!self.only_sends, "it reads when it is only to send");
        let action = self.stands();
        let waits = matches!(action, Ok(Action::Need(need)) if need != Need::OutputSpace);
        assert!(waits, "it reads at {action:?}");
        self.is_blocked = false;
        // Asked for at each read, also in vain: that may move what is in the buffer.
        assert_eq!(self.session.room().len(), room.len(), "it reads into");
        let n = room.len().min(self.input.len());
        let said = match if n == 0 { self.end } else { self.said(n) } {
            // Bytes are there that it may not lose: an end behind them comes later.
            said if n > 0 || !matches!(said, Said::Moved(_)) => said,
            _ => Said::Blocks,
        };
        self.has_blocked = said == Said::Blocks;
        match said {
            Said::Moved(n) => {
                for (to, from) in room.iter_mut().zip(self.input.drain(..n)) {
                    *to = from;
                }
                self.session.room()[..n].copy_from_slice(&room[..n]);
                self.session.received(n);
                (self.has_moved, self.is_silent) = (true, false);
                self.has_news = true;
                self.turn();
            }
            Said::Blocks => {
                self.blocked += 1;
                self.is_blocked = true;
            }
            Said::Nothing | Said::Fails(_) => self.turn(),
        }
        said
    }

    /// What a call that could move `n` bytes says.
    pub fn said(&self, n: usize) -> Said {
        let choice = self.choices.next();
        match choice & 15 {
            1 => Said::Blocks,
            2 if choice >= 128 => Said::Nothing,
            3 if choice >= 64 => Said::Fails(choice >> 4),
            4.. => Said::Moved(n.min(self.most).min(1 + usize::from(choice >> 4))),
            _ => Said::Moved(n.min(self.most)),
        }
    }

    /// What the transport said of sending means this.
    pub fn sending(&mut self, means: Means) {
        match means {
            Means::Ends(how) => self.session.write_ended(how),
            Means::TimesOut => self.session.write_ended(StreamEnd::TimedOut),
            Means::Fails => self.failed = true,
            Means::Again => {}
        }
    }

    /// What the transport said of reading means this.
    pub fn reading(&mut self, means: Means) {
        self.has_news |= matches!(means, Means::Ends(_) | Means::TimesOut);
        match means {
            Means::Ends(how) => self.session.ended(how),
            Means::TimesOut => self.timed_out(),
            Means::Fails => self.failed = true,
            Means::Again => {}
        }
    }

    /// The caller gives up.
    pub fn time_out(&mut self) {
        self.has_news = true;
        self.session.ended(StreamEnd::TimedOut);
        self.session.write_ended(StreamEnd::TimedOut);
    }

    /// Nothing came for a while.
    pub fn idle(&mut self) {
        self.session.idle();
        (self.is_silent, self.has_news) = (true, true);
    }

    /// One of these.
    pub fn timed_out(&mut self) {
        if self.silence.take().is_some() { self.idle() } else { self.time_out() }
    }

    /// How it showed that nothing more can be sent.
    pub fn write_closed(&self) -> Option<StreamEnd> {
        self.session.write_closed()
    }

    /// Whether nothing more comes.
    pub fn has_ended(&self) -> bool {
        self.session.has_ended()
    }

    /// The driver's application is told this.
    pub fn emitted(&mut self, event: &R::Event) {
        assert_eq!(self.stands(), Ok(Action::Event(())), "it tells of {event:?}");
        match self.session.step() {
            Ok(Action::Event(own)) => assert_eq!(&R::own(own), event),
            other => {
                panic!("{event:?}, and by hand {:?}", other.map(|action| action.without_event()))
            }
        }
        self.has_news = true;
        self.turn();
    }

    /// The application gives this command, and this is what comes of it.
    pub fn command(&mut self, command: Command<'_, R>) -> Result<(), CommandError> {
        let said = self.session.command(command);
        (self.refused, self.has_news) = (said.err(), true);
        said
    }

    /// So much payload is owed.
    pub fn outbound_remaining(&self) -> u64 {
        self.session.machine().outbound_remaining()
    }

    /// The caller pays this, and the driver may send meanwhile.
    pub fn pays(&mut self, payload: &[u8]) {
        (self.paying, self.paid) = (payload.iter().copied().collect(), 0);
    }

    fn write_payload(&mut self, mut most: usize) {
        for steps in [false, true] {
            most = most.min(self.paying.len());
            if most > 0 && steps {
                let _ = self.session.advance();
            }
            let n = self.session.write_payload(&self.paying.make_contiguous()[..most]);
            self.paying.drain(..n);
            (self.paid, most) = (self.paid + n, most - n);
        }
    }

    /// The driver says that it took so many bytes of it.
    pub fn has_paid(&mut self, n: usize) {
        while self.paid < n {
            let before = self.paid;
            self.write_payload(n - before);
            assert!(self.paid > before, "it took {n} bytes of payload, by hand {before}");
        }
        self.has_news |= n > 0;
        assert_eq!(self.paid, n, "so many bytes of payload were taken");
        self.paying.clear();
    }

    /// The driver says that the session is over, and why.
    pub fn over(&mut self, why: Why<<R::Machine as Machine>::Error>) {
        let action = self.stands();
        let holds = match why {
            Why::Done => action == Ok(Action::Close) && self.is_drained(),
            // Also of a machine that waits for what cannot come.
            Why::Aborted => {
                action == Ok(Action::Abort)
                    || matches!(action, Ok(Action::Need(need)) if need != Need::Command)
                        && self.session.has_ended()
            }
            // What was queued before it has been sent, or the transport failed.
            Why::Failed(e) => action == Err(e) && (self.is_drained() || self.failed),
            Why::Refused(e) => self.refused == Some(e),
        };
        assert!(holds, "it is over with {why:?}, and by hand {action:?}");
        (self.failed, self.is_blocked) = (false, false);
        self.is_over |= matches!(why, Why::Done | Why::Aborted);
    }
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Why<E> {
    /// As it should.
    Done,
    /// Broken off.
    Aborted,
    /// The machine's error.
    Failed(E),
    /// A command out of turn.
    Refused(CommandError),
}

/// An input and an output buffer as the fuzzer likes them.
pub fn buffers<R: Role>(setting: &Setting) -> [Vec<u8>; 2] {
    let least = [R::Machine::MIN_INPUT, R::Machine::MIN_OUTPUT];
    [0, 1].map(|n| vec![0; least[n] + setting.room[n]])
}
