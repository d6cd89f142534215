//! The application of a machine: what gives it commands and receives its events.

use std::fmt::{self, Debug};
use std::rc::Rc;

use socklab_core::machine::{EventView, Machine};

/// A command of the machine of an application.
pub type Command<'c, A> = <<A as Application>::Machine as Machine>::Command<'c>;

/// The program around a machine. It gives the commands, and learns only from the events what
/// happened, so a run depends only on the bytes that the peer sends.
///
/// Most machines need no implementation of their own:
///
/// | your machine | the application |
/// |---|---|
/// | needs no command | a function that creates it, such as `Server::default` |
/// | asks for each command with `Need::Command` | [`in_turn`] with the list of commands |
/// | accepts commands at any time | [`at_once`] with the list of commands |
/// | emits a long message in pieces, moves payload past itself, or gets commands that depend on its events | an implementation of this trait |
///
/// An implementation consists of the two types, [`machine`](Self::machine) and [`own`](Self::own).
/// Everything else has a default: add what the machine has.
///
/// | if the machine | implement |
/// |---|---|
/// | has commands | [`command`](Self::command) and [`given`](Self::given), and [`TAKES_TURNS`](Self::TAKES_TURNS) if it asks for them |
/// | emits a message in pieces | [`append`](Self::append) |
/// | has commands that depend on events | [`emitted`](Self::emitted) |
/// | has outbound payload | [`payload`](Self::payload) and [`advance_outbound`](Self::advance_outbound) |
/// | has inbound payload | [`advance_inbound`](Self::advance_inbound) |
///
/// Here the client of a protocol asks for its file in one line and gets the file in pieces:
///
/// ```
/// # use socklab_core::file::{client, Client, Form, Request};
/// # use socklab_core::machine::EventView;
/// use socklab_laws::{Application, Command, check};
///
/// #[derive(Clone, Default)]
/// struct Fetch { has_asked: bool }
///
/// #[derive(Clone, Debug, PartialEq)]
/// enum Event { Body(Vec<u8>), Other(String) }
///
/// impl Application for Fetch {
///     type Machine = Client;
///     type Event = Event;
///
///     fn machine(&self) -> Client {
///         Client::new()
///     }
///
///     fn own(event: EventView<'_, Client>) -> Event {
///         match event {
///             client::Event::Body(piece) => Event::Body(piece.to_vec()),
///             other => Event::Other(format!("{other:?}")),
///         }
///     }
///
///     // How many pieces there are depends on the reads, so they are compared as one.
///     fn append(last: &mut Event, next: &Event) -> bool {
///         let (Event::Body(last), Event::Body(next)) = (last, next) else { return false };
///         last.extend_from_slice(next);
///         true
///     }
///
///     fn command(&self) -> Option<Command<'_, Self>> {
///         let request = Request { name: &b"notes"[..], form: Form::Plain };
///         (!self.has_asked).then_some(client::Command::FetchLine(request))
///     }
///
///     fn given(&mut self) {
///         self.has_asked = true;
///     }
/// }
///
/// let transcript = check(Fetch::default(), b"some bytes").unwrap();
/// assert_eq!(transcript.events()[0], Event::Body(b"some bytes".to_vec()));
/// ```
pub trait Application: Clone {
    /// The machine.
    type Machine: Machine + PartialEq + Debug;
    /// The machine's event in a form that owns its bytes.
    type Event: Clone + PartialEq + Debug;

    /// Whether the application gives commands only when the machine asks with `Need::Command`.
    /// Otherwise it gives them at the start and after each event.
    ///
    /// With turns, a reset or a timeout races with the command: the machine may end the session at
    /// once, or let the application have its turn first. Everything before that point must still be
    /// the same.
    const TAKES_TURNS: bool = false;

    /// Whether an orderly close ends the application's turn as a reset does. This holds for
    /// protocols that cannot continue once the peer has closed its sending side.
    const CLOSE_ENDS_TURN: bool = false;

    /// Whether the machine may ask for
    /// [`Need::InputOrIdle`](socklab_core::machine::Need::InputOrIdle). The kit does not need it. It
    /// is for tests of transports, where the first read that times out is then reported as idle, and
    /// the second as the end.
    const WAITS_FOR_IDLE: bool = false;

    /// Creates the machine in its initial state.
    fn machine(&self) -> Self::Machine;

    /// Converts an event into one that owns its bytes.
    fn own(event: EventView<'_, Self::Machine>) -> Self::Event;

    /// Appends `next` to `last` and returns `true` if both are pieces of one message.
    fn append(last: &mut Self::Event, next: &Self::Event) -> bool {
        let _ = (last, next);
        false
    }

    /// Called for each event, before its pieces are joined.
    fn emitted(&mut self, event: &Self::Event) {
        let _ = event;
    }

    /// Returns the next command of the application. It stays the same until the machine has accepted
    /// it.
    fn command(&self) -> Option<Command<'_, Self>> {
        None
    }

    /// Called when the machine has accepted the [`command`](Self::command).
    fn given(&mut self) {}

    /// Called when the command does not fit in an empty output buffer of at least
    /// [`MIN_OUTPUT`](Machine::MIN_OUTPUT) bytes, as one with payload may not. Returns whether it can
    /// be given in a smaller form.
    fn split(&mut self) -> bool {
        false
    }

    /// Returns the outbound payload that is not sent yet.
    fn payload(&self) -> &[u8] {
        &[]
    }

    /// Called when `n` bytes of the payload have been sent.
    fn advance_outbound(&mut self, n: usize) {
        let _ = n;
    }

    /// Returns the event for inbound payload that did not pass through the machine. `None` leaves the
    /// payload to the machine.
    fn advance_inbound(bytes: &[u8], last: bool) -> Option<Self::Event> {
        let _ = (bytes, last);
        None
    }

    /// Returns a command that must be refused after the end. Without one, the last accepted command
    /// is given again.
    fn probe() -> Option<Command<'static, Self>> {
        None
    }
}

/// The `Debug` text of an event, which can be compared with a string.
///
/// Two events with the same text count as the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shown(String);

impl Shown {
    /// Returns the text of an event.
    fn of(event: impl Debug) -> Self {
        Self(format!("{event:?}"))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<&str> for Shown {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// A function that creates a machine is an application that gives no commands.
impl<F, M> Application for F
where
    F: Fn() -> M + Clone,
    M: Machine + PartialEq + Debug,
{
    type Machine = M;
    type Event = Shown;

    fn machine(&self) -> M {
        self()
    }

    fn own(event: EventView<'_, M>) -> Shown {
        Shown::of(event)
    }
}

type CommandAt<'f, M> = dyn for<'c> Fn(&'c usize) -> Option<<M as Machine>::Command<'c>> + 'f;

/// An application that gives a list of commands. See [`in_turn`] and [`at_once`].
pub struct Commands<'f, M: Machine, const TAKES_TURNS: bool> {
    machine: Rc<dyn Fn() -> M + 'f>,
    command_at: Rc<CommandAt<'f, M>>,
    at: usize,
}

impl<M: Machine, const TAKES_TURNS: bool> Clone for Commands<'_, M, TAKES_TURNS> {
    fn clone(&self) -> Self {
        let (machine, command_at) = (Rc::clone(&self.machine), Rc::clone(&self.command_at));
        Self { machine, command_at, at: self.at }
    }
}

impl<M: Machine, const TAKES_TURNS: bool> fmt::Debug for Commands<'_, M, TAKES_TURNS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").field("at", &self.at).finish_non_exhaustive()
    }
}

/// Creates an application that gives a command whenever the machine asks with `Need::Command`.
///
/// `command_at` returns the command with this index, counted from 0, and `None` after the last.
///
/// ```
/// use socklab_core::math::{Question, Server, server::Command::Ask};
/// use socklab_laws::{check, in_turn};
///
/// let questions = [(1, 2), (3, 4)].map(|(a, b)| Ask(Question { a, b }));
/// let server = in_turn(Server::new, |at| questions.get(*at).copied());
/// let transcript = check(server, &[0, 0, 0, 3, 0, 0, 0, 7]).unwrap();
/// assert_eq!(transcript.events(), ["Right { answer: 3 }", "Right { answer: 7 }"]);
/// ```
pub fn in_turn<'f, M: Machine>(
    machine: impl Fn() -> M + 'f,
    command_at: impl for<'c> Fn(&'c usize) -> Option<M::Command<'c>> + 'f,
) -> Commands<'f, M, true> {
    Commands { machine: Rc::new(machine), command_at: Rc::new(command_at), at: 0 }
}

/// Creates an application that gives all its commands at the start. Otherwise like [`in_turn`].
pub fn at_once<'f, M: Machine>(
    machine: impl Fn() -> M + 'f,
    command_at: impl for<'c> Fn(&'c usize) -> Option<M::Command<'c>> + 'f,
) -> Commands<'f, M, false> {
    Commands { machine: Rc::new(machine), command_at: Rc::new(command_at), at: 0 }
}

impl<M, const TAKES_TURNS: bool> Application for Commands<'_, M, TAKES_TURNS>
where
    M: Machine + PartialEq + Debug,
{
    type Machine = M;
    type Event = Shown;
    const TAKES_TURNS: bool = TAKES_TURNS;
    // With a list of commands it is not known what the protocol does after a close, and both are
    // lawful.
    const CLOSE_ENDS_TURN: bool = TAKES_TURNS;

    fn machine(&self) -> M {
        (self.machine)()
    }

    fn own(event: EventView<'_, M>) -> Shown {
        Shown::of(event)
    }

    fn command(&self) -> Option<M::Command<'_>> {
        (self.command_at)(&self.at)
    }

    fn given(&mut self) {
        self.at += 1;
    }
}
