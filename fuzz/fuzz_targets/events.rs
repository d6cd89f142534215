//! The events of every machine, and what an application makes of them.
//!
//! Invariant: an event shows bytes of the input that the machine was given and no others. Its view is the same
//! whatever stands behind that input, and the same when the input stands further back in a longer buffer. `map` keeps
//! it, and `to_owned::<N>` equals the view, or fails exactly if one of its parts is longer than `N` bytes.
//!
//! Covers every role of the table, fed with bytes in pieces; for `N`: 0, 1, 8, 64 and 1024. The first byte is the
//! number of the role, the second its flag, the third the length of a piece (0: all there is), then come the
//! choices of the role and what the peer sends.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::{Corpus, fuzz_target};
use socklab_core::machine::{
    Action, EventView, Input, Machine, Need, Spans, StreamEnd, StreamState,
};
use socklab_core::{add, chat, coin, echo, file, for_each_role, guess, hello, math, rps};
use socklab_tests::draw::Draw;
use socklab_tests::role::{self, Application};

/// Number of steps that is enough for any input.
const STEPS: usize = 100_000;

/// An event that can leave the buffer.
trait Owned: Copy + Debug {
    /// Copies the event's parts into vectors of at most `N` bytes, and returns it with the parts as slices would
    /// show them. `None` if one does not fit.
    fn owned<const N: usize>(self) -> Option<String>;

    /// Returns the lengths of its parts.
    fn lengths(self) -> Vec<usize>;
}

macro_rules! with_bytes {
    ($($event:ty),* $(,)?) => {
        $(impl Owned for $event {
            fn owned<const N: usize>(self) -> Option<String> {
                let owned = Self::to_owned::<N>(self).ok()?;
                Some(format!("{:?}", owned.map(|bytes| bytes.to_vec())))
            }

            fn lengths(self) -> Vec<usize> {
                let mut lengths = vec![];
                let _ = self.map(|bytes| lengths.push(bytes.len()));
                lengths
            }
        })*
    };
}

macro_rules! without_bytes {
    ($($event:ty),* $(,)?) => {
        $(impl Owned for $event {
            fn owned<const N: usize>(self) -> Option<String> {
                Some(format!("{self:?}"))
            }

            fn lengths(self) -> Vec<usize> {
                vec![]
            }
        })*
    };
}

with_bytes!(
    add::client::Event<&[u8]>,
    add::server::Event<&[u8]>,
    chat::Event<&[u8]>,
    coin::client::Event<&[u8]>,
    echo::client::Event<&[u8]>,
    file::client::Event<&[u8]>,
    file::server::Event<&[u8]>,
    guess::client::Event<&[u8]>,
    hello::client::Event<&[u8]>,
    hello::server::Event<&[u8]>,
    rps::client::Event<&[u8]>,
);
without_bytes!(
    coin::server::Event,
    echo::server::Event,
    guess::server::Event,
    math::client::Event,
    math::server::Event,
    rps::server::Event,
);

fn check<R: Application>(event: <R::Machine as Machine>::Event, bytes: &[u8])
where
    for<'i> EventView<'i, R::Machine>: Owned,
{
    let view = event.view(bytes);
    let own = R::own(view);
    let behind = [bytes, &[0xa5; 128]].concat();
    assert_eq!(own, R::own(event.view(&behind)), "{event:?} shows bytes behind the input");
    let before = [&[0x5a; 77], bytes].concat();
    assert_eq!(
        own,
        R::own(event.shift(77).view(&before)),
        "{event:?} shows other bytes when shifted"
    );
    let longest = view.lengths().into_iter().max().unwrap_or_default();
    let expected = format!("{view:?}");
    for (size, owned) in [
        (0, view.owned::<0>()),
        (1, view.owned::<1>()),
        (8, view.owned::<8>()),
        (64, view.owned::<64>()),
        (1024, view.owned::<1024>()),
    ] {
        assert_eq!(owned.is_some(), longest <= size, "{view:?} in {size} bytes");
        assert!(
            owned.is_none_or(|owned| owned == expected),
            "{view:?} is another event when owned"
        );
    }
}

fn feed<R: Application>(role: &R, bytes: &[u8], piece: usize)
where
    for<'i> EventView<'i, R::Machine>: Owned,
{
    let (mut role, mut machine) = (role.clone(), role.machine());
    let mut output = vec![0; R::Machine::MIN_OUTPUT.max(2048)];
    let (mut start, mut end, mut state) = (0, 0, StreamState::Open);
    for _ in 0..STEPS {
        let input = Input { bytes: &bytes[start..end], state };
        let Ok(step) = machine.step(input, &mut output) else { return };
        start += step.consumed;
        let speaks = match step.action {
            Action::Event(event) => {
                check::<R>(event, input.bytes);
                role.emitted(&R::own(event.view(input.bytes)));
                continue;
            }
            Action::Continue | Action::Boundary | Action::Need(Need::OutputSpace) => continue,
            Action::Close | Action::Abort => return,
            Action::Need(Need::Command | Need::InputOrCommand) => true,
            Action::Need(_) => false,
        };
        if speaks && machine.outbound_remaining() > 0 {
            let n = u64::try_from(role.payload().len()).unwrap_or(u64::MAX);
            let n = n.min(machine.outbound_remaining());
            if n > 0 && machine.advance_outbound(n).is_ok() {
                role.advance_outbound(usize::try_from(n).unwrap_or(usize::MAX));
                continue;
            }
        }
        if speaks && let Some(command) = role.command() {
            if machine.command(command, &mut output).is_err() {
                return;
            }
            role.given();
            continue;
        }
        let is_idle = matches!(step.action, Action::Need(Need::InputOrIdle(_)));
        match state {
            StreamState::Ended(_) => return,
            _ if end < bytes.len() => {
                end = bytes.len().min(end.saturating_add(piece));
                state = StreamState::Open;
            }
            StreamState::Open if is_idle => state = StreamState::Idle,
            _ => state = StreamState::Ended(StreamEnd::Closed),
        }
    }
    panic!("the machine does not come to an end");
}

macro_rules! roles {
    ($($side:tt $number:literal $module:ident $role:ident,)*) => {
        fn run(number: u8, draw: &mut Draw<'_>, flag: bool, piece: usize) -> bool {
            match number {
                $($number => {
                    let role = role::$module::$role(draw, flag);
                    feed(&role, draw.rest(), piece);
                })*
                _ => return false,
            }
            true
        }
    };
}

for_each_role!(roles);

fuzz_target!(|data: &[u8]| -> Corpus {
    let mut draw = Draw::new(data);
    let [number, flag, piece] = [(); 3].map(|()| draw.byte());
    let piece = if piece == 0 { usize::MAX } else { piece.into() };
    if run(number, &mut draw, flag & 1 != 0, piece) { Corpus::Keep } else { Corpus::Reject }
});
