//! A transport that answers as the fuzzer chooses, for `drivers` and `pool`.
//!
//! Each call of the code under test is [recorded](Call) with its answer. The [model](crate::model) then performs
//! the same calls, gets the same answers, and fails at the first difference.
//!
//! ```text
//!   role   flags  room  most  count  choice...      choices of the role          what each peer sends
//!   1      1      1     1     1      0 to 255       see `socklab_tests::role`    the rest
//!
//!   role    its number in the table of the core
//!   flags   1, 2 how a peer ends: closed, never, reset, timed out   the others are the target's
//!   room    bytes of input and output beyond what the machine needs: 4 bits each
//!   most    largest number of bytes that a call moves; 0: all there is
//!   choice  one for each call of the transport and each turn of the caller; 0 and none left: it succeeds
//! ```

use std::cell::RefCell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::rc::Rc;

use libfuzzer_sys::Corpus;
use socklab_core::machine::Machine;
use socklab_tests::draw::Draw;
use socklab_tests::role::{Application, ROLES, RoleNumber, RoleVisitor, visit_role};

/// The choices of the fuzzer, in order.
#[derive(Clone, Debug)]
pub struct Choices(Rc<RefCell<VecDeque<u8>>>);

impl Choices {
    /// Takes the next one; 0 when there are none left.
    pub fn next(&self) -> u8 {
        self.0.borrow_mut().pop_front().unwrap_or_default()
    }

    /// Whether there are none left, so that every call succeeds.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// What the first bytes of an input choose.
pub struct Setting {
    /// For the target.
    pub flags: u8,
    /// Bytes of input and output beyond what the machine needs.
    pub room: [usize; 2],
    /// Largest number of bytes that a call moves.
    pub most: usize,
    /// The further choices.
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
    pub fn end(&self) -> Answer {
        [Answer::Nothing, Answer::Blocks, Answer::Fails(1), Answer::Fails(2)]
            [usize::from(self.flags & 3)]
    }

    /// Lengths of the input and the output buffer.
    pub fn lengths<R: Application>(&self) -> [usize; 2] {
        [R::Machine::MIN_INPUT + self.room[0], R::Machine::MIN_OUTPUT + self.room[1]]
    }

    /// An input and an output buffer.
    pub fn buffers<R: Application>(&self) -> [Vec<u8>; 2] {
        self.lengths::<R>().map(|length| vec![0; length])
    }
}

/// What is done with the machine of an input.
pub trait Target {
    /// Runs with this machine, and with what each peer sends.
    fn run<R: Application>(role: &R, setting: &Rc<Setting>, bytes: &[u8]);
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
    fn visit<R: Application>(self, role: &R, bytes: &[u8]) {
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

/// What a call of the transport returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It moved this number of bytes, at least one.
    Moved(usize),
    /// `Ok(0)`.
    Nothing,
    /// Not now.
    Blocks,
    /// An error, one of several.
    Fails(u8),
}

/// A call of the code under test, with its answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Call<E> {
    /// A read into this number of bytes, the answer, and the bytes that were read.
    Read(usize, Answer, Vec<u8>),
    /// A write of these bytes.
    Write(Vec<u8>, Answer),
    /// A flush.
    Flush(Answer),
    /// A question whether a read would not wait.
    ReadReady(Answer),
    /// A question whether a write would not wait.
    WriteReady(Answer),
    /// A time limit for the next call, in ms if the machine waits for that.
    Limit(Option<u16>),
    /// A timer, and whether it fired.
    Timer(Option<u16>, bool),
    /// A question whether the handler is ready.
    Ready(bool),
    /// An event for the handler.
    Emitted(E),
    /// A request for a command, and whether the handler gave one.
    Command(bool),
    /// A request for payload in this number of bytes, and the number that the handler wrote.
    Payload(usize, usize),
}

/// The peer and the transport to it: answers calls, and records them.
#[derive(Debug)]
pub struct Peer<E> {
    choices: Choices,
    most: usize,
    input: VecDeque<u8>,
    end: Answer,
    calls: VecDeque<Call<E>>,
}

impl<E> Peer<E> {
    /// A peer that sends these bytes.
    pub fn new(setting: &Setting, bytes: &[u8]) -> Self {
        Self {
            choices: setting.choices.clone(),
            most: setting.most,
            input: bytes.iter().copied().collect(),
            end: setting.end(),
            calls: VecDeque::new(),
        }
    }

    /// Records a call that is no call of the transport.
    pub fn record(&mut self, call: Call<E>) {
        self.calls.push_back(call);
    }

    /// Takes the oldest call that the model has not performed.
    pub fn take(&mut self) -> Option<Call<E>> {
        self.calls.pop_front()
    }

    /// Puts back a call that was taken.
    pub fn put_back(&mut self, call: Call<E>) {
        self.calls.push_front(call);
    }

    /// Whether the model has performed every call.
    pub fn is_settled(&self) -> bool {
        self.calls.is_empty()
    }

    /// Answers a read.
    pub fn read(&mut self, space: &mut [u8]) -> Answer {
        assert!(
            !space.is_empty(),
            "a read into an empty buffer returns 0, which looks like the end"
        );
        let n = space.len().min(self.input.len());
        let answer = if n == 0 { self.end } else { self.answer(n) };
        let mut bytes = vec![];
        if let Answer::Moved(n) = answer {
            bytes.extend(self.input.drain(..n));
            space[..n].copy_from_slice(&bytes);
        }
        self.record(Call::Read(space.len(), answer, bytes));
        answer
    }

    /// Answers a write.
    pub fn write(&mut self, bytes: &[u8]) -> Answer {
        assert!(!bytes.is_empty(), "an empty write is useless");
        let answer = self.answer(bytes.len());
        self.record(Call::Write(bytes.to_vec(), answer));
        answer
    }

    /// Answers a flush.
    pub fn flush(&mut self) -> Answer {
        let answer = self.answer(0);
        self.record(Call::Flush(answer));
        answer
    }

    /// Answers whether a read would not wait.
    pub fn read_ready(&mut self) -> Answer {
        let never = self.input.is_empty() && self.end == Answer::Blocks;
        let answer = if never { Answer::Blocks } else { self.answer(0) };
        self.record(Call::ReadReady(answer));
        answer
    }

    /// Answers whether a write would not wait.
    pub fn write_ready(&mut self) -> Answer {
        let answer = self.answer(0);
        self.record(Call::WriteReady(answer));
        answer
    }

    /// Chooses the answer to a call that could move `n` bytes.
    fn answer(&self, n: usize) -> Answer {
        let choice = self.choices.next();
        match choice & 15 {
            1 => Answer::Blocks,
            2 if choice >= 128 => Answer::Nothing,
            3 if choice >= 64 => Answer::Fails(choice >> 4),
            4.. => Answer::Moved(n.min(self.most).min(1 + usize::from(choice >> 4))),
            _ => Answer::Moved(n.min(self.most)),
        }
    }
}
