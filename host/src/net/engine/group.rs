//! What the engines of one server share: the places for clients, the sockets that one hands to another, and the end.
//!
//! With SO_REUSEPORT every engine has a listener, and the system distributes the clients. Otherwise the first engine alone
//! has one. In both cases an engine may accept a client and hand it to another that has fewer.
//!
//! The limit of clients is one of the whole server. So an engine takes a *place* before it accepts a client. An engine
//! that gets none waits in line, and the place of the next client that leaves is granted to the first in line. A mere
//! counter would starve clients: an engine whose clients leave often would always take their places itself.

use std::collections::VecDeque;
use std::mem::take;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ServerControl;
use super::wakeups::Waker;

/// A client that has been accepted and has no session yet.
pub(super) type NewClient<K> = (K, SocketAddr);

/// What a client is for the number of clients that a service serves.
pub(super) enum Count {
    /// More may follow.
    More,
    /// It is the last one.
    Last,
    /// It is one too many.
    Excess,
}

/// The engines of a server.
pub(super) struct Group<K> {
    engines: Box<[Entry<K>]>,
    places: Mutex<Places>,
    /// Number of engines that accept clients.
    listening: AtomicUsize,
    /// The strongest [`ServerControl`] of a service, as a number.
    control: AtomicU8,
}

/// What the other engines know of one.
struct Entry<K> {
    waker: Arc<Waker>,
    /// Number of clients it serves, or is going to.
    clients: AtomicUsize,
    inbox: Mutex<Vec<NewClient<K>>>,
}

struct Places {
    taken: usize,
    limit: usize,
    /// Engines that could not accept a client, because of the limit or a lack of descriptors.
    line: VecDeque<usize>,
    /// For each engine, whether a place is reserved for it.
    granted: Box<[bool]>,
}

/// An engine's part in its group.
pub(super) struct Member<K> {
    pub(super) group: Arc<Group<K>>,
    pub(super) index: usize,
    /// Whether each engine has a listener of its own. Then the distribution of the system is corrected only if it is
    /// uneven, since handing over a client costs a wakeup.
    pub(super) shares_port: bool,
    /// Number of clients that may still be accepted by all engines. `None` means no limit.
    clients_left: Option<Arc<AtomicU32>>,
    /// Whether the end of its listener has been counted.
    has_closed: bool,
}

impl<K> Group<K> {
    /// Returns the members of a group with these wakers. Until [`start`](Self::start), none accepts clients.
    pub(super) fn new(wakers: impl IntoIterator<Item = Arc<Waker>>) -> Arc<Self> {
        let entry = |waker| Entry { waker, clients: AtomicUsize::new(0), inbox: Mutex::default() };
        let engines: Box<[Entry<K>]> = wakers.into_iter().map(entry).collect();
        let granted = vec![false; engines.len()].into();
        let places = Places { taken: 0, limit: 1, line: VecDeque::new(), granted };
        Arc::new(Self {
            engines,
            places: Mutex::new(places),
            listening: AtomicUsize::new(0),
            control: AtomicU8::new(0),
        })
    }

    /// Sets the limit of clients, and the number of engines that accept them.
    pub(super) fn start(&self, limit: usize, listening: usize) {
        self.places().limit = limit.max(1);
        self.listening.store(listening, Ordering::Release);
    }

    pub(super) fn wake_all(&self) {
        for engine in &self.engines {
            engine.wake();
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Entry<K> {
    fn wake(&self) {
        (self.waker)();
    }

    fn inbox(&self) -> MutexGuard<'_, Vec<NewClient<K>>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn take(&mut self, engine: usize) -> bool {
        if take(&mut self.granted[engine]) {
            return true;
        }
        if self.taken >= self.limit {
            self.wait(engine);
            return false;
        }
        self.taken += 1;
        self.line.retain(|waiting| *waiting != engine);
        true
    }

    /// Frees a place. Returns the engine for which it is reserved now.
    fn free(&mut self) -> Option<usize> {
        let next = self.line.pop_front();
        match next {
            Some(engine) => self.granted[engine] = true,
            None => self.taken -= 1,
        }
        next
    }

    fn wait(&mut self, engine: usize) {
        if !self.line.contains(&engine) {
            self.line.push_back(engine);
        }
    }
}

impl<K> Member<K> {
    pub(super) const fn new(
        group: Arc<Group<K>>,
        index: usize,
        shares_port: bool,
        clients_left: Option<Arc<AtomicU32>>,
        listens: bool,
    ) -> Self {
        Self { group, index, shares_port, clients_left, has_closed: !listens }
    }

    fn entry(&self) -> &Entry<K> {
        &self.group.engines[self.index]
    }

    /// Takes a place for a client. Returns whether there was one. Otherwise this engine waits in line.
    pub(super) fn take_place(&self) -> bool {
        self.group.places().take(self.index)
    }

    /// Frees a place. Returns whether it is reserved for this engine, which should accept a client then.
    pub(super) fn free_place(&self) -> bool {
        let next = self.group.places().free();
        match next {
            Some(engine) if engine == self.index => return true,
            Some(engine) => self.group.engines[engine].wake(),
            None => {}
        }
        false
    }

    /// Returns a place that was taken, because the system is out of descriptors. This engine waits in line for a client
    /// to leave, which frees one.
    pub(super) fn starve(&self) {
        let mut places = self.group.places();
        // Not granted to another engine, which would be out of descriptors too. This one tries again soon, and then
        // passes on what it does not need.
        places.taken -= 1;
        places.wait(self.index);
    }

    /// Returns whether a place is reserved for this engine.
    pub(super) fn is_granted(&self) -> bool {
        self.group.places().granted[self.index]
    }

    /// Decides which engine serves a new client. Returns the client if it is this one.
    pub(super) fn place_client(&self, client: NewClient<K>) -> Option<NewClient<K>> {
        let clients = |engine: &Entry<K>| engine.clients.load(Ordering::Relaxed);
        let own = clients(self.entry());
        let engines = self.group.engines.iter().map(clients).enumerate();
        let (index, least) = engines.min_by_key(|(_, clients)| *clients)?;
        let tolerance = if self.shares_port { least / 8 } else { 0 };
        if own <= least + tolerance {
            self.entry().clients.fetch_add(1, Ordering::Relaxed);
            return Some(client);
        }
        let other = &self.group.engines[index];
        other.clients.fetch_add(1, Ordering::Relaxed);
        let mut inbox = other.inbox();
        inbox.push(client);
        // Only the first client needs a wakeup: the engine takes all.
        let is_first = inbox.len() == 1;
        drop(inbox);
        if is_first {
            other.wake();
        }
        None
    }

    /// Takes the clients that other engines have handed over.
    pub(super) fn handed_over(&self) -> Vec<NewClient<K>> {
        take(&mut self.entry().inbox())
    }

    /// Counts a client that has left. Returns what [`free_place`](Self::free_place) returns.
    pub(super) fn client_left(&self) -> bool {
        self.entry().clients.fetch_sub(1, Ordering::Relaxed);
        self.free_place()
    }

    /// Counts a client.
    pub(super) fn count_client(&self) -> Count {
        let Some(left) = &self.clients_left else { return Count::More };
        match left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)) {
            Ok(1) => Count::Last,
            Ok(_) => Count::More,
            Err(_) => Count::Excess,
        }
    }

    /// Records that this engine accepts no more clients, and has placed those it has accepted.
    pub(super) fn stop_listening(&mut self) {
        if std::mem::replace(&mut self.has_closed, true) {
            return;
        }
        let mut places = self.group.places();
        places.line.retain(|waiting| *waiting != self.index);
        let next = take(&mut places.granted[self.index]).then(|| places.free()).flatten();
        drop(places);
        if let Some(engine) = next {
            self.group.engines[engine].wake();
        }
        if self.group.listening.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The others end when their last client has left.
            self.group.wake_all();
        }
    }

    /// Returns whether this engine gets no more clients.
    pub(super) fn is_drained(&self) -> bool {
        self.group.listening.load(Ordering::Acquire) == 0 && self.entry().inbox().is_empty()
    }

    /// Combines what the service of this engine says with what the others have said.
    pub(super) fn control(&self, own: ServerControl) -> ServerControl {
        let own = match own {
            ServerControl::Serve => 0,
            ServerControl::Last => 1,
            ServerControl::Quit => 2,
        };
        let all = self.group.control.load(Ordering::Acquire);
        if own > all {
            self.group.control.fetch_max(own, Ordering::Release);
            self.group.wake_all();
        }
        match own.max(all) {
            0 => ServerControl::Serve,
            1 => ServerControl::Last,
            _ => ServerControl::Quit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(limit: usize) -> Places {
        Places { taken: 0, limit, line: VecDeque::new(), granted: vec![false; 3].into() }
    }

    #[test]
    fn places_are_granted_in_the_order_of_the_line() {
        let mut places = places(1);
        assert!(places.take(0));
        // Engine 0 has more clients waiting than the others, and asks first each time.
        for _ in 0..10 {
            for engine in [0, 1, 2] {
                assert!(!places.take(engine));
            }
            for engine in [0, 1, 2] {
                assert_eq!(places.free(), Some(engine));
                let others = [0, 1, 2].into_iter().filter(|other| *other != engine);
                for other in others.filter(|other| *other > engine) {
                    assert!(!places.take(other));
                }
                assert!(places.take(engine));
            }
            assert_eq!((places.taken, places.line.len()), (1, 0));
        }
        assert_eq!(places.free(), None);
        assert_eq!(places.taken, 0);
    }

    #[test]
    fn a_place_that_is_granted_cannot_be_taken_by_another_engine() {
        let mut places = places(2);
        assert!(places.take(0) && places.take(0));
        assert!(!places.take(1));
        assert_eq!(places.free(), Some(1));
        assert!(!places.take(0) && !places.take(2));
        assert!(places.take(1));
        // Passed on by an engine that finds no client.
        assert_eq!(places.free(), Some(0));
        assert!(places.take(0));
        assert_eq!(places.free(), Some(2));
    }

    #[test]
    fn an_engine_that_gets_a_place_leaves_the_line() {
        let mut places = places(1);
        // It was out of descriptors, and tries again when the system may have some.
        places.wait(1);
        assert!(places.take(1));
        assert_eq!((places.free(), places.taken), (None, 0));
    }
}
