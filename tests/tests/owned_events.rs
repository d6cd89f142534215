//! Owned events: for every machine of the table, each event of its scripts becomes an owned event
//! that equals it, fits exactly when it should, and outlives the buffer.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::mpsc;
use std::thread;

use socklab_core::machine::{
    Action, Input, Machine, Need, OwnedEvent, Span, Spans as _, Step, StreamEnd, StreamState,
};
use socklab_tests::role::{self, Application};
use socklab_tests::samples::Scripts;

/// Size in bytes that is enough for every text and buffer of a script.
const ENOUGH: usize = 4096;

/// Owned event of a role with enough space.
type Owned<R> = <<<R as Application>::Machine as Machine>::Event as OwnedEvent>::Owned<ENOUGH>;

/// Returns the length of the longest text of an event, from its spans.
fn longest_text(event: &impl Debug) -> usize {
    let event = format!("{event:?}");
    let lengths = event.split(" len: ").skip(1).map(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits.unwrap_or_default().parse().expect("a length is decimal")
    });
    lengths.max().unwrap_or(0)
}

/// Checks that the event fits into `N` bytes exactly when its longest text does, and that it then
/// equals its view.
fn check_size<E: OwnedEvent, const N: usize>(event: E, bytes: &[u8]) {
    let view = event.view(bytes);
    let fits = longest_text(&event) <= N;
    let owned = E::owned::<N>(view).ok().map(|owned| format!("{owned:?}"));
    assert_eq!(owned, fits.then(|| format!("{view:?}")), "{N} bytes");
}

macro_rules! check_sizes {
    ($event:expr, $bytes:expr, $($size:literal)*) => {
        $(check_size::<_, $size>($event, $bytes);)*
    };
}

/// Number of events of each machine.
#[derive(Default)]
struct Owning(BTreeMap<&'static str, usize>);

impl Scripts for Owning {
    fn script<R>(&mut self, role: &R, bytes: &[u8], _: [usize; 2])
    where
        R: Application<Machine: Machine<Event: OwnedEvent>>,
    {
        let (sender, receiver) = mpsc::channel::<Owned<R>>();
        let receiver = thread::spawn(move || {
            receiver.into_iter().map(|event| format!("{event:?}")).collect::<Vec<_>>()
        });
        let mut sent = Vec::new();
        run(role, bytes, |event, bytes| {
            check_sizes!(event, bytes, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 23 24 64 1024);
            let mut buffer = bytes.to_vec();
            let owned = <R::Machine as Machine>::Event::owned::<ENOUGH>(event.view(&buffer));
            sender.send(owned.expect("it fits")).expect("the receiver runs");
            buffer.fill(b'?');
            sent.push(format!("{:?}", event.view(bytes)));
        });
        drop(sender);
        assert_eq!(receiver.join().expect("the receiver does not fail"), sent);
        *self.0.entry(std::any::type_name::<R::Machine>()).or_default() += sent.len();
    }
}

/// Runs a script: all bytes arrive at once, then the stream ends. Calls `on_event` with each event and
/// the bytes that it refers to.
fn run<R: Application>(
    role: &R,
    bytes: &[u8],
    mut on_event: impl FnMut(<R::Machine as Machine>::Event, &[u8]),
) {
    let (mut role, mut machine, mut output) = (role.clone(), role.machine(), vec![0; ENOUGH]);
    let mut input = Input::open(bytes);
    if !R::TAKES_TURNS {
        while give_command(&mut role, &mut machine, &mut output) {}
    }
    while let Ok(Step { consumed, action, .. }) = machine.step(input, &mut output) {
        let before = input.bytes;
        input.bytes = &before[consumed..];
        match action {
            Action::Event(event) => {
                role.emitted(&R::own(event.view(before)));
                on_event(event, before);
                if !R::TAKES_TURNS {
                    while give_command(&mut role, &mut machine, &mut output) {}
                }
            }
            Action::Continue | Action::Boundary => {}
            Action::Need(Need::Command) if give_command(&mut role, &mut machine, &mut output) => {}
            Action::Need(_) if input.state == StreamState::Open => {
                input.state = StreamState::Ended(StreamEnd::Closed);
            }
            Action::Need(_) | Action::Close | Action::Abort => return,
        }
    }
}

/// Gives the next command of the application and its payload. Returns whether there was one.
fn give_command<R: Application>(role: &mut R, machine: &mut R::Machine, output: &mut [u8]) -> bool {
    let Some(command) = role.command() else { return false };
    machine.command(command, output).expect("a command in turn");
    role.given();
    let length = role.payload().len();
    machine.advance_outbound(length as u64).expect("the payload was announced");
    if length > 0 {
        role.advance_outbound(length);
    }
    true
}

macro_rules! tests {
    ($($module:ident $name:ident {
        about: $about:tt,
        $(machines: [$($image:ident: $machine:ty),* $(,)?],)?
        $(datagrams: $datagrams:tt,)?
        clients: $clients:tt,
        $($rest:tt)*
    })*) => {
        $(
            #[test]
            fn $module() {
                let mut owning = Owning::default();
                role::$module::scripts(&mut owning);
                // The events of a machine over datagrams contain no bytes.
                let machines: &[&str] = &[$($(std::any::type_name::<$machine>()),*)?];
                for machine in machines {
                    let has_events = owning.0.get(machine).is_some_and(|events| *events > 0);
                    assert!(has_events, "no script of {machine} emits an event");
                }
            }
        )*
    };
}

mod owned_events_equal_their_views_and_outlive_the_buffer {
    use super::*;

    socklab_core::for_each_protocol!(tests);
}

#[test]
fn the_longest_text_is_that_of_the_spans() {
    assert_eq!(longest_text(&Span::new(3, 17)), 17);
    assert_eq!(longest_text(&[Span::new(3, 1), Span::new(9, 5)]), 5);
    assert_eq!(longest_text(&()), 0);
}
