//! A server with several threads: one engine in each.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::group::{Count, Group, Member, NewClient};
use super::rounds::Engine;
use super::slot::Wakeup;
use super::{Server, ServerControl, Service, Stopper, waker_of};
use crate::net::acceptor::Acceptor;
use crate::net::dial::reason;
use crate::net::listen::BindError;
use crate::net::stack::{Direction, Observer};
use crate::net::system::{Os, System};
use crate::sys::extra::net as system;

/// A service whose sessions do not depend on each other, so that several threads can serve them.
///
/// Each thread has an instance of its own. A service must not implement this if its sessions share a state that changes,
/// such as the players of a game or a person at the terminal.
pub trait ParallelService: Service<Machine: Send, State: Send> + Send {
    /// Returns an instance for another thread. What all sessions have in common must be the same, such as a secret that
    /// was drawn at random.
    fn fork(&self) -> Self;

    /// Returns the number of clients after which the server accepts no more, and ends when the last of them has left. `None`
    /// means no limit.
    ///
    /// With several threads this replaces a [`control`](Service::control) that counts sessions: an instance does not know
    /// those of the others.
    fn clients(&self) -> Option<u32> {
        None
    }
}

/// The further engines of a server with several threads.
pub(super) struct Threads<S: Service, N: System> {
    others: Vec<Engine<S, N>>,
    group: Arc<Group<N::Stream>>,
    clients: Option<u32>,
    has_one_listener: bool,
    /// A function pointer because only [`Server::bind_threads`] knows that the engines may be sent to other threads.
    run: Run<S, N>,
}

type Run<S, N> = fn(Threads<S, N>, &mut Engine<S, N>, SocketAddr, &Stopper) -> io::Result<()>;

impl<S: Service> Server<S> {
    /// Listens as [`bind`](Self::bind) does, and serves with this number of threads.
    ///
    /// Limits, observer, reports and notices are those of the whole server. The functions for reports and notices are called
    /// by one thread at a time. If one thread fails, the others close their sessions and end.
    ///
    /// On Linux each thread has a listener, between which the system distributes the clients (SO_REUSEPORT). On other
    /// systems, and if the service limits the [number of clients](ParallelService::clients), one thread accepts all. In
    /// both cases a thread with more clients than another hands new ones to it.
    ///
    /// # Errors
    ///
    /// [`BindError`]. Another server cannot share the port, even if it has several threads too.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use socklab::{math, net::Server};
    /// let quiz = math::Service::new(math::Options::default());
    /// let server = Server::bind_threads("127.0.0.1:8000", std::thread::available_parallelism()?, quiz)?;
    /// server.run()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind_threads(
        addrs: impl ToSocketAddrs + fmt::Debug,
        threads: NonZeroUsize,
        service: S,
    ) -> Result<Self, BindError>
    where
        S: ParallelService,
    {
        let mut server = Self::bind(addrs, service)?;
        if threads.get() == 1 {
            return Ok(server);
        }
        let failed = |e| BindError::new(&server.addr.to_string(), e);
        let service = &server.engine.service;
        let mut others = Vec::new();
        let mut wakers = vec![Arc::clone(&server.stopper.waker)];
        for _ in 1..threads.get() {
            let (system, waker) = Os::new().map_err(failed)?;
            let waker = waker_of(Arc::new(waker));
            others.push(Engine::new(system, None, Arc::clone(&waker), service.fork()));
            wakers.push(waker);
        }
        let group = Group::new(wakers);
        server.threads = Some(Threads {
            others,
            group: Arc::clone(&group),
            clients: service.clients(),
            has_one_listener: !system::SHARES_PORTS,
            run,
        });
        server.stopper.waker = Arc::new(move || group.wake_all());
        Ok(server)
    }

    /// Makes one thread accept all clients, as on systems other than Linux.
    // Hidden: for tests, which are in another crate.
    #[doc(hidden)]
    #[must_use]
    pub fn one_listener(mut self) -> Self {
        if let Some(threads) = &mut self.threads {
            threads.has_one_listener = true;
        }
        self
    }
}

impl<S: Service, N: System> Threads<S, N> {
    /// Serves with all engines until the last has ended.
    pub(super) fn run(
        self,
        first: &mut Engine<S, N>,
        addr: SocketAddr,
        stopper: &Stopper,
    ) -> io::Result<()> {
        (self.run)(self, first, addr, stopper)
    }

    /// Makes one server of the engines, of which `listening` accept clients.
    fn join(&mut self, first: &mut Engine<S, N>, listening: usize) {
        let Self { others, group, clients, .. } = self;
        let shares_port = listening > others.len();
        group.start(first.limits.clients, listening);
        let clients = clients.map(|count| Arc::new(AtomicU32::new(count)));
        first.member = Some(Member::new(Arc::clone(group), 0, shares_port, clients.clone(), true));

        let (limits, count) = (first.limits, others.len() + 1);
        let observer = first.observer.take().map(|observer| Arc::new(Mutex::new(observer)));
        let shared = |index| {
            let observer = observer.clone()?;
            Some(Box::new(SharedObserver { observer, index, count }) as Box<dyn Observer>)
        };
        first.observer = shared(0);
        let report = Arc::new(Mutex::new(std::mem::replace(&mut first.report, Box::new(drop))));
        let notice = Arc::new(Mutex::new(std::mem::replace(&mut first.notice, Box::new(drop))));
        let logged = Arc::default();
        first.acceptor.share_log(Arc::clone(&logged));
        for (engine, index) in others.iter_mut().zip(1..) {
            let listens = index < listening;
            let group = Arc::clone(group);
            engine.member = Some(Member::new(group, index, shares_port, clients.clone(), listens));
            engine.limits = limits;
            engine.observer = shared(index);
            engine.report = one_at_a_time(&report);
            engine.notice = one_at_a_time(&notice);
            engine.acceptor.share_log(Arc::clone(&logged));
        }
        first.report = one_at_a_time(&report);
        first.notice = one_at_a_time(&notice);
    }
}

/// Opens the listeners of the engines.
///
/// Returns the number of engines that accept clients.
fn share_port<S: Service>(
    first: &Engine<S, Os>,
    others: &mut [Engine<S, Os>],
    addr: SocketAddr,
) -> io::Result<usize> {
    let Some(listener) = first.acceptor.listener() else { return Ok(1) };
    for (engine, listening) in others.iter_mut().zip(1..) {
        match listener.share(addr) {
            Ok(listener) => engine.acceptor = Acceptor::new(Some(engine.system.listen(listener)?)),
            Err(e) => {
                // The engines without a listener get clients from the others.
                log::debug!("cannot share the port with another listener: {}", reason(&e));
                return Ok(listening);
            }
        }
    }
    Ok(others.len() + 1)
}

/// Runs the first engine in this thread, and each other in one of its own.
fn run<S: ParallelService>(
    mut threads: Threads<S, Os>,
    first: &mut Engine<S, Os>,
    addr: SocketAddr,
    stopper: &Stopper,
) -> io::Result<()> {
    let has_one_listener = threads.has_one_listener || threads.clients.is_some();
    let listening =
        if has_one_listener { 1 } else { share_port(first, &mut threads.others, addr)? };
    threads.join(first, listening);
    let others = threads.others;
    let serve = |engine: &mut Engine<S, Os>| {
        let mut end = End(Some(stopper));
        engine.run(&stopper.calls)?;
        end.0 = None;
        Ok(())
    };
    thread::scope(|scope| {
        let mut end = End(Some(stopper));
        let threads = others.into_iter().map(|mut engine| {
            thread::Builder::new()
                .name("socklab server".into())
                .spawn_scoped(scope, move || serve(&mut engine))
        });
        let threads = threads.collect::<io::Result<Vec<_>>>()?;
        end.0 = None;
        let mut result = serve(first);
        for thread in threads {
            let panicked = |_| Err(io::Error::other("a thread of the server panicked"));
            result = result.and(thread.join().unwrap_or_else(panicked));
        }
        result
    })
}

/// Ends all engines without a grace period if it is dropped with a stopper, because one of them has failed.
struct End<'s>(Option<&'s Stopper>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        if let Some(stopper) = self.0 {
            stopper.calls.fetch_max(2, Ordering::Release);
            (stopper.waker)();
        }
    }
}

type Callback<T> = Box<dyn FnMut(T) + Send>;

/// Returns a function that calls the one all threads share.
fn one_at_a_time<T: 'static>(callback: &Arc<Mutex<Callback<T>>>) -> Callback<T> {
    let callback = Arc::clone(callback);
    Box::new(move |value| (callback.lock().unwrap_or_else(PoisonError::into_inner))(value))
}

/// An engine's access to the observer that all engines share.
struct SharedObserver {
    observer: Arc<Mutex<Box<dyn Observer>>>,
    index: usize,
    /// Number of engines.
    count: usize,
}

impl SharedObserver {
    fn lock(&self) -> MutexGuard<'_, Box<dyn Observer>> {
        self.observer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of a connection among those of all engines.
    const fn number(&self, connection: usize) -> usize {
        connection * self.count + self.index
    }
}

impl Observer for SharedObserver {
    fn opened(&mut self, connection: usize, local: SocketAddr, peer: SocketAddr) {
        self.lock().opened(self.number(connection), local, peer);
    }

    fn moved(&mut self, connection: usize, peer: SocketAddr, direction: Direction, bytes: &[u8]) {
        self.lock().moved(self.number(connection), peer, direction, bytes);
    }

    fn ended(&mut self, connection: usize, peer: SocketAddr, reset: Option<Direction>) {
        self.lock().ended(self.number(connection), peer, reset);
    }

    fn note(&mut self, connection: usize, local: SocketAddr, peer: SocketAddr, text: &str) {
        self.lock().note(self.number(connection), local, peer, text);
    }

    fn is_ready(&self) -> bool {
        self.lock().is_ready()
    }
}

/// An engine's part in a group. Without a group, it does what one engine alone does.
impl<S: Service, N: System> Engine<S, N> {
    /// Returns whether the server continues.
    pub(super) fn control(&self) -> ServerControl {
        let own = self.service.control();
        self.member.as_ref().map_or(own, |member| member.control(own))
    }

    /// Hands a new client to another engine, or returns it.
    pub(super) fn place_client(
        &mut self,
        client: NewClient<N::Stream>,
    ) -> Option<NewClient<N::Stream>> {
        if self.member.is_none() {
            return Some(client);
        }
        // A connection that must begin with a header may be none of a client.
        if self.limits.proxy_header.is_none() && !self.count_client() {
            return None;
        }
        self.member.as_ref()?.place_client(client)
    }

    /// Counts a client. Returns `false` if it is one more than the service serves.
    pub(super) fn count_client(&mut self) -> bool {
        let Some(member) = &self.member else { return true };
        match member.count_client() {
            Count::More => {}
            Count::Last => {
                member.control(ServerControl::Last);
                // Before the last client receives anything: a client that connects because of it must not be accepted.
                self.close_listener();
            }
            Count::Excess => return false,
        }
        true
    }

    /// Opens sessions for the clients that other engines have handed over, after this engine was woken.
    pub(super) fn open_handed_over(&mut self, is_finishing: bool) {
        let Some(member) = &self.member else { return };
        if member.is_granted() {
            self.acceptor.freed(Duration::from_millis(self.now));
        }
        for (stream, peer) in member.handed_over() {
            let key = self.open(stream, peer);
            if let Some(key) = key
                && is_finishing
            {
                self.turn(key, Wakeup::Stop);
            }
        }
    }

    /// Counts a client that has left.
    pub(super) fn client_left(&mut self) {
        if self.member.as_ref().is_none_or(Member::client_left) {
            self.acceptor.freed(Duration::from_millis(self.now));
        }
    }

    /// Returns whether no more clients come.
    pub(super) fn is_drained(&self) -> bool {
        self.member.as_ref().is_none_or(Member::is_drained)
    }
}
