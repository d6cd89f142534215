//! Where `socklab file client` writes a file: who may read it, what remains of an interrupted
//! fetch, and targets that are not regular files.
#![cfg(unix)]

use std::fs;
use std::io::Write as _;
#[cfg(target_os = "linux")]
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::thread;

use socklab_tests::files::{Folder, answer, fetch, noise};
use socklab_tests::oracle::file_reply;
#[cfg(target_os = "linux")]
use socklab_tests::program::{DEADLINE, SIGNALS, wait_until};
use socklab_tests::program::{FakeServer, Program, read_all};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file exists").permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: file modes")]
fn a_partial_file_has_no_wider_permissions_than_the_file_it_replaces() {
    let here = Folder::new();
    let (local, part) = (here.path("copy"), here.path(".copy.part"));
    let file = noise(20_000);
    let reply = file_reply(&file, 0);
    for (old, partial, new) in [
        (0o600, 0o600, 0o600),
        (0o640, 0o640, 0o640),
        // A file from a network gets no set-user-ID bits.
        (0o6755, 0o755, 0o755),
        // The partial file must be readable for a resume.
        (0o220, 0o620, 0o220),
    ] {
        here.write("copy", "old");
        set_mode(&local, old);
        let start = |fake: &FakeServer, options: &[&str]| {
            let remote = format!("{}:data", fake.addr);
            let args = [&["file", "client", "-q", &remote, local.to_str().unwrap()], options];
            Program::in_shell("umask 022; exec \"$@\"", &args.concat()).start()
        };
        let fake = FakeServer::new();
        let client = start(&fake, &[]);
        let (_, mut stream) = answer(&fake, b"");
        assert_eq!((mode(&part), here.read(".copy.part")), (partial, vec![]), "{old:o}");
        stream.write_all(&reply[..10_009]).unwrap();
        drop(stream);
        client.finish().failure(1);
        assert_eq!((mode(&part), here.read(".copy.part").len()), (partial, 10_000), "{old:o}");
        // The mode of an existing partial file is reduced too.
        set_mode(&part, 0o666);
        let client = start(&fake, &["--resume"]);
        let (_, mut stream) = answer(&fake, b"");
        assert_eq!(mode(&part), partial, "{old:o}");
        stream.write_all(&file_reply(&file, 10_000)).unwrap();
        drop(stream);
        client.finish().success();
        assert_eq!(mode(&local), new, "{old:o}");
        fs::remove_file(&local).unwrap();
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: umask")]
fn a_new_file_has_the_mode_of_the_umask() {
    let (root, here) = (Folder::new(), Folder::new());
    root.write("data", "new");
    let server = root.server();
    let (remote, local) = (format!("{}:data", server.addr), here.path("copy"));
    for (umask, new) in [("022", 0o644), ("027", 0o640), ("077", 0o600)] {
        let args = ["file", "client", "-q", &remote, local.to_str().unwrap()];
        let line = format!("umask {umask}; exec \"$@\"");
        Program::in_shell(&line, &args).run().success();
        assert_eq!(mode(&local), new, "{umask}");
        fs::remove_file(&local).unwrap();
    }
}

/// A listener with a full queue. Further connects get no answer.
#[cfg(target_os = "linux")]
struct Full {
    _listener: socket2::Socket,
    _queued: TcpStream,
    addr: SocketAddr,
}

#[cfg(target_os = "linux")]
impl Full {
    fn new() -> Self {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let listener = listener.expect("a socket");
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
        // Space for one connection.
        listener.listen(0).expect("listen");
        let addr = listener.local_addr().ok().and_then(|addr| addr.as_socket()).expect("IPv4");
        let queued = TcpStream::connect(addr).expect("the queue has space for one");
        let full = Self { _listener: listener, _queued: queued, addr };
        full.wait_for(|[here, _, state, queues]| {
            here.ends_with(&full.port()) && state == "0A" && queues.ends_with(":00000001")
        });
        full
    }

    /// Waits until a client tries to connect.
    fn wait_for_client(&self) {
        self.wait_for(|[_, there, state, _]| there.ends_with(&self.port()) && state == "02");
    }

    /// Returns the port as in the system's table of sockets.
    fn port(&self) -> String {
        format!(":{:04X}", self.addr.port())
    }

    /// Waits for a socket that matches: local and remote address, state, queues.
    fn wait_for(&self, matches: impl Fn([&str; 4]) -> bool) {
        let found = wait_until(DEADLINE, || {
            let table = fs::read_to_string("/proc/net/tcp").expect("the table");
            let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            lines.any(|fields| matches([fields[1], fields[2], fields[3], fields[4]])).then_some(())
        });
        assert!(found.is_some(), "no such socket at {}", self.addr);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_interrupt_during_connect_keeps_only_earlier_partial_files() {
    let here = Folder::new();
    here.write(".old.part", "four score");
    for signal in SIGNALS {
        for (local, form) in [
            ("new", &[][..]),
            ("new", &["--plain"]),
            ("new", &["--resume"]),
            ("old", &["--resume"]),
        ] {
            let full = Full::new();
            let client = fetch(full.addr, b"data", &here.path(local), form).start();
            full.wait_for_client();
            client.signal(signal);
            let ended = client.finish();
            // The signal ended it without output. On Windows it ends itself. On a busy machine Wine 8 can end it by SIGKILL
            // then, while its main thread connects, and the exit code is lost.
            let code = cfg!(feature = "windows").then_some(130).filter(|_| ended.code.is_some());
            assert_eq!((ended.code, ended.stderr.as_str()), (code, ""), "{ended:?}");
            assert_eq!(here.list(), [".old.part"], "{ended:?}");
            assert_eq!(here.read(".old.part"), b"four score");
        }
    }
}

#[test]
fn without_a_server_no_file_is_created() {
    let here = Folder::new();
    let closed_addr = FakeServer::new().addr;
    for form in [&[][..], &["--plain"], &["--resume"]] {
        let failed = fetch(closed_addr, b"data", &here.path("new"), form).run();
        assert!(failed.failure(3).contains("connection refused"), "{failed:?}");
        assert_eq!(here.list(), [""; 0]);
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "it runs the library, not the program")]
fn a_fetch_that_fails_before_its_request_keeps_the_partial_file() {
    use socklab::file::{Client, Error, Failure, Local, Options};

    let here = Folder::new();
    here.write(".copy.part", "four score");
    let mut local = Local::open(&here.path("copy"), true).unwrap();
    let fake = FakeServer::new();
    let client = Client::connect(fake.addr).unwrap();
    // The plain form cannot be resumed.
    let plain = Options { plain: true, ..Options::default() };
    let failed = client.fetch(b"data", &mut local, plain, |_| ControlFlow::Continue(()));
    let Err(Error { cause: Failure::Net(socklab::net::Error::Refused(_)), kept }) = failed else {
        panic!("{failed:?}");
    };
    drop(local);
    assert_eq!(kept, Some((here.path(".copy.part"), 10)));
    assert_eq!(
        (here.list(), here.read(".copy.part")),
        (vec![".copy.part".into()], b"four score".to_vec())
    );
    // No request was sent.
    let mut stream = fake.accept();
    assert_eq!(read_all(&mut stream), b"");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: named pipes and names of descriptors")]
fn a_pipe_is_written_while_bytes_arrive() {
    let (root, here) = (Folder::new(), Folder::new());
    // Far more than a pipe holds.
    let file = noise(1 << 20);
    root.write("data", &file);
    let server = root.server();
    let remote = format!("{}:data", server.addr);
    for form in [&["-q"][..], &["-q", "--plain"]] {
        for (line, local) in [
            ("exec \"$@\"", "/dev/stdout"),
            ("\"$@\" | cat", "/dev/stdout"),
            ("exec \"$@\" 3>&1 >/dev/null", "/dev/fd/3"),
        ] {
            let args = [&["file", "client", &remote, local], form].concat();
            let done = Program::in_shell(line, &args).run();
            assert!(done.success() == file, "{line}: {}", done.stderr);
            assert_eq!(done.stderr, "", "{line}");
        }
        // A named pipe, and a link to it.
        let made = std::process::Command::new("mkfifo").arg(here.path("fifo")).status();
        assert!(made.is_ok_and(|status| status.success()));
        symlink("fifo", here.path("link")).unwrap();
        for name in ["fifo", "link"] {
            let path = here.path("fifo");
            let reader = thread::spawn(move || fs::read(path));
            fetch(server.addr, b"data", &here.path(name), form).run().success();
            assert!(reader.join().unwrap().unwrap() == file, "{name}");
            assert_eq!(here.list(), ["fifo", "link"]);
        }
        fs::remove_file(here.path("fifo")).unwrap();
        fs::remove_file(here.path("link")).unwrap();
    }
}

/// A file system that assigns owners, such as vfat, may give a new file another owner than its
/// creator.
#[test]
#[cfg(target_os = "linux")]
#[cfg_attr(feature = "windows", ignore = "it runs the library, not the program")]
fn a_new_partial_file_may_have_an_owner_chosen_by_the_file_system() {
    unsafe extern "C" {
        fn setfsuid(uid: u32) -> i32;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can create files that belong to others");
        return;
    }
    let here = Folder::new();
    set_mode(&here.0, 0o777);
    let (path, part) = (here.path("copy"), here.path(".copy.part"));
    let opened = thread::spawn(move || {
        // SAFETY: the argument is a number, and only the owner of files that this thread creates
        // changes.
        unsafe { setfsuid(1000) };
        socklab::file::Local::open(&path, false).map(drop)
    });
    opened.join().unwrap().expect("a new file");
    // An existing partial file of another user is refused as before.
    here.write(".copy.part", "four");
    std::os::unix::fs::chown(&part, Some(1000), None).unwrap();
    let refused = socklab::file::Local::open(&here.path("copy"), true).unwrap_err().to_string();
    assert!(refused.contains("belongs to another user"), "{refused}");
    assert_eq!(here.read(".copy.part"), b"four");
}
