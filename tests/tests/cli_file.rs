//! `socklab file`, both roles, and every fault that a fetch can meet.
#![cfg(unix)]

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::thread;

use socklab_tests::files::{Folder, answer, fetch, noise};
use socklab_tests::oracle::file_reply;
use socklab_tests::program::{
    DEADLINE, FakeServer, Program, STOP, Server, read_all, wait_until, without_quote,
};

/// Sends a request and returns the reply.
fn ask(server: &Server, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = server.connect();
    stream.write_all(request)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).map(|_| reply)
}

#[test]
fn a_file_is_transferred_completely_in_either_form() {
    let (root, here) = (Folder::new(), Folder::new());
    let server = root.server();
    for length in [0, 1, 1023, 1024, 1025, 300_000, 3_000_001] {
        let file = noise(length);
        root.write("data", &file);
        let plain = ["--quiet", "--plain", "--allow-empty"];
        for options in [&["--quiet"][..], &plain, &["--quiet", "--resume"]] {
            let done = fetch(server.addr, b"data", &here.path("copy"), options).run();
            assert_eq!((done.success(), done.stderr.as_str()), (&b""[..], ""), "{length}");
            assert!(here.read("copy") == file, "{length} bytes {options:?}");
            assert_eq!(here.list(), ["copy"]);
        }
    }
}

#[test]
fn the_result_is_reported_in_one_line() {
    let (root, here) = (Folder::new(), Folder::new());
    root.write("notes.txt", "123456789");
    let server = root.server();
    let done = fetch(server.addr, b"notes.txt", &here.path("n"), &[]).run();
    assert_eq!(done.success(), b"");
    assert!(
        done.stderr.contains("n: 9 bytes, ") && done.stderr.contains("CRC-32 cbf43926 verified")
    );
    let plain = fetch(server.addr, b"notes.txt", &here.path("n"), &["--plain"]).run();
    assert!(plain.stderr.contains("not verified: the plain protocol has no checksum"), "{plain:?}");
    let json = fetch(server.addr, b"notes.txt", &here.path("n"), &["--json"]).run();
    let text = String::from_utf8_lossy(json.success()).into_owned();
    assert!(text.contains(r#""event":"file""#) && text.contains(r#""crc32":"cbf43926""#), "{text}");
    server.process.wait_for(r#""notes.txt" checked, 9 of 9 bytes sent, complete"#);
    server.process.wait_for(r#""notes.txt" plain, 9 of 9 bytes sent, complete"#);
    let stdout = fetch(server.addr, b"notes.txt", Path::new("-"), &["--quiet"]).run();
    assert_eq!(stdout.success(), b"123456789");
}

#[test]
fn without_an_address_the_current_folder_is_served() {
    let here = Folder::new();
    here.write("a.txt", "four score");
    let line = format!("cd '{}' && exec \"$@\"", here.0.display());
    let run = |args: &[&str]| Program::in_shell(&line, &[&["file", "client"], args].concat()).run();
    let done = run(&["a.txt", "b.txt"]);
    assert_eq!(done.success(), b"");
    assert!(done.stderr.starts_with("no address given: a built-in file server runs on 127.0.0.1:"));
    assert_eq!(here.read("b.txt"), b"four score");
    // The file keeps its own name, in this folder.
    let server = here.server();
    let sub = Folder::new();
    let line = format!("cd '{}' && exec \"$@\"", sub.0.display());
    let remote = format!("{}:./a.txt", server.addr);
    Program::in_shell(&line, &["file", "client", &remote]).run().success();
    assert_eq!(sub.list(), ["a.txt"]);
}

#[test]
fn a_trace_shows_every_message_and_does_not_change_the_file() {
    let (root, here) = (Folder::new(), Folder::new());
    let file = noise(200_000);
    root.write("data", &file);
    let server = Server::start("file", &["--trace", "--root", root.0.to_str().unwrap()]);
    let done = fetch(server.addr, b"data", &here.path("d"), &["--trace"]).run();
    done.success();
    for text in
        ["fetch \"data\", checked", "+ a file of 200000 bytes", "bytes of the file", "CRC-32 "]
    {
        assert!(done.stderr.contains(text), "{text}: {}", done.stderr);
        server.process.wait_for(text);
    }
    assert!(here.read("d") == file);
    // With --resume the trace shows the offset that was requested.
    here.write(".d.part", &file[..150_000]);
    let done = fetch(server.addr, b"data", &here.path("d"), &["--trace", "--resume"]).run();
    done.success();
    assert!(done.stderr.contains("checked, from byte 150000 on"), "{}", done.stderr);
    assert!(!done.stderr.contains("not a message"), "{}", done.stderr);
    // A plain file may start like a message of the checked form.
    root.write("plus", "+12345678 is no size");
    let done = fetch(server.addr, b"plus", &here.path("p"), &["--trace", "--plain"]).run();
    assert!(done.stderr.contains("20 bytes of the file"), "{}", done.stderr);
}

#[test]
fn simple_clients_get_their_file() {
    let root = Folder::new();
    let file = noise(100_000);
    root.write("data", &file);
    let server = root.server();
    assert!(ask(&server, b"data\n").unwrap() == file);
    assert!(ask(&server, b"data\r\n").unwrap() == file);
    // Without a newline, then idle.
    assert!(ask(&server, b"data").unwrap() == file);
    // Without a newline, then a half-close.
    let mut stream = server.connect();
    stream.write_all(b"data").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_all(&mut stream) == file);
    // Byte by byte.
    let mut stream = server.connect();
    for byte in b"data\0v1\x0099990\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    assert!(read_all(&mut stream) == file_reply(&file, 99_990));
    // Bytes after the request are ignored and do no harm.
    let mut stream = server.connect();
    stream.write_all(&[b"data\n".to_vec(), vec![b'x'; 100_000]].concat()).unwrap();
    assert!(read_all(&mut stream) == file);
}

#[test]
#[cfg_attr(
    feature = "windows",
    ignore = "Unix: symbolic links, pipes and sockets as files; tests/windows.rs has the names of Windows"
)]
fn only_regular_files_under_the_root_are_served() {
    let (outside, root, here) = (Folder::new(), Folder::new(), Folder::new());
    outside.write("secret", "secret");
    root.write("data", "data");
    fs::create_dir(root.path("sub")).unwrap();
    symlink(outside.path("secret"), root.path("out")).unwrap();
    symlink("/etc", root.path("etc")).unwrap();
    symlink("sub/../data", root.path("in")).unwrap();
    symlink("loop", root.path("loop")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(root.path("fifo")).status();
    assert!(made.is_ok_and(|status| status.success()));
    let _socket = std::os::unix::net::UnixListener::bind(root.path("socket")).unwrap();
    let up = format!("../{}/secret", outside.0.file_name().unwrap().to_str().unwrap());
    let absolute = outside.path("secret");
    let server = root.server();
    let outside_of = "path is outside the served folder";
    for (name, why) in [
        (up.as_bytes(), outside_of),
        (absolute.as_os_str().as_bytes(), outside_of),
        (b"/etc/passwd", outside_of),
        (b"..", outside_of),
        (b"out", outside_of),
        (b"etc/passwd", outside_of),
        (b"sub/../../data", outside_of),
        (b"sub", "is a folder"),
        (b".", "is a folder"),
        (b"fifo", "not a regular file"),
        (b"socket", "not a regular file"),
        (b"nope", "no such file"),
        (b"data/x", "no such file"),
        (b"\xff\xfe", "no such file"),
        (b"\x1b[31m\xe2\x80\xae", "no such file"),
        (b"loop", ""),
    ] {
        let failed = fetch(server.addr, name, &here.path("x"), &[]).run();
        let expected = format!("the server refused: {why}");
        assert!(failed.failure(1).starts_with(&expected), "{failed:?}");
        // The plain form can only report it with a reset.
        let reset = ask(&server, &[name, b"\n"].concat());
        assert!(reset.is_err(), "{}: {reset:?}", name.escape_ascii());
        assert_eq!(here.list(), [""; 0]);
    }
    for name in ["in", "sub/../data", "./data"] {
        fetch(server.addr, name.as_bytes(), &here.path("x"), &[]).run().success();
        assert_eq!(here.read("x"), b"data");
    }
    // The log shows names without control characters.
    server.process.wait_for(r#""\x1b[31m\u{202e}" checked, refused: no such file"#);
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: a file name of any bytes")]
fn a_name_that_is_not_utf_8_is_requested_unchanged() {
    let (root, here) = (Folder::new(), Folder::new());
    let name = b"caf\xe9 \x01";
    if fs::write(root.0.join(OsStr::from_bytes(name)), "latin").is_err() {
        // A file system that allows only Unicode names has no such file.
        return;
    }
    let server = root.server();
    fetch(server.addr, name, &here.path("x"), &["-q"]).run().success();
    assert_eq!(here.read("x"), b"latin");
}

#[test]
fn names_that_do_not_fit_in_a_line_are_usage_errors() {
    let here = Folder::new();
    let fake = FakeServer::new();
    for name in [vec![b'x'; 5000], b"two\nlines".to_vec(), vec![b'x'; 1020]] {
        let failed = fetch(fake.addr, &name, &here.path("x"), &[]).run();
        assert!(failed.failure(2).contains("REMOTE cannot be requested"), "{failed:?}");
    }
}

#[test]
fn an_invalid_request_is_reset_and_the_server_continues() {
    let root = Folder::new();
    root.write("data", "data");
    let server = root.server();
    for request in
        [&b"\n"[..], &[b'x'; 5000], &vec![b'x'; 1 << 20], b"data\0v2\x000\n", b"\0v1\x000\n"]
    {
        let mut stream = server.connect();
        // The OS reports a reset once. If it arrives before everything was sent, the write gets it.
        let reset = stream.write_all(request).and_then(|()| stream.read(&mut [0; 64]));
        assert!(reset.is_err(), "{}: {reset:?}", request.len());
    }
    server.process.wait_for("the request is too long, its first 1025 bytes have no newline");
    assert_eq!(ask(&server, b"data\n").unwrap(), b"data");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: file modes, symbolic links, /proc")]
fn a_target_that_cannot_be_written_is_reported_before_the_request() {
    let here = Folder::new();
    fs::create_dir(here.path("sub")).unwrap();
    here.write("fixed", "old");
    fs::set_permissions(here.path("fixed"), fs::Permissions::from_mode(0o444)).unwrap();
    symlink("nowhere", here.path("dangling")).unwrap();
    let before = here.list();
    // Nothing accepts connections here, so the client must fail before it connects.
    let fake = FakeServer::new();
    for (local, why) in [
        ("sub", "is a directory"),
        ("sub/..", "is a directory"),
        ("fixed", "permission denied"),
        ("fixed/x", "not a directory"),
        ("none/x", "no such file or directory"),
        ("dangling", "no such file or directory"),
    ] {
        let failed = fetch(fake.addr, b"data", &here.path(local), &[]).run();
        let line = failed.failure(3);
        assert!(line.starts_with("cannot write ") && line.ends_with(why), "{local}: {line}");
        assert!(!line.contains(".part"), "{line}");
    }
    // No user may create files in this folder, not even root.
    let failed = fetch(fake.addr, b"data", Path::new("/proc/x"), &[]).run();
    assert!(failed.failure(3).starts_with("cannot write /proc/x: "), "{failed:?}");
    assert_eq!(here.list(), before);
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: file modes")]
fn a_read_only_folder_is_reported() {
    let here = Folder::new();
    fs::set_permissions(&here.0, fs::Permissions::from_mode(0o555)).unwrap();
    let is_superuser = fs::write(here.path("probe"), "").is_ok();
    let _ = fs::remove_file(here.path("probe"));
    let closed_addr = FakeServer::new().addr;
    let failed = fetch(closed_addr, b"data", &here.path("x"), &[]).run();
    if is_superuser {
        // For root no folder is read-only, so the client connects and is refused.
        assert!(failed.failure(3).contains("connection refused"), "{failed:?}");
    } else {
        assert!(failed.failure(3).ends_with("permission denied"), "{failed:?}");
    }
    assert_eq!(here.list(), [""; 0]);
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: ulimit and /dev/full")]
fn a_full_disk_is_reported_in_one_line_and_the_old_file_is_kept() {
    let (root, here) = (Folder::new(), Folder::new());
    root.write("data", noise(1 << 20));
    here.write("copy", "old");
    let server = root.server();
    let remote = format!("{}:data", server.addr);
    let local = here.path("copy");
    for form in [&[][..], &["--plain"]] {
        // To the program this looks like a disk with 128 KiB of free space.
        let args = [&["file", "client", &remote, local.to_str().unwrap()], form].concat();
        let line = "trap '' XFSZ; ulimit -f 256; exec \"$@\"";
        let failed = Program::in_shell(line, &args).run();
        assert!(failed.failure(3).contains("cannot write "), "{failed:?}");
        assert!(failed.stderr.contains("file too large"), "{failed:?}");
        assert_eq!(here.read("copy"), b"old");
        // The partial file is kept if the form allows a resume.
        let part = fs::metadata(here.path(".copy.part")).ok();
        assert_eq!(part.is_some(), form.is_empty(), "{:?}", here.list());
        let failed = fetch(server.addr, b"data", Path::new("/dev/full"), form).run();
        let expected = "cannot write /dev/full: no space left on device";
        assert_eq!(failed.failure(3), expected);
        let _ = fs::remove_file(here.path(".copy.part"));
    }
    fetch(server.addr, b"data", Path::new("/dev/null"), &["-q"]).run().success();
}

#[test]
fn an_interrupted_fetch_can_be_resumed() {
    let (root, here) = (Folder::new(), Folder::new());
    let file = noise(500_000);
    root.write("data", &file);
    here.write("copy", "old");
    let fake = FakeServer::new();
    let client = fetch(fake.addr, b"data", &here.path("copy"), &[]).start();
    let (request, stream) = answer(&fake, &file_reply(&file, 0)[..200_009]);
    assert_eq!(request, b"data\0v1\x000\n");
    drop(stream);
    let failed = client.finish();
    let line = failed.failure(1);
    assert!(
        line.starts_with(
            "the server closed the connection after 200000 of 500000 bytes of the file; 200000 bytes kept in "
        ) && line.ends_with(".copy.part; use --resume to continue"),
        "{line}"
    );
    assert_eq!(here.list(), [".copy.part", "copy"]);
    assert_eq!(here.read("copy"), b"old");
    // Any server can be used to resume, and only the missing bytes are sent.
    let server = root.server();
    let done = fetch(server.addr, b"data", &here.path("copy"), &["--resume"]).run();
    done.success();
    assert!(done.stderr.contains("500000 bytes, resumed at byte 200000"), "{done:?}");
    assert!(here.read("copy") == file);
    assert_eq!(here.list(), ["copy"]);
    server.process.wait_for("300000 of 500000 bytes sent from offset 200000, complete");
}

#[test]
fn a_resume_with_the_wrong_partial_file_is_detected() {
    let (root, here) = (Folder::new(), Folder::new());
    let file = noise(50_000);
    root.write("data", &file);
    here.write("copy", "old");
    let server = root.server();
    // The partial file is the start of another file.
    here.write(".copy.part", vec![7; 20_000]);
    let failed = fetch(server.addr, b"data", &here.path("copy"), &["--resume"]).run();
    let line = failed.failure(1);
    assert!(line.contains("the kept part is not the start of this file"), "{line}");
    assert!(line.contains("all of it was discarded"), "{line}");
    assert_eq!((here.list(), here.read("copy")), (vec!["copy".to_owned()], b"old".to_vec()));
    // The partial file is longer than the file.
    here.write(".copy.part", vec![7; 50_001]);
    let failed = fetch(server.addr, b"data", &here.path("copy"), &["--resume"]).run();
    assert!(
        failed.failure(1).contains("if they belong to another file, fetch it without --resume"),
        "{failed:?}"
    );
    // The partial file is complete and only has to be renamed.
    here.write(".copy.part", &file);
    fetch(server.addr, b"data", &here.path("copy"), &["--resume"]).run().success();
    assert!(here.read("copy") == file);
    // Without --resume the partial file is discarded.
    here.write(".copy.part", vec![7; 60_000]);
    fetch(server.addr, b"data", &here.path("copy"), &[]).run().success();
    assert_eq!(here.list(), ["copy"]);
}

#[test]
fn ctrl_c_keeps_the_bytes_received() {
    let here = Folder::new();
    let file = noise(300_000);
    for (form, left) in [(&[][..], 1), (&["--plain"], 0)] {
        let fake = FakeServer::new();
        let client = fetch(fake.addr, b"data", &here.path("copy"), form).start();
        let reply = if left == 0 {
            file[..100_000].to_vec()
        } else {
            file_reply(&file, 0)[..100_009].to_vec()
        };
        let (_, _stream) = answer(&fake, &reply);
        let part = here.path(".copy.part");
        let arrived = wait_until(DEADLINE, || {
            fs::metadata(&part).ok().filter(|found| found.len() == 100_000)
        });
        assert!(arrived.is_some(), "the bytes do not arrive");
        client.signal("INT");
        let failed = client.finish();
        assert!(failed.failure(130).starts_with("interrupted"), "{failed:?}");
        assert_eq!(here.list().len(), left);
        let _ = fs::remove_file(part);
    }
}

#[test]
fn a_byte_that_changes_in_transit_is_detected() {
    let (root, here) = (Folder::new(), Folder::new());
    let file = noise(400_000);
    root.write("data", &file);
    here.write("copy", "old");
    let server = root.server();
    // A proxy flips one bit in the size, in the body or in the checksum.
    for at in [9, 200_000, 400_008, 400_012] {
        let proxy = FakeServer::new();
        let client = fetch(proxy.addr, b"data", &here.path("copy"), &[]).start();
        let mut upstream = server.connect();
        let mut stream = proxy.accept();
        let mut request = [0; 10];
        stream.read_exact(&mut request).unwrap();
        upstream.write_all(&request).unwrap();
        let mut reply = read_all(&mut upstream);
        assert_eq!(reply.len(), 400_013);
        reply[at] ^= 0x10;
        stream.write_all(&reply).unwrap();
        drop(stream);
        let failed = client.finish();
        assert!(failed.failure(1).starts_with("checksum mismatch: the server sent "), "{failed:?}");
        assert_eq!((here.list(), here.read("copy")), (vec!["copy".to_owned()], b"old".to_vec()));
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the sockets of a killed process may stay open")]
fn a_killed_server_causes_an_error_in_either_form() {
    let (root, here) = (Folder::new(), Folder::new());
    let big = fs::File::create(root.path("big")).unwrap();
    // A sparse file: far larger than the socket buffers, without using the disk.
    big.set_len(1 << 32).unwrap();
    for form in [&[][..], &["--plain"]] {
        let server = root.server();
        // The client stops reading, so the server is in the middle of the file for as long as it
        // runs.
        let mut stream = server.connect();
        let request: &[u8] = if form.is_empty() { b"big\0v1\x000\n" } else { b"big\n" };
        stream.write_all(request).unwrap();
        stream.read_exact(&mut [0; 5000]).unwrap();
        drop(server);
        let mut sink = std::io::sink();
        let ended = std::io::copy(&mut stream, &mut sink);
        assert!(ended.is_err(), "an orderly close in the middle: {ended:?}");

        let server = root.server();
        let client = fetch(server.addr, b"big", &here.path("copy"), form).start();
        let part = here.path(".copy.part");
        let arrived =
            wait_until(DEADLINE, || fs::metadata(&part).ok().filter(|found| found.len() > 0));
        assert!(arrived.is_some(), "nothing arrives");
        drop(server);
        let failed = client.finish();
        assert!(
            failed.failure(1).starts_with("the server reset the connection after "),
            "{failed:?}"
        );
        assert_eq!(here.list().len(), usize::from(form.is_empty()), "{:?}", here.list());
        let _ = fs::remove_file(&part);
    }
}

#[test]
fn a_stopped_server_resets_unfinished_transfers() {
    let root = Folder::new();
    fs::File::create(root.path("big")).unwrap().set_len(1 << 32).unwrap();
    let server = root.server();
    let mut stream = server.connect();
    stream.write_all(b"big\n").unwrap();
    stream.read_exact(&mut [0; 5000]).unwrap();
    server.process.signal(STOP);
    // The second signal ends it without a grace period.
    server.process.signal(STOP);
    assert!(std::io::copy(&mut stream, &mut std::io::sink()).is_err());
    let stopped = server.process.finish();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(stopped.stderr.contains("the server stopped"), "{stopped:?}");
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_sent_unchanged_or_reset() {
    let root = Folder::new();
    let length = 64 << 20;
    for form in ["checked", "plain"] {
        let request: &[u8] = if form == "plain" { b"data\n" } else { b"data\0v1\x000\n" };
        let begin = |server: &Server| {
            fs::File::create(root.path("data")).unwrap().set_len(length).unwrap();
            let mut stream = server.connect();
            stream.write_all(request).unwrap();
            stream.read_exact(&mut [0; 9]).unwrap();
            stream
        };
        let server = root.server();
        // Shortened: the server can only reset.
        let mut stream = begin(&server);
        fs::OpenOptions::new().write(true).open(root.path("data")).unwrap().set_len(1000).unwrap();
        assert!(std::io::copy(&mut stream, &mut std::io::sink()).is_err());
        server.process.wait_for("reset: the file became shorter while it was sent");
        // Extended: the file is sent with its original length.
        let mut stream = begin(&server);
        let mut file = fs::OpenOptions::new().append(true).open(root.path("data")).unwrap();
        file.write_all(b"more").unwrap();
        let rest = read_all(&mut stream);
        let crc = if form == "plain" { 0 } else { 4 + 9 };
        assert_eq!(rest.len() as u64 + 9, length + crc);
        // Replaced: the original file is sent to its end.
        let mut stream = begin(&server);
        root.write("new", b"another file");
        fs::rename(root.path("new"), root.path("data")).unwrap();
        assert_eq!(read_all(&mut stream).len() as u64 + 9, length + crc);
    }
}

#[test]
fn a_reply_in_the_plain_form_gets_a_hint() {
    let here = Folder::new();
    let hint = "; if the server uses the plain protocol, try --plain";
    for (reply, sentence) in [
        (&b""[..], "the server closed the connection without a reply"),
        (
            b"four score",
            "the server broke the protocol: its reply starts with the byte 0x66 ('f'), expected '+' or '-'",
        ),
    ] {
        let fake = FakeServer::new();
        let client = fetch(fake.addr, b"data", &here.path("x"), &["--checked"]).start();
        drop(answer(&fake, reply));
        let failed = client.finish();
        assert_eq!(without_quote(failed.failure(1)), format!("{sentence}{hint}"));
    }
    let fake = FakeServer::new();
    let client =
        fetch(fake.addr, b"data", &here.path("x"), &["--checked", "--timeout", "300ms"]).start();
    let (_, _stream) = answer(&fake, b"");
    let failed = client.finish();
    let sentence = "the server sent nothing in time (300ms; --timeout changes that)";
    assert_eq!(without_quote(failed.failure(1)), format!("{sentence}{hint}"));
    assert_eq!(here.list(), [""; 0]);
}

#[test]
fn text_of_a_server_is_escaped_on_a_terminal() {
    let here = Folder::new();
    let fake = FakeServer::new();
    let client = fetch(fake.addr, b"data", &here.path("x"), &[]).start();
    drop(answer(&fake, b"-\x1b]0;x\x07\xe2\x80\xae\xff\n"));
    let failed = client.finish();
    assert_eq!(failed.failure(1), r"the server refused: \x1b]0;x\x07\u{202e}\xff");
    // One MiB without a newline.
    let fake = FakeServer::new();
    let client = fetch(fake.addr, b"data", &here.path("x"), &[]).start();
    let writer = thread::spawn(move || {
        let mut stream = fake.accept();
        let _ = stream.write_all(b"-");
        let _ = stream.write_all(&vec![b'x'; 1 << 20]);
    });
    let failed = client.finish();
    assert!(failed.failure(1).contains("a line is too long"), "{failed:?}");
    writer.join().unwrap();
}

#[test]
fn two_fetches_to_one_file_do_not_mix() {
    let here = Folder::new();
    let fake = FakeServer::new();
    let first = fetch(fake.addr, b"data", &here.path("copy"), &["-q"]).start();
    let (_, mut stream) = answer(&fake, b"");
    let second = fetch(fake.addr, b"data", &here.path("copy"), &[]).run();
    assert!(second.failure(3).ends_with("another transfer is writing it"), "{second:?}");
    stream.write_all(&file_reply(b"four score", 0)).unwrap();
    drop(stream);
    first.finish().success();
    assert_eq!((here.list(), here.read("copy")), (vec!["copy".to_owned()], b"four score".to_vec()));
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: file modes, symbolic links")]
fn the_new_file_keeps_the_mode_of_the_old_one_and_symbolic_links_are_followed() {
    let (root, here) = (Folder::new(), Folder::new());
    root.write("data", "new");
    here.write("real", "old");
    fs::set_permissions(here.path("real"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("real", here.path("link")).unwrap();
    let server = root.server();
    fetch(server.addr, b"data", &here.path("link"), &["-q"]).run().success();
    assert_eq!(here.list(), ["link", "real"]);
    assert!(fs::symlink_metadata(here.path("link")).unwrap().is_symlink());
    assert_eq!(here.read("real"), b"new");
    assert_eq!(fs::metadata(here.path("real")).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn slow_clients_delay_no_other_client_and_memory_does_not_grow() {
    let root = Folder::new();
    fs::File::create(root.path("big")).unwrap().set_len(8 << 30).unwrap();
    root.write("small", "small");
    let server = root.server();
    // These clients request a large file and read nothing.
    let slow: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"big\0v1\x000\n").unwrap();
            stream
        })
        .collect();
    // This client reads as fast as it can.
    let mut fast = server.connect();
    fast.write_all(b"big\n").unwrap();
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while matches!(fast.read(&mut buffer), Ok(1..)) {}
    });
    for _ in 0..50 {
        assert_eq!(ask(&server, b"small\n").unwrap(), b"small");
    }
    // Wine needs memory of its own.
    #[cfg(all(target_os = "linux", not(feature = "windows")))]
    assert!(server.process.memory("VmHWM") < 64 << 20, "{}", server.process.memory("VmHWM"));
    drop(slow);
    drop(server);
    reader.join().unwrap();
}

#[test]
fn a_root_that_cannot_be_served_is_reported() {
    let here = Folder::new();
    here.write("file", "");
    for (root, why) in [("none", "no such file or directory"), ("file", "not a directory")] {
        let root = here.path(root);
        let failed =
            Program::socklab(&["file", "server", "0", "--root", root.to_str().unwrap()]).run();
        let line = failed.failure(3);
        assert!(line.starts_with("cannot serve the folder ") && line.ends_with(why), "{line}");
    }
}
