//! `socklab file` with programs that people published: servers that call `recv` once and know
//! nothing about the checked form, and clients that send their whole buffer.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use socklab_tests::files::{Folder, answer, fetch, noise};
use socklab_tests::program::{
    FakeServer, Finished, Program, STOP, Server, is_judged, read_all, reset,
};

const WARNING: &str = "requesting the file again with the plain protocol, which cannot verify it";

/// Runs our client against a published server. Returns our result and the requests that the server
/// received.
fn against(kind: &str, options: &[&str], root: &Folder, here: &Folder) -> (Finished, Vec<String>) {
    let requests_twice = !options.iter().any(|option| ["--plain", "--checked"].contains(option));
    let sessions = if requests_twice { "2" } else { "1" };
    let args = [root.0.to_str().unwrap(), kind, "--sessions", sessions];
    let server = Server::from_program(Program::peer("file_published_server.py", &args));
    let ours = fetch(server.addr, b"x.txt", &here.path("copy"), options).run();
    let theirs = server.process.finish();
    assert_eq!(theirs.code, Some(0), "{theirs:?}");
    let asked = String::from_utf8(theirs.stdout).unwrap().lines().map(str::to_owned).collect();
    (ours, asked)
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_server_that_calls_recv_once_receives_the_bare_name() {
    let (root, here) = (Folder::new(), Folder::new());
    for length in [1, 1023, 1024, 1025, 300_000] {
        let file = noise(length);
        root.write("x.txt", &file);
        for (kind, options, request) in [
            ("once", &["-q", "--plain"][..], "b'x.txt'"),
            ("text", &["-q", "--plain"], "b'x.txt'"),
            ("c", &["-q", "--plain"], "b'x.txt'"),
            // The newline follows after 300 ms, or at once.
            ("lines", &["-q", "--plain"], r"b'x.txt\n'"),
            ("lines", &["-q", "--plain", "--newline"], r"b'x.txt\n'"),
        ] {
            let (ours, asked) = against(kind, options, &root, &here);
            assert_eq!((ours.success(), ours.stderr.as_str()), (&b""[..], ""));
            assert!(here.read("copy") == file, "{kind}, {length} bytes");
            assert_eq!(asked, [request]);
        }
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn a_request_without_reply_is_repeated_in_the_plain_form() {
    let (root, here) = (Folder::new(), Folder::new());
    let file = noise(20_000);
    root.write("x.txt", &file);
    for (kind, options, why) in [
        ("once", &[][..], "the server closed the connection without a reply"),
        ("nul", &["--timeout", "2s"], "the server sent nothing in time"),
    ] {
        here.write("copy", "old");
        let (ours, asked) = against(kind, options, &root, &here);
        ours.success();
        assert!(here.read("copy") == file, "{kind}");
        assert_eq!(asked, [r"b'x.txt\x00v1\x000\n'", "b'x.txt'"]);
        let warning = format!("warning: {why}; {WARNING} (--checked forbids that)\n");
        assert!(ours.stderr.starts_with(&warning), "{ours:?}");
        assert!(ours.stderr.contains("not verified"), "{ours:?}");
    }
    let (ours, _) = against("once", &["--json", "-q"], &root, &here);
    let events = String::from_utf8_lossy(ours.success()).into_owned();
    assert!(events.contains(r#""event":"fallback""#) && events.contains(WARNING), "{events}");
    // This server has no such file, and nothing must be damaged.
    here.write("copy", "old");
    for (kind, why) in [
        (
            "closes",
            "the server closed the connection without a byte: no such file, or an empty one",
        ),
        ("resets", "the server reset the connection after 0 bytes"),
    ] {
        if !is_judged(kind) {
            continue;
        }
        let (ours, asked) = against(kind, &[], &root, &here);
        assert!(ours.last_failure(1).starts_with(why), "{ours:?}");
        assert_eq!((asked.len(), here.list()), (2, vec!["copy".into()]));
        assert_eq!(here.read("copy"), b"old");
    }
    std::fs::remove_file(root.path("x.txt")).unwrap();
    let (ours, _) = against("once", &["--allow-empty"], &root, &here);
    ours.success();
    assert_eq!(here.read("copy"), b"");
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn the_option_checked_prevents_the_plain_form() {
    let (root, here) = (Folder::new(), Folder::new());
    root.write("x.txt", "four score");
    here.write("copy", "old");
    for (kind, options, why) in [
        ("once", &["--checked"][..], "the server closed the connection without a reply"),
        ("resets", &["--checked"], "the server reset the connection without a reply"),
        ("nul", &["--checked", "--timeout", "1s"], "the server sent nothing in time"),
    ] {
        if !is_judged(kind) {
            continue;
        }
        let (ours, _) = against(kind, options, &root, &here);
        let line = ours.failure(1);
        assert!(line.starts_with(why) && line.contains("try --plain"), "{line}");
        assert_eq!((here.list(), here.read("copy")), (vec!["copy".into()], b"old".to_vec()));
    }
}

#[test]
fn a_request_that_cannot_be_repeated_safely_is_not_repeated() {
    let here = Folder::new();
    here.write("copy", "old");
    // The server may send a text of its own in either form.
    for words in [&b"File not found"[..], b"four score", b"ERROR\n", b"\0"] {
        let fake = FakeServer::new();
        let client = fetch(fake.addr, b"x.txt", &here.path("copy"), &[]).start();
        drop(answer(&fake, words));
        let failed = client.finish();
        let line = failed.failure(1);
        assert!(line.contains("its reply starts with") && line.contains("try --plain"), "{line}");
    }
    // A reply has started.
    for part in [&b"+\0"[..], b"-no such"] {
        let fake = FakeServer::new();
        let client = fetch(fake.addr, b"x.txt", &here.path("copy"), &[]).start();
        drop(answer(&fake, part));
        assert!(client.finish().failure(1).contains("in the middle of a message"));
    }
    assert_eq!((here.list(), here.read("copy")), (vec!["copy".into()], b"old".to_vec()));
    // A partial file is of no use in the plain form and is kept.
    here.write(".copy.part", "four");
    for end in [drop::<TcpStream>, reset] {
        let fake = FakeServer::new();
        let client = fetch(fake.addr, b"x.txt", &here.path("copy"), &["--resume"]).start();
        end(answer(&fake, b"").1);
        let failed = client.finish();
        assert!(failed.failure(1).contains("the connection without a reply"), "{failed:?}");
    }
    assert_eq!((here.read("copy"), here.read(".copy.part")), (b"old".to_vec(), b"four".to_vec()));
}

#[test]
fn a_server_that_ends_after_one_client_is_reported() {
    let here = Folder::new();
    let fake = FakeServer::new();
    let client = fetch(fake.addr, b"x.txt", &here.path("copy"), &[]).start();
    let (_, stream) = answer(&fake, b"");
    drop(fake);
    drop(stream);
    let failed = client.finish();
    let line = failed.last_failure(1);
    assert!(line.starts_with(
        "the server closed the connection without a reply, and the second attempt failed: "
    ));
    assert!(line.contains("connection refused") && line.ends_with("try --plain"), "{line}");
    assert_eq!(here.list(), [""; 0]);
}

#[test]
fn a_closed_stdout_after_the_plain_request_is_not_blamed_on_the_server() {
    let here = Folder::new();
    let fake = FakeServer::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let client = fetch(fake.addr, b"x.txt", &here.path("copy"), &["--json"]);
    let client = client.stdout(writer).start();
    drop(answer(&fake, b""));
    let mut events = BufReader::new(reader).lines().map(|line| line.expect("a line"));
    // The second connection uses the plain form.
    let plain = events.by_ref().filter(|line| line.contains(r#""connected""#)).nth(1);
    assert!(plain.is_some());
    drop(events);
    let mut stream = fake.accept();
    stream.read_exact(&mut [0; 5]).expect("a request");
    stream.write_all(b"all of it").expect("send the file");
    drop(stream);
    let failed = client.finish();
    assert_eq!(failed.last_failure(3), "standard output was closed before everything was written");
    assert_eq!(here.read("copy"), b"all of it");
}

#[test]
fn clients_written_in_c_get_their_file() {
    let root = Folder::new();
    let file = noise(50_000);
    root.write("x.txt", &file);
    let server = root.server();
    let padded = |length: usize| {
        let mut name = b"x.txt".to_vec();
        name.resize(length, 0);
        name
    };
    for request in [
        // Requests of strlen bytes, of strlen + 1 bytes, and of the whole buffer with what `fgets`
        // leaves in it.
        b"x.txt".to_vec(),
        padded(6),
        padded(100),
        padded(256),
        padded(1024),
        padded(1025),
        padded(8192),
        b"x.txt\n\0".to_vec(),
        b"x.txt\r\n\0\0".to_vec(),
        [b"x.txt\n".to_vec(), vec![0; 250]].concat(),
    ] {
        let length = request.len();
        let mut stream = server.connect();
        stream.write_all(&request).unwrap();
        assert!(read_all(&mut stream) == file, "a request of {length} bytes");
        // The same with a half-close.
        let mut stream = server.connect();
        stream.write_all(&request).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(read_all(&mut stream) == file, "a request of {length} bytes");
    }
    // Bytes that arrive late are read and dropped, however many.
    let mut stream = server.connect();
    stream.write_all(b"x.txt").unwrap();
    let mut first = [0; 1];
    stream.read_exact(&mut first).unwrap();
    let _ = stream.write_all(&vec![b'x'; 300_000]);
    assert!([first.to_vec(), read_all(&mut stream)].concat() == file);
}

/// Returns whether a connection ends with a reset. Otherwise it must end orderly.
fn is_reset(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(0) => false,
        Ok(n) => panic!("{n} bytes"),
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::ConnectionReset);
            true
        }
    }
}

#[test]
fn an_unfinished_request_is_never_answered_with_an_empty_file() {
    let root = Folder::new();
    root.write("x.txt", "four score");
    let server = Server::start("file", &["--root", root.0.to_str().unwrap(), "--timeout", "1s"]);
    for request in [&b""[..], b"\0", b"x.txt\0v1", b"x.txt\0v1\x001", &[0; 256]] {
        // At the idle timeout.
        let mut stream = server.connect();
        stream.write_all(request).unwrap();
        assert!(is_reset(&mut stream), "{}", request.escape_ascii());
        if !request.is_empty() {
            // At a half-close.
            let mut stream = server.connect();
            stream.write_all(request).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            assert!(is_reset(&mut stream), "{}", request.escape_ascii());
        }
    }
    // When the server stops, either with or without a grace period.
    for signal in [STOP, "KILL"] {
        let server = root.server();
        let mut streams: Vec<TcpStream> = [&b""[..], b"x.txt\0v1"]
            .map(|request| {
                let mut stream = server.connect();
                stream.write_all(request).unwrap();
                stream
            })
            .into();
        // When a later client has been served, the server has read all requests.
        let mut later = server.connect();
        later.write_all(b"x.txt\n").unwrap();
        assert_eq!(read_all(&mut later), b"four score");
        if signal == STOP {
            server.process.signal(signal);
            // The second signal ends it without a grace period.
            server.process.signal(signal);
            assert_eq!(server.process.finish().code, Some(0));
        } else {
            // The server is killed.
            drop(server);
        }
        for stream in &mut streams {
            assert!(is_reset(stream), "{signal}");
        }
    }
}

#[test]
fn a_size_sent_as_text_is_reported_and_cannot_be_resumed() {
    let here = Folder::new();
    here.write("copy", "old");
    let fake = FakeServer::new();
    let client = fetch(fake.addr, b"x.txt", &here.path("copy"), &[]).start();
    drop(answer(&fake, b"+OK sending the file"));
    let finished = client.finish();
    let line = finished.failure(1);
    assert!(
        line.contains("; that size is text: if the server uses the plain protocol, try --plain")
    );
    assert!(line.ends_with(", but they are useless"), "{line}");
    assert_eq!(here.read("copy"), b"old");
}
