//! Where `socklab file client` puts what it fetches: who may read it, what is left of it, and
//! places that are no files.
#![cfg(unix)]

use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::thread;

use socklab_tests::files::{Folder, answer, fetch, noise};
use socklab_tests::oracle::file_reply;
use socklab_tests::program::{Played, Program, read_all};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn what_has_come_is_no_more_open_than_the_file_it_replaces() {
    let here = Folder::new();
    let (local, part) = (here.path("copy"), here.path(".copy.part"));
    let file = noise(20_000);
    let reply = file_reply(&file, 0);
    for (old, partial, new) in [
        (0o600, 0o600, 0o600),
        (0o640, 0o640, 0o640),
        // What comes from a network gets no special rights.
        (0o6755, 0o755, 0o755),
        // To go on from it, it has to be read.
        (0o220, 0o620, 0o220),
    ] {
        here.write("copy", "old");
        set_mode(&local, old);
        let start = |played: &Played, options: &[&str]| {
            let remote = format!("{}:data", played.addr);
            let args = [&["file", "client", "-q", &remote, local.to_str().unwrap()], options];
            Program::behind_shell("umask 022; exec \"$@\"", &args.concat()).start()
        };
        let played = Played::new();
        let client = start(&played, &[]);
        let (_, mut stream) = answer(&played, b"");
        assert_eq!((mode(&part), here.read(".copy.part")), (partial, vec![]), "{old:o}");
        stream.write_all(&reply[..10_009]).unwrap();
        drop(stream);
        client.finish().failure(1);
        assert_eq!((mode(&part), here.read(".copy.part").len()), (partial, 10_000), "{old:o}");
        // Of a partial file that is there already.
        set_mode(&part, 0o666);
        let client = start(&played, &["--resume"]);
        let (_, mut stream) = answer(&played, b"");
        assert_eq!(mode(&part), partial, "{old:o}");
        stream.write_all(&file_reply(&file, 10_000)).unwrap();
        drop(stream);
        client.finish().success();
        assert_eq!(mode(&local), new, "{old:o}");
        fs::remove_file(&local).unwrap();
    }
}

#[test]
fn a_new_file_has_the_mode_that_new_files_have() {
    let (root, here) = (Folder::new(), Folder::new());
    root.write("data", "new");
    let server = root.server();
    let (remote, local) = (format!("{}:data", server.addr), here.path("copy"));
    for (umask, new) in [("022", 0o644), ("027", 0o640), ("077", 0o600)] {
        let args = ["file", "client", "-q", &remote, local.to_str().unwrap()];
        let line = format!("umask {umask}; exec \"$@\"");
        Program::behind_shell(&line, &args).run().success();
        assert_eq!(mode(&local), new, "{umask}");
        fs::remove_file(&local).unwrap();
    }
}

#[test]
fn a_fetch_that_is_not_even_asked_for_keeps_what_had_come_before() {
    use socklab::file::{Client, Error, Failure, Local, Options};

    let here = Folder::new();
    here.write(".copy.part", "four score");
    let local = Local::open(&here.path("copy"), true).unwrap();
    let played = Played::new();
    let client = Client::connect(played.addr).unwrap();
    // In the plain form nobody can go on.
    let plain = Options { plain: true };
    let failed = client.fetch(b"data", local, plain, |_| ControlFlow::Continue(()));
    let Err(Error { cause: Failure::Net(socklab::net::Error::Refused(_)), kept }) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(kept, Some((here.path(".copy.part"), 10)));
    assert_eq!(
        (here.list(), here.read(".copy.part")),
        (vec![".copy.part".into()], b"four score".to_vec())
    );
    // And nothing was asked for.
    let mut stream = played.accept();
    assert_eq!(read_all(&mut stream), b"");
}

#[test]
fn a_pipe_is_written_as_the_bytes_come() {
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
            let done = Program::behind_shell(line, &args).run();
            assert!(done.success() == file, "{line}: {}", done.stderr);
            assert_eq!(done.stderr, "", "{line}");
        }
        // One with a name, and a link to it.
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
