//! A million sessions in simulation: the engine of the servers over a simulated network and clock.
//!
//! A *world* is one server with its clients. Everything in it comes from one number: the protocol, the limits, the
//! network's delays and buffers, what the clients do, what the system refuses, and when the server is stopped. So a
//! world that violates an invariant is repeated exactly, with a trace.
//!
//! What is simulated: reads and writes of a part of the bytes; readiness as edges (Unix) or as mio has it on Windows;
//! events without a cause, in any order, in parts; calls that are interrupted or refused; resets and ends in each state,
//! also before the accept; a lack of descriptors or memory; clients that are slow, fall silent, stop reading, vanish, err
//! or leave; a machine that is busy; a clock that jumps (a laptop that slept); a stop at any moment, and a second one.
//!
//! What must hold:
//! - Each session that was opened is reported exactly once, and none that was not.
//! - A client that follows the protocol gets every byte of its replies and the end, and its session is reported as done.
//!   A session is reported as done only if everything has arrived.
//! - A time-out comes neither before its limit nor much later, and only if there is a limit.
//! - A message after a boundary is a write of its own, after the pause, and after the client has read the one before.
//! - No more clients than the limit are served, and none waits while there is room.
//! - At the end no socket is open and nothing is stored, and without connections no timer wakes the engine.
//! - A socket is closed with unread input, which resets the connection, only after the time for the client's end. One that is
//!   closed before the last bytes or within payload is reset.
//! - A reset is not taken for an orderly end. A client whose header is under way is refused only after the limit.
//! - The notice about an incomplete message is given once.
//! - The engine does not panic.
//! - The engine is never busy without a cause, and a stop ends it within the grace period.

mod clients;
mod script;
mod sockets;
mod world;

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use socklab::net::{self, Ended, Limits, PayloadWriter, Server, ServerControl, Service, Work};
use socklab::{echo, hello, math};
use socklab_core::machine::{EventView, Machine};

pub use self::clients::Protocol;
use self::clients::{ROUNDS, SECRET};
use self::script::Scripts;
use self::sockets::{Simulated, SimulatedListener, server};
use self::world::{S, World};
use crate::rng::Rng;

/// Number of clients of a world.
pub const WORLD: usize = 500;

/// When a server is stopped.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// When nothing more will happen.
    AtTheEnd,
    /// At this time in microseconds.
    Once(u64),
    /// At this time, and again after another time.
    Twice(u64, u64),
}

/// What is constant in a world.
#[derive(Clone, Debug)]
struct Plan {
    protocol: Protocol,
    /// Whether events are edges.
    edge: bool,
    /// Whether the system reports what the clients have acknowledged and read.
    reports: bool,
    limits: Limits,
    /// Limits of the time between the two ends, in microseconds.
    latency: (usize, usize),
    /// Largest time between two clients in microseconds.
    arrivals: usize,
    /// Frequency in percent of the faults of the system.
    faults: usize,
    /// Whether the clock may jump.
    jumps: bool,
    /// Time of the clock at the start in microseconds.
    clock: u64,
    /// Number of connections that the system can have open.
    descriptors: usize,
    stop: Stop,
    /// Number of clients after which a server of greetings ends.
    count: u32,
}

impl Plan {
    fn draw(rng: &mut Rng, sessions: usize) -> Self {
        let protocol = match rng.below(100) {
            0..40 => Protocol::Script,
            40..60 => Protocol::ScriptWithResets,
            60..75 => Protocol::Math,
            75..92 => Protocol::Echo,
            _ => Protocol::Hello,
        };
        let edge = rng.percent(70);
        let arrivals = 10_usize.pow(rng.within(0, 6).try_into().unwrap_or(2));
        let limits = Limits {
            proxy_header: rng
                .percent(if protocol == Protocol::Echo { 50 } else { 15 })
                .then(|| Duration::from_millis(rng.within(500, 5000) as u64)),
            idle: rng.percent(85).then(|| Duration::from_millis(rng.within(2_000, 60_000) as u64)),
            clients: if rng.percent(30) { rng.within(1, 20) } else { rng.within(20, 2000) },
            grace: Duration::from_millis(rng.within(0, 8_000) as u64),
            pace: match rng.below(4) {
                0 => Duration::ZERO,
                1 => Duration::from_micros(rng.within(1, 2000) as u64),
                _ => Duration::from_millis(rng.within(1, 200) as u64),
            },
        };
        // About the time in which all clients come.
        let whole = arrivals * sessions / 20 + 1000;
        let at = rng.below(whole * 2) as u64;
        // A stop while headers are under way is rare otherwise.
        let at_the_end = if limits.proxy_header.is_some() { 30 } else { 65 };
        let stop = match rng.below(100) {
            n if n < at_the_end => Stop::AtTheEnd,
            0..85 => Stop::Once(at),
            _ => Stop::Twice(at, rng.below(4_000_000) as u64),
        };
        Self {
            protocol,
            edge,
            reports: edge && rng.percent(75),
            latency: if rng.percent(50) { (10, 200) } else { (10, 60_000) },
            arrivals,
            faults: if rng.percent(40) { 0 } else { rng.within(1, 60) },
            jumps: rng.percent(10),
            // Some engines count 2^32 ms in their first minute.
            clock: if rng.percent(80) {
                0
            } else {
                (1 << 32) * 1000 - rng.within(1, 60_000_000) as u64
            },
            descriptors: if rng.percent(20) { rng.within(1, 50) } else { 100_000 },
            stop,
            count: u32::try_from(rng.within(1, sessions + sessions / 4)).unwrap_or(u32::MAX),
            limits,
        }
    }
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Done,
    Undelivered,
    TimedOut,
    Failed,
    Stopped,
    Internal(String),
}

/// Report of a session.
#[derive(Clone, Debug)]
struct Ending {
    peer: SocketAddr,
    kind: Kind,
}

impl Ending {
    fn new<E: fmt::Debug>(peer: SocketAddr, ended: &Ended<E>) -> Self {
        let kind = match ended {
            Ended::Done => Kind::Done,
            Ended::Undelivered => Kind::Undelivered,
            Ended::Failed(e, _) if format!("{e:?}").contains("TimedOut") => Kind::TimedOut,
            Ended::Failed(..) => Kind::Failed,
            Ended::Stopped => Kind::Stopped,
            other => Kind::Internal(format!("{other:?}")),
        };
        Self { peer, kind }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.peer, self.kind)
    }
}

/// Numbers of one or more worlds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Clients that have connected.
    pub sessions: u64,
    /// Clients that came after the server had stopped.
    pub refused: u64,
    /// Clients whose connection the system could not register.
    pub unregistered: u64,
    /// Sessions that were opened.
    pub opened: u64,
    /// Sessions that ended as the protocol specifies.
    pub done: u64,
    /// Sessions whose last bytes did not arrive.
    pub undelivered: u64,
    /// Sessions that timed out.
    pub timed_out: u64,
    /// Sessions that failed in another way.
    pub failed: u64,
    /// Sessions that ended with the server.
    pub stopped: u64,
    /// Simulated time in microseconds.
    pub time: u64,
}

impl Summary {
    fn count(&mut self, kind: &Kind) {
        *match kind {
            Kind::Done => &mut self.done,
            Kind::Undelivered => &mut self.undelivered,
            Kind::TimedOut => &mut self.timed_out,
            Kind::Failed | Kind::Internal(_) => &mut self.failed,
            Kind::Stopped => &mut self.stopped,
        } += 1;
    }
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.refused += other.refused;
        self.unregistered += other.unregistered;
        self.opened += other.opened;
        self.done += other.done;
        self.undelivered += other.undelivered;
        self.timed_out += other.timed_out;
        self.failed += other.failed;
        self.stopped += other.stopped;
        self.time += other.time;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, refused, unregistered, opened, done, .. } = self;
        let Self { undelivered, timed_out, failed, stopped, time, .. } = self;
        write!(
            f,
            "{sessions} clients, {opened} sessions opened and reported: {done} done, {undelivered} undelivered, \
             {timed_out} timed out, {failed} failed, {stopped} stopped; {unregistered} not registered, {refused} \
             refused; {:.1} simulated hours",
            *time as f64 / (3600 * S) as f64
        )
    }
}

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Seed and number of the world.
    pub seed: u64,
    /// Number of the world.
    pub world: u64,
    /// Connection that it concerns.
    pub connection: Option<usize>,
    /// What is wrong.
    pub text: String,
    /// Constants of the world.
    pub plan: String,
    /// What happened before, if the world was traced.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, world, connection, text, plan, .. } = self;
        write!(f, "seed {seed}, world {world}")?;
        if let Some(connection) = connection {
            write!(f, ", connection {connection}")?;
        }
        write!(f, ": {text}\n{plan}")
    }
}

/// A service whose reports are those that the simulation checks.
struct Watched<S>(S);

impl<V: Service> Service for Watched<V> {
    type Machine = V::Machine;
    type State = V::State;
    type Report = Ending;

    const SCRATCH: usize = V::SCRATCH;
    const RESETS: bool = V::RESETS;

    fn open(&mut self) -> (V::Machine, V::State) {
        self.0.open()
    }

    fn event(&mut self, state: &mut V::State, event: EventView<'_, V::Machine>) {
        self.0.event(state, event);
    }

    fn command(&mut self, state: &mut V::State) -> Option<<V::Machine as Machine>::Command<'_>> {
        self.0.command(state)
    }

    fn control(&self) -> ServerControl {
        self.0.control()
    }

    fn work(&mut self, state: &mut V::State, writer: &mut PayloadWriter<'_>) -> Work {
        self.0.work(state, writer)
    }

    fn finish(&mut self) -> Option<<V::Machine as Machine>::Command<'_>> {
        self.0.finish()
    }

    fn closed(
        &mut self,
        peer: SocketAddr,
        machine: &V::Machine,
        state: &mut V::State,
        ended: Ended<<V::Machine as Machine>::Error>,
    ) -> Ending {
        let ending = Ending::new(peer, &ended);
        let _ = self.0.closed(peer, machine, state, ended);
        ending
    }
}

/// Runs a server in a world until it ends.
fn serve<const EDGE: bool, V: Service<Report = Ending>>(world: &Rc<RefCell<World>>, service: V) {
    let woken = Arc::clone(&world.borrow().woken);
    let endings = Arc::clone(&world.borrow().endings);
    let notices = Arc::clone(&world.borrow().notices);
    let limits = world.borrow().plan.limits;
    let waker = Arc::new(move || woken.store(true, Ordering::Release));
    let system = Simulated::<EDGE>(Rc::clone(world));
    let listener = SimulatedListener(Rc::clone(world));
    let server = Server::over(system, listener, server(), waker, service)
        .limits(limits)
        .on_report(move |ending| {
            endings.lock().unwrap_or_else(PoisonError::into_inner).push(ending);
        })
        .on_notice(move |notice: net::Notice| {
            notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice.peer);
        });
    world.borrow_mut().stopper = Some(server.stopper());
    let ended = panic::catch_unwind(AssertUnwindSafe(|| server.run_and_count()));
    let mut world = world.borrow_mut();
    let Ok(ended) = ended else { return world.fail(None, "the engine panicked") };
    match ended {
        Ok(0) => {}
        Ok(left) => {
            world.fail(None, format_args!("{left} entries or bytes of ended connections are left"));
        }
        Err(e) => world.fail(None, format_args!("the engine ended: {e}")),
    }
}

/// Runs one world with this number of clients. `traced`: its trace is kept, of all connections or of one.
///
/// # Errors
///
/// [`Violation`].
pub fn run(
    seed: u64,
    number: u64,
    sessions: usize,
    traced: Option<Option<usize>>,
) -> Result<Summary, Box<Violation>> {
    let mut rng = Rng::new(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17));
    let plan = Plan::draw(&mut rng, sessions);
    let (text, protocol, edge, count) = (format!("{plan:?}"), plan.protocol, plan.edge, plan.count);
    let question_seed = rng.bits();
    let world = Rc::new(RefCell::new(World::new(plan, rng, sessions, traced)));
    let sleepers = Arc::clone(&world.borrow().sleepers);
    macro_rules! serve {
        ($service:expr) => {
            if edge {
                serve::<true, _>(&world, $service)
            } else {
                serve::<false, _>(&world, $service)
            }
        };
    }
    match protocol {
        Protocol::Script => serve!(Scripts::<false>::new(sleepers).expect("a temporary file")),
        Protocol::ScriptWithResets => {
            serve!(Scripts::<true>::new(sleepers).expect("a temporary file"));
        }
        Protocol::Math => {
            let options = math::Options {
                rounds: (ROUNDS, ROUNDS),
                secret: Some(SECRET),
                seed: Some(question_seed),
                full_range: false,
            };
            serve!(Watched(math::Service::new(options)));
        }
        Protocol::Echo => serve!(Watched(echo::Service::new())),
        Protocol::Hello => {
            let options = hello::Options { both: false, split: 0, count: Some(count) };
            serve!(Watched(hello::Service::new(options)));
        }
    }
    let mut world = world.borrow_mut();
    world.finish();
    match world.violation.take() {
        None => Ok(world.summary),
        Some((connection, text_of)) => Err(Box::new(Violation {
            seed,
            world: number,
            connection,
            text: text_of,
            plan: text,
            trace: std::mem::take(&mut world.trace),
        })),
    }
}

/// Runs a world again with the trace of the connection of a violation.
#[must_use]
pub fn replay(violation: &Violation, sessions: usize) -> Vec<String> {
    match run(violation.seed, violation.world, sessions, Some(violation.connection)) {
        Err(again) => again.trace,
        Ok(_) => vec!["the world holds every invariant now: it is not deterministic".into()],
    }
}
