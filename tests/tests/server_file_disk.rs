//! The file server and slow disks: a request of one client delays no other, and a resume with a
//! large partial file succeeds within the default timeout.
#![cfg(unix)]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use socklab::file::{Access, Outcome, Report, Service};
use socklab::net::{Limits, Running};
use socklab_tests::files::{Folder, fetch, noise};
use socklab_tests::oracle::file_reply;
use socklab_tests::program::{DEADLINE, read_all, reset, wait_until};

/// Starts a server of a folder and returns its reports. `hook` is called before each access to the
/// disk.
fn serve(
    root: &Folder,
    limits: Limits,
    hook: impl Fn(Access<'_>) + Send + Sync + 'static,
) -> (Running, mpsc::Receiver<Report>) {
    let service = Service::new(&root.0).and_then(|service| service.on_access(hook));
    let (report, reports) = mpsc::channel();
    let server = socklab::net::Server::bind("127.0.0.1:0", service.expect("a folder"))
        .expect("a port")
        .limits(limits)
        .on_report(move |told| drop(report.send(told)));
    (server.start().expect("a thread"), reports)
}

fn connect(addr: SocketAddr, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    stream.write_all(request).expect("send the request");
    stream
}

/// Blocks threads until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<(bool, u32)>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let mut state = self.0.0.lock().expect("no panic");
        state.1 += 1;
        self.0.1.notify_all();
        while !state.0 {
            state = self.0.1.wait(state).expect("no panic");
        }
    }

    /// Waits until `count` threads are blocked.
    fn wait_for(&self, count: u32) {
        let state = self.0.0.lock().expect("no panic");
        let waited = self.0.1.wait_timeout_while(state, DEADLINE, |state| state.1 < count);
        assert!(waited.expect("no panic").0.1 >= count, "no thread arrives");
    }

    fn open(&self) {
        self.0.0.lock().expect("no panic").0 = true;
        self.0.1.notify_all();
    }
}

/// Opens the gate when dropped, so that a failed test ends too.
struct Opened(Gate);

impl Drop for Opened {
    fn drop(&mut self) {
        self.0.open();
    }
}

#[test]
fn a_blocked_disk_delays_only_the_client_that_needs_it() {
    let root = Folder::new();
    let small = noise(100_000);
    root.write("small", &small);
    root.write("slow", "slow");
    let big = noise(3 << 20);
    root.write("big", &big);
    let gate = Gate::default();
    let held = gate.clone();
    let (server, _reports) = serve(&root, Limits::default(), move |access| match access {
        Access::Open(b"slow") => held.pass(),
        Access::Read { at, .. } if at >= 1 << 20 => held.pass(),
        _ => {}
    });
    let opened = Opened(gate.clone());
    let addr = server.local_addr();
    // A name that is looked up, a file that is sent, and a file whose checksum is computed.
    let mut slow = connect(addr, b"slow\n");
    let mut body = connect(addr, b"big\n");
    let mut sum = connect(addr, format!("big\0v1\0{}\n", big.len()).as_bytes());
    gate.wait_for(3);
    for _ in 0..20 {
        assert!(read_all(&mut connect(addr, b"small\n")) == small);
        assert!(read_all(&mut connect(addr, b"small\0v1\x000\n")) == file_reply(&small, 0));
    }
    // What was read before arrives at once, and so does the head of a reply.
    let mut front = vec![0; 1 << 20];
    body.read_exact(&mut front).unwrap();
    assert!(front == big[..1 << 20]);
    let mut head = [0; 9];
    sum.read_exact(&mut head).unwrap();
    assert_eq!(head, file_reply(&big, big.len())[..9]);
    drop(opened);
    assert_eq!(read_all(&mut slow), b"slow");
    assert!(read_all(&mut body) == big[1 << 20..]);
    assert_eq!(read_all(&mut sum), file_reply(&big, big.len())[9..]);
    server.stop().unwrap();
}

#[test]
fn a_server_can_be_stopped_while_its_disk_is_blocked() {
    let root = Folder::new();
    root.write("slow", "slow");
    let gate = Gate::default();
    let held = gate.clone();
    let limits = Limits { grace: Duration::from_millis(10), ..Limits::default() };
    let (server, reports) = serve(&root, limits, move |_| held.pass());
    let _opened = Opened(gate.clone());
    let mut slow = connect(server.local_addr(), b"slow\n");
    gate.wait_for(1);
    server.stop().unwrap();
    assert_eq!(reports.recv().unwrap().outcome, Outcome::Stopped);
    // In the plain form an orderly close would mean an empty file.
    let ended = slow.read(&mut [0; 9]);
    assert!(ended.is_err(), "{ended:?}");
}

#[test]
fn a_large_partial_file_can_be_resumed_within_a_short_timeout() {
    let (root, here) = (Folder::new(), Folder::new());
    // A sparse file, which uses no space on the disk.
    let length = 64 << 20;
    let mut file = File::create(root.path("data")).unwrap();
    file.set_len(length - 4).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
    file.write_all(b"last").unwrap();
    // Reading all of it takes about three seconds, and neither side waits for longer than one.
    let limits = Limits { idle: Some(Duration::from_secs(1)), ..Limits::default() };
    let slow = |access: Access<'_>| {
        if let Access::Read { .. } = access {
            std::thread::sleep(Duration::from_millis(6));
        }
    };
    for missing in [4, 0] {
        let (server, reports) = serve(&root, limits, slow);
        let part = File::create(here.path(".copy.part")).unwrap();
        part.set_len(length - 4).unwrap();
        if missing == 0 {
            std::io::copy(
                &mut &b"last"[..],
                &mut fs::OpenOptions::new().append(true).open(here.path(".copy.part")).unwrap(),
            )
            .unwrap();
        }
        let options = ["--resume", "--timeout", "1s"];
        let done = fetch(server.local_addr(), b"data", &here.path("copy"), &options).run();
        done.success();
        assert!(done.stderr.contains("resumed at byte "), "{done:?}");
        assert_eq!(fs::metadata(here.path("copy")).unwrap().len(), length);
        let report = reports.recv_timeout(DEADLINE).unwrap();
        assert_eq!((report.outcome, report.sent), (Outcome::Sent, missing));
        server.stop().unwrap();
    }
}

#[test]
fn a_client_that_leaves_is_not_logged_as_complete_and_causes_no_more_reads() {
    let root = Folder::new();
    File::create(root.path("data")).unwrap().set_len(64 << 20).unwrap();
    let reads = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&reads);
    let gate = Gate::default();
    let held = gate.clone();
    let (server, reports) = serve(&root, Limits::default(), move |access| {
        if let Access::Read { .. } = access {
            counted.fetch_add(1, Ordering::Relaxed);
            held.pass();
        }
    });
    let opened = Opened(gate.clone());
    let mut stream = connect(server.local_addr(), format!("data\0v1\0{}\n", 64 << 20).as_bytes());
    stream.read_exact(&mut [0; 9]).unwrap();
    gate.wait_for(1);
    reset(stream);
    let report = reports.recv_timeout(DEADLINE).unwrap();
    assert!(matches!(report.outcome, Outcome::Failed(..)), "{report}");
    assert!(!report.to_string().contains("complete"), "{report}");
    drop(opened);
    // Only the slice being read is read, no more.
    server.stop().unwrap();
    assert!(reads.load(Ordering::Relaxed) <= 8, "{reads:?}");
}

#[test]
fn a_client_that_does_not_receive_everything_is_not_logged_as_complete() {
    let root = Folder::new();
    let file = noise(100_000);
    root.write("data", &file);
    let gate = Gate::default();
    let held = gate.clone();
    let (server, reports) = serve(&root, Limits::default(), move |_| held.pass());
    let addr = server.local_addr();
    // The client closes orderly before anything is sent, as one does that times out.
    for request in [&b"data\n"[..], b"data\0v1\x000\n"] {
        drop(connect(addr, request));
        gate.wait_for(1);
        gate.open();
        let report = reports.recv_timeout(DEADLINE).unwrap();
        assert_ne!(report.outcome, Outcome::Sent, "{report}");
        assert!(!report.to_string().contains("complete"), "{report}");
    }
    // A client that received everything is logged as complete.
    assert!(read_all(&mut connect(addr, b"data\n")) == file);
    assert_eq!(reports.recv_timeout(DEADLINE).unwrap().outcome, Outcome::Sent);
    server.stop().unwrap();
}

#[test]
fn a_checksum_is_computed_once_and_again_after_a_change() {
    let root = Folder::new();
    let mut file = noise(1 << 20);
    root.write("data", &file);
    let reads = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&reads);
    let (server, _reports) = serve(&root, Limits::default(), move |access| {
        if let Access::Read { .. } = access {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let ask = |file: &[u8]| {
        let request = format!("data\0v1\0{}\n", file.len());
        let reply = read_all(&mut connect(server.local_addr(), request.as_bytes()));
        assert_eq!(reply, file_reply(file, file.len()));
        reads.swap(0, Ordering::Relaxed)
    };
    // A file that was just written could change again within the same tick of the clock.
    assert_eq!((ask(&file), ask(&file)), (8, 8));
    // After some time the checksum is remembered.
    let is_remembered = wait_until(DEADLINE, || (ask(&file) == 0).then_some(()));
    assert!(is_remembered.is_some(), "the file is read every time");
    assert_eq!(ask(&file), 0);
    // Also for other parts of the file: only what is sent is read.
    let reply = read_all(&mut connect(server.local_addr(), b"data\0v1\x00524288\n"));
    assert!(reply == file_reply(&file, 524_288));
    assert_eq!(reads.swap(0, Ordering::Relaxed), 4);
    // The same size, and the old modification time.
    let modified = fs::metadata(root.path("data")).unwrap().modified().unwrap();
    file[5] ^= 1;
    root.write("data", &file);
    File::options().write(true).open(root.path("data")).unwrap().set_modified(modified).unwrap();
    assert_eq!(ask(&file), 8);
    server.stop().unwrap();
}

/// Writes a file and waits until its checksum may be remembered.
fn settled(root: &Folder, name: &str, file: &[u8]) {
    root.write(name, file);
    let reads = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&reads);
    let (server, _reports) = serve(root, Limits::default(), move |access| {
        if let Access::Read { .. } = access {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let request = format!("{name}\0v1\0{}\n", file.len());
    let is_remembered = wait_until(DEADLINE, || {
        read_all(&mut connect(server.local_addr(), request.as_bytes()));
        (reads.swap(0, Ordering::Relaxed) == 0).then_some(())
    });
    assert!(is_remembered.is_some(), "the file is read every time");
    server.stop().unwrap();
}

#[test]
fn simultaneous_resumes_of_a_file_share_one_read() {
    const HALF: usize = 1 << 20;
    let root = Folder::new();
    let file = noise(2 * HALF);
    settled(&root, "data", &file);
    root.write("small", "small");
    // The same for all of them.
    let check = file_reply(&file, file.len()).split_off(9);
    for step in [0, 1000] {
        // A server that does not know it yet.
        let (gate, bytes_read) = (Gate::default(), Arc::new(AtomicU64::new(0)));
        let (held, counted) = (gate.clone(), Arc::clone(&bytes_read));
        let (server, _reports) = serve(&root, Limits::default(), move |access| {
            if let Access::Read { at, bytes } = access
                && at < HALF as u64
                && bytes > 5
            {
                counted.fetch_add(bytes as u64, Ordering::Relaxed);
                held.pass();
            }
        });
        let opened = Opened(gate.clone());
        let offset = |n: usize| file.len() - n * step;
        let mut streams: Vec<TcpStream> = (0..24)
            .map(|n| {
                let request = format!("data\0v1\0{}\n", offset(n));
                let mut stream = connect(server.local_addr(), request.as_bytes());
                // The head shows that the file is open.
                stream.read_exact(&mut [0; 9]).unwrap();
                stream
            })
            .collect();
        // All wait for one worker, so the other workers serve other clients. A reset changes nothing.
        gate.wait_for(1);
        assert_eq!(read_all(&mut connect(server.local_addr(), b"small\n")), b"small");
        reset(streams.pop().unwrap());
        drop(opened);
        for (n, stream) in streams.iter_mut().enumerate() {
            assert!(read_all(stream) == [&file[offset(n)..], &check].concat(), "{n}");
        }
        assert_eq!(bytes_read.load(Ordering::Relaxed), HALF as u64);
        // A resume from an offset smaller than what was read so far.
        let reply = read_all(&mut connect(server.local_addr(), b"data\0v1\x0077\n"));
        assert!(reply[9..] == [&file[77..], &check].concat());
        server.stop().unwrap();
    }
}

#[test]
fn many_simultaneous_clients_get_their_files() {
    let root = Folder::new();
    let file = noise(300_000);
    for n in 0..10 {
        root.write(&format!("data{n}"), &file);
    }
    let (server, _reports) = serve(&root, Limits::default(), |_| {});
    let mut streams: Vec<TcpStream> = (0..200)
        .map(|n| {
            let form = if n % 2 == 0 { "\0v1\x00100000\n" } else { "\n" };
            connect(server.local_addr(), format!("data{}{form}", n % 10).as_bytes())
        })
        .collect();
    for (n, stream) in streams.iter_mut().enumerate() {
        let _ = stream.shutdown(Shutdown::Write);
        let expected = if n % 2 == 0 { file_reply(&file, 100_000) } else { file.clone() };
        assert!(read_all(stream) == expected, "{n}");
    }
    server.stop().unwrap();
}

/// Returns whether this byte is in the page cache, or `None` if the file system cannot report it.
#[cfg(target_os = "linux")]
fn is_cached(file: &File, at: u64) -> Option<bool> {
    use rustix::io::{Errno, ReadWriteFlags, preadv2};
    let mut byte = [0];
    match preadv2(file, &mut [std::io::IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT) {
        Ok(_) => Some(true),
        Err(Errno::AGAIN) => Some(false),
        Err(_) => None,
    }
}

#[test]
#[cfg(target_os = "linux")]
fn pages_dropped_from_the_cache_are_read_again_by_a_worker() {
    let root = Folder::new();
    let file = noise(24 << 20);
    root.write("data", &file);
    let on_disk = File::open(root.path("data")).unwrap();
    on_disk.sync_all().unwrap();
    let (furthest, again) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (far, counted) = (Arc::clone(&furthest), Arc::clone(&again));
    let (server, _reports) = serve(&root, Limits::default(), move |access| {
        if let Access::Read { at, bytes } = access
            && far.fetch_max(at + bytes as u64, Ordering::Relaxed) > at
        {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    for request in [&b"data\n"[..], b"data\0v1\x000\n"] {
        furthest.store(0, Ordering::Relaxed);
        again.store(0, Ordering::Relaxed);
        let mut stream = connect(server.local_addr(), request);
        // The client reads nothing: the server fills the socket buffers and reads one window more.
        let mut before = 0;
        let is_full = wait_until(DEADLINE, || {
            std::thread::sleep(Duration::from_millis(200));
            let now = furthest.load(Ordering::Relaxed);
            (now > 4 << 20 && std::mem::replace(&mut before, now) == now).then_some(())
        });
        assert!(is_full.is_some(), "the server does not stop reading");
        rustix::fs::fadvise(&on_disk, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let last = before - 1;
        if is_cached(&on_disk, last) != Some(false) {
            eprintln!("skipped: the file system does not drop the pages, or does not report it");
            return;
        }
        let reply = read_all(&mut stream);
        // The checksum covers each byte once.
        let expected = if request == b"data\n" { file.clone() } else { file_reply(&file, 0) };
        assert!(reply == expected, "{}", reply.len());
        assert!(again.load(Ordering::Relaxed) > 0, "the engine read from the disk itself");
    }
    server.stop().unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn pseudo_files_are_refused() {
    let here = Folder::new();
    for (root, names) in [
        ("/proc", &["version", "self/status", "sys/kernel/ostype", "self/environ"][..]),
        (
            "/sys",
            &["kernel/mm/transparent_hugepage/enabled", "kernel/profiling", "kernel/uevent_seqnum"],
        ),
    ] {
        let server = socklab_tests::program::Server::start("file", &["--root", root]);
        for name in names {
            if !std::path::Path::new(root).join(name).is_file() {
                continue;
            }
            let failed = fetch(server.addr, name.as_bytes(), &here.path("x"), &[]).run();
            let line = failed.failure(1);
            assert!(line.ends_with("a pseudo-file, which has no size"), "{name}: {line}");
            let mut plain = server.connect();
            plain.write_all(format!("{name}\n").as_bytes()).unwrap();
            assert!(plain.read(&mut [0; 9]).is_err(), "{name}");
            assert_eq!(here.list(), [""; 0]);
        }
    }
}
