//! The pool's backpressure: a handler that is not ready holds its session, and no other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use socklab_core::chat::{self, Chat};
use socklab_core::driver::nonblocking::{Outcome, Server};
use socklab_core::session::Handler;
use socklab_core::{Machine, echo};
use socklab_tests::oracle::echo_message;
use socklab_tests::transport::{Net, NetEnd, Socket};

/// Handler of one client. It takes this number of events, then is not ready until it gets more.
#[derive(Clone, Default)]
struct Busy {
    takes: Rc<Cell<usize>>,
    lines: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl Handler<Chat> for Busy {
    fn event(&mut self, event: chat::Event<&[u8]>) {
        let takes = self.takes.get();
        self.takes.set(takes.checked_sub(1).expect("an event while it is not ready"));
        if let chat::Event::Line(line) = event {
            self.lines.borrow_mut().push(line.to_vec());
        }
    }

    fn ready(&self) -> bool {
        self.takes.get() > 0
    }
}

type Pool<A, M> = Server<Net, M, A, Vec<u8>, Vec<u8>, 2>;

fn pool<M: Machine, A: Handler<M>>() -> Pool<A, M> {
    let buffers = || (vec![0; M::MIN_INPUT], vec![0; M::MIN_OUTPUT]);
    Pool::new(Socket::Idle, [buffers(), buffers()]).unwrap()
}

#[test]
fn a_session_is_held_while_its_handler_is_not_ready() {
    for seed in 0..10 {
        let mut net = Net::new(seed);
        (net.storm, net.most) = ((seed as usize * 7) % 50, 100);
        let clients = [net.dial(), net.dial()];
        let lines: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![b'a' + n % 26; 90]).collect();
        let all: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
        net.preset(&clients[0], &all, None);
        let (busy, other) = (Busy::default(), Busy::default());
        other.takes.set(usize::MAX);
        let mut server = pool();
        server.set_timeout(Some(100));
        let mut handlers = vec![other.clone(), busy.clone()];
        let mut ended = vec![];
        let mut poll = |net: &mut Net, now: u32, ended: &mut Vec<_>| {
            let open = |_| (Chat::duplex(), handlers.pop().expect("two clients"));
            let polled = server.poll(net, now, open, |over| ended.push((now, over.outcome)));
            assert!(!matches!(polled, Err(nb::Error::Other(_))));
        };
        // Ten times the time limit in which the first handler is not ready. The other client is served.
        for now in 0..1000 {
            if now % 50 == 0 {
                net.preset(&clients[1], b"hi\n", None);
            }
            poll(&mut net, now, &mut ended);
        }
        assert_eq!(ended, [], "seed {seed}");
        assert_eq!(busy.lines.borrow().len(), 0);
        assert_eq!(other.lines.borrow().len(), 20, "seed {seed}");
        // Nothing was read, so the peer is slowed down.
        assert_eq!(net.unread_from(&clients[0]), all.len(), "seed {seed}");

        // One event at a time: nothing is lost, and the time limit counts only when it is ready.
        for n in 1..=lines.len() {
            busy.takes.set(1);
            for step in 0..60 {
                let now = 1000 + u32::try_from((n - 1) * 60 + step).unwrap();
                if now % 50 == 0 {
                    net.preset(&clients[1], b"hi\n", None);
                }
                poll(&mut net, now, &mut ended);
            }
            assert_eq!(busy.lines.borrow().len(), n, "seed {seed}");
        }
        assert_eq!(*busy.lines.borrow(), lines);
        assert_eq!(ended, []);

        // Ready, and the client is silent: now its time counts.
        busy.takes.set(1);
        let start = 1000 + 60 * 40;
        for now in start..start + 200 {
            poll(&mut net, now, &mut ended);
        }
        assert!(
            matches!(ended[..], [.., (at, Outcome::Failed(_))] if at - start >= 100),
            "seed {seed}: {ended:?}"
        );
    }
}

/// Takes one message, and no second one before its reply has been read.
struct OneAtATime(Rc<Cell<bool>>);

impl Handler<echo::Server> for OneAtATime {
    fn event(&mut self, _: echo::server::Event) {
        self.0.set(false);
    }

    fn ready(&self) -> bool {
        self.0.get()
    }
}

/// What the handler waits for may be what the peer does when it has the reply.
#[test]
fn what_is_pending_is_sent_while_a_handler_is_not_ready() {
    for seed in 0..10 {
        let mut net = Net::new(seed);
        net.storm = (seed as usize * 7) % 50;
        let client = net.dial();
        let message = echo_message(b"0123456789abcdefghijklmnopqrstuvwxyz");
        net.preset(&client, &[&message[..], &message].concat(), Some(NetEnd::Zero));
        let ready = Rc::new(Cell::new(true));
        let (mut server, mut ended) = (pool(), None);
        let (mut got, mut replies) = (vec![], 0);
        for now in 0..2000 {
            let open = |_| (echo::Server::new(), OneAtATime(Rc::clone(&ready)));
            let polled = server.poll(&mut net, now, open, |over| ended = Some(over.outcome));
            assert!(!matches!(polled, Err(nb::Error::Other(_))));
            got.extend(net.take(&client));
            let reply = echo_message(b"abcdefghijklmnopqrstuvwxyz");
            if got.len() >= reply.len() * (replies + 1) {
                replies += 1;
                ready.set(true);
            }
        }
        assert_eq!((replies, ended), (2, Some(Outcome::Done)), "seed {seed}");
    }
}
