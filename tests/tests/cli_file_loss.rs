//! What `socklab file client` must never damage: LOCAL, the files behind open descriptors, and
//! files of others.
#![cfg(unix)]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use socklab_tests::files::{Folder, answer, fetch, noise};
use socklab_tests::oracle::file_reply;
use socklab_tests::program::{FakeServer, Program, Server, reset};

#[test]
fn a_plain_transfer_without_a_byte_does_not_change_local() {
    let here = Folder::new();
    here.write("have", "old");
    let ask = |local: &Path, options: &[&str]| {
        let fake = FakeServer::new();
        let client = fetch(fake.addr, b"y.txt", local, options).start();
        drop(answer(&fake, b""));
        client.finish()
    };
    for local in [here.path("have"), here.path("new"), "-".into(), "/dev/stdout".into()] {
        if cfg!(feature = "windows") && local.starts_with("/dev") {
            continue;
        }
        let failed = ask(&local, &["--plain"]);
        assert_eq!(
            failed.failure(1),
            "the server closed the connection without a byte: no such file, or an empty one; \
             use --allow-empty to accept an empty file"
        );
        assert_eq!((here.list(), here.read("have")), (vec!["have".into()], b"old".to_vec()));
    }
    ask(&here.path("have"), &["--plain", "--allow-empty"]).success();
    assert_eq!((here.list(), here.read("have")), (vec!["have".to_owned()], vec![]));
    // In the checked form an empty file is known to be empty.
    here.write("have", "old");
    let fake = FakeServer::new();
    let client = fetch(fake.addr, b"y.txt", &here.path("have"), &["-q"]).start();
    drop(answer(&fake, &file_reply(b"", 0)));
    client.finish().success();
    assert_eq!(here.read("have"), b"");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: a reset can arrive as an orderly end")]
fn a_plain_transfer_that_is_reset_does_not_change_local() {
    let here = Folder::new();
    here.write("have", "old");
    for bytes in [&b""[..], b"x", &noise(100_000)] {
        let fake = FakeServer::new();
        let client = fetch(fake.addr, b"y.txt", &here.path("have"), &["--plain"]).start();
        let (_, stream) = answer(&fake, bytes);
        reset(stream);
        let failed = client.finish();
        assert!(failed.failure(1).starts_with("the server reset the connection"), "{failed:?}");
        assert_eq!((here.list(), here.read("have")), (vec!["have".into()], b"old".to_vec()));
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: hard links, symbolic links and named pipes")]
fn a_partial_file_that_others_may_control_is_not_used() {
    let here = Folder::new();
    here.write("have", "old");
    let part = here.path(".have.part");
    let closed_addr = FakeServer::new().addr;
    type Plant<'p> = &'p dyn Fn();
    let plants: [(Plant<'_>, &str); 4] = [
        (
            &|| {
                here.write("elsewhere", "planted");
                fs::hard_link(here.path("elsewhere"), &part).unwrap();
            },
            "has another hard link",
        ),
        (&|| symlink(here.path("elsewhere"), &part).unwrap(), "not a regular file"),
        (&|| fs::create_dir(&part).unwrap(), "not a regular file"),
        (
            &|| {
                let made = std::process::Command::new("mkfifo").arg(&part).status();
                assert!(made.is_ok_and(|status| status.success()));
            },
            "not a regular file",
        ),
    ];
    for (plant, why) in plants {
        plant();
        let before = (here.list(), fs::symlink_metadata(&part).unwrap().ino());
        for form in [&[][..], &["--resume"], &["--plain"]] {
            let failed = fetch(closed_addr, b"data", &here.path("have"), form).run();
            let line = failed.failure(3);
            assert!(line.contains(&format!(".have.part: {why}; remove it, or ")), "{line}");
            let after = (here.list(), fs::symlink_metadata(&part).unwrap().ino());
            assert_eq!(before, after);
        }
        let _ = fs::remove_file(&part).or_else(|_| fs::remove_dir(&part));
    }
    assert_eq!((here.read("have"), here.read("elsewhere")), (b"old".to_vec(), b"planted".to_vec()));
}

#[test]
#[cfg_attr(
    all(not(superuser), not(feature = "windows")),
    ignore = "needs the superuser, to give a file to another user"
)]
#[cfg_attr(feature = "windows", ignore = "Unix: the owner of a file")]
fn a_partial_file_of_another_user_is_not_used() {
    let here = Folder::new();
    here.write("have", "old");
    here.write(".have.part", "planted");
    let part = here.path(".have.part");
    fs::set_permissions(&part, fs::Permissions::from_mode(0o666)).unwrap();
    std::os::unix::fs::chown(&part, Some(65_534), Some(65_534)).unwrap();
    let closed_addr = FakeServer::new().addr;
    for form in [&[][..], &["--resume"], &["--plain"]] {
        let failed = fetch(closed_addr, b"data", &here.path("have"), form).run();
        let line = failed.failure(3);
        assert!(line.contains("belongs to another user; remove it, or choose "), "{line}");
        assert_eq!((here.read("have"), here.read(".have.part").len()), (b"old".to_vec(), 7));
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: file modes")]
fn a_process_with_an_old_partial_file_open_cannot_read_the_new_one() {
    let (root, here) = (Folder::new(), Folder::new());
    root.write("data", "secret");
    let server = root.server();
    here.write(".have.part", "left");
    fs::set_permissions(here.path(".have.part"), fs::Permissions::from_mode(0o666)).unwrap();
    let mut open = fs::File::open(here.path(".have.part")).unwrap();
    fetch(server.addr, b"data", &here.path("have"), &["-q"]).run().success();
    let mut seen = String::new();
    open.read_to_string(&mut seen).unwrap();
    assert_eq!((seen.as_str(), here.read("have").as_slice()), ("left", &b"secret"[..]));
    assert_eq!(fs::metadata(here.path("have")).unwrap().permissions().mode() & 0o022, 0);
}

/// Runs a line of shell in which `"$@"` fetches `data` to `local`.
fn shell(server: &Server, line: &str, local: &str, form: &[&str]) -> Program {
    let remote = format!("{}:data", server.addr);
    let mut args = vec!["file", "client", "-q"];
    args.extend(form);
    args.extend([remote.as_str(), local]);
    args.retain(|arg| !arg.is_empty());
    Program::in_shell(line, &args)
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: names of descriptors")]
fn every_name_of_an_open_descriptor_is_written_to_and_not_replaced() {
    let (root, here) = (Folder::new(), Folder::new());
    let file = noise(200_000);
    root.write("data", &file);
    let server = root.server();
    symlink("/dev/stdout", here.path("link")).unwrap();
    symlink("link", here.path("link to link")).unwrap();
    let text = |name: &str| here.path(name).to_str().unwrap().to_owned();
    let out = text("out");
    for (local, number) in [
        ("/dev/stdout".to_owned(), 1),
        ("/dev/stderr".to_owned(), 2),
        ("/dev/fd/1".to_owned(), 1),
        ("/dev/fd/7".to_owned(), 7),
        ("-".to_owned(), 1),
        (text("link"), 1),
        (text("link to link"), 1),
        #[cfg(target_os = "linux")]
        ("/proc/self/fd/1".to_owned(), 1),
        #[cfg(target_os = "linux")]
        ("/proc/thread-self/fd/7".to_owned(), 7),
    ] {
        for redirect in [">", ">>"] {
            for form in ["", "--plain"] {
                here.write("out", "old");
                let inode = fs::metadata(&out).unwrap().ino();
                let line = format!(
                    "exec {number}{redirect}'{out}'; printf before >&{number}; \"$@\" && printf after >&{number}"
                );
                shell(&server, &line, &local, &[form]).run().success();
                let old: &[u8] = if redirect == ">" { b"" } else { b"old" };
                let expected = [old, b"before", &file, b"after"].concat();
                assert!(here.read("out") == expected, "{local} {redirect} {form}");
                assert_eq!(fs::metadata(&out).unwrap().ino(), inode, "{local}");
                assert_eq!(here.list(), ["link", "link to link", "out"]);
            }
        }
    }
    // A descriptor of another process: its content is kept, and the file is not replaced.
    #[cfg(target_os = "linux")]
    {
        let line = format!("exec 7>'{out}'; printf before >&7; \"$@\" /proc/$$/fd/7");
        let inode = fs::metadata(&out).unwrap().ino();
        shell(&server, &line, "", &[]).run().success();
        assert!(here.read("out") == [b"before", &file[..]].concat());
        assert_eq!(fs::metadata(&out).unwrap().ino(), inode);
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: names of descriptors")]
fn a_descriptor_that_cannot_be_written_is_reported_before_the_request() {
    let here = Folder::new();
    here.write("in", "input");
    let fake = FakeServer::new();
    let remote = format!("{}:data", fake.addr);
    let input = here.path("in");
    for (line, local, why) in [
        ("exec \"$@\" 7<\"$IN\"", "/dev/fd/7", "open for reading only"),
        ("exec \"$@\"", "/dev/fd/77", "bad file descriptor"),
    ] {
        let args = ["file", "client", &remote, local];
        let program = Program::in_shell(line, &args).env("IN", input.to_str().unwrap());
        let failed = program.run();
        assert_eq!(failed.failure(3), format!("cannot write {local}: {why}"));
    }
    assert_eq!(here.read("in"), b"input");
}

#[test]
fn events_and_a_file_do_not_share_standard_output() {
    let here = Folder::new();
    let closed_addr = FakeServer::new().addr.to_string() + ":data";
    let out = here.path("out");
    for local in ["-", "/dev/stdout", "/dev/fd/1", out.to_str().unwrap()] {
        // Descriptors have no names on Windows, and Wine does not report the identity of an inherited file.
        if cfg!(feature = "windows") && local != "-" {
            continue;
        }
        let line = format!("exec \"$@\" >'{}'", out.display());
        let failed =
            Program::in_shell(&line, &["file", "client", "--json", &closed_addr, local]).run();
        assert!(failed.failure(2).starts_with("--json writes to standard output"), "{failed:?}");
    }
    assert_eq!(here.list(), ["out"]);
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: symbolic and hard links")]
fn the_built_in_server_does_not_fetch_a_file_onto_itself() {
    let here = Folder::new();
    here.write("notes.txt", "four score");
    symlink("notes.txt", here.path("link")).unwrap();
    fs::hard_link(here.path("notes.txt"), here.path("second")).unwrap();
    let inode = fs::metadata(here.path("notes.txt")).unwrap().ino();
    let run = |rest: &str, args: &[&str]| {
        let line = format!("cd '{}' && exec \"$@\" {rest}", here.0.display());
        Program::in_shell(&line, &[&["file", "client"], args].concat()).run()
    };
    for (rest, args) in [
        ("", &["notes.txt"][..]),
        ("", &["notes.txt", "--plain"]),
        ("", &["notes.txt", "--resume"]),
        ("", &["notes.txt", "./notes.txt"]),
        ("", &["notes.txt", "link"]),
        ("", &["link", "notes.txt"]),
        ("", &["notes.txt", "second"]),
        (">>notes.txt", &["notes.txt", "-"]),
        (">>notes.txt", &["notes.txt", "/dev/stdout"]),
    ] {
        let failed = run(rest, args);
        assert!(failed.failure(2).starts_with("LOCAL and REMOTE are the same file"), "{failed:?}");
        assert_eq!(here.read("notes.txt"), b"four score");
        assert_eq!(fs::metadata(here.path("notes.txt")).unwrap().ino(), inode);
        assert_eq!(here.list(), ["link", "notes.txt", "second"]);
    }
    run("", &["notes.txt", "copy"]).success();
    assert_eq!(here.read("copy"), b"four score");
}

#[test]
fn a_page_or_a_capture_does_not_take_the_place_of_the_file() {
    let here = Folder::new();
    here.write("notes.txt", "four score");
    let closed_addr = FakeServer::new().addr.to_string() + ":data";
    let line = format!("cd '{}' && exec \"$@\"", here.0.display());
    for option in ["--html", "--pcap"] {
        for (remote, local, file, name) in [
            (closed_addr.as_str(), Some("notes.txt"), "notes.txt", "LOCAL"),
            (&closed_addr, Some("new"), "./new", "LOCAL"),
            (&closed_addr, None, "data", "LOCAL"),
            ("notes.txt", Some("copy"), "notes.txt", "REMOTE"),
            ("notes.txt", Some("-"), "notes.txt", "REMOTE"),
            ("notes.txt", Some("copy"), "copy", "LOCAL"),
        ] {
            let args = [&["file", "client", remote][..], local.as_slice(), &[option, file]];
            let failed = Program::in_shell(&line, &args.concat()).run();
            let line = failed.failure(2);
            assert!(line.starts_with(name) && line.contains("name the same file"), "{failed:?}");
            assert_eq!(
                (here.list(), here.read("notes.txt")),
                (vec!["notes.txt".into()], b"four score".to_vec())
            );
        }
        let args = ["file", "client", "notes.txt", "-", option, "other"];
        let done = Program::in_shell(&line, &args).run();
        assert_eq!(done.success(), b"four score");
        fs::remove_file(here.path("other")).unwrap();
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine does not report the identity of an inherited file")]
fn a_page_or_a_capture_does_not_take_the_place_of_a_standard_stream() {
    let here = Folder::new();
    here.write("lines.txt", "four score\n");
    let closed = FakeServer::new().addr;
    let (host, port) = (closed.ip().to_string(), closed.port().to_string());
    for option in ["--html", "--pcap"] {
        for (rest, stream) in [("<lines.txt", "input"), (">>lines.txt", "output")] {
            let line = format!("cd '{}' && exec \"$@\" {rest}", here.0.display());
            let args = ["echo", "client", &host, &port, option, "./lines.txt"];
            let failed = Program::in_shell(&line, &args).run();
            let expected = format!("standard {stream} and {option} ./lines.txt are the same file");
            assert!(failed.failure(2).starts_with(&expected), "{failed:?}");
            assert_eq!(here.read("lines.txt"), b"four score\n");
        }
    }
}

#[test]
fn a_file_with_two_names_is_replaced_under_one() {
    let (root, here) = (Folder::new(), Folder::new());
    root.write("data", "new");
    let server = root.server();
    here.write("have", "old");
    fs::hard_link(here.path("have"), here.path("second")).unwrap();
    fetch(server.addr, b"data", &here.path("have"), &["-q"]).run().success();
    assert_eq!((here.read("have"), here.read("second")), (b"new".to_vec(), b"old".to_vec()));
}

#[test]
fn names_of_up_to_255_bytes_can_be_fetched_and_resumed() {
    let (root, here) = (Folder::new(), Folder::new());
    let file = noise(100_000);
    let server = root.server();
    for length in [248, 249, 250, 254, 255] {
        let name = "n".repeat(length);
        root.write(&name, &file);
        let local = here.path(&name);
        fetch(server.addr, name.as_bytes(), &local, &["-q"]).run().success();
        assert!(here.read(&name) == file, "{length}");
        assert_eq!(here.list(), [name.as_str()]);
        fs::remove_file(&local).unwrap();
        // Interrupted, then resumed.
        let fake = FakeServer::new();
        let client = fetch(fake.addr, name.as_bytes(), &local, &["-q"]).start();
        drop(answer(&fake, &file_reply(&file, 0)[..60_009]));
        client.finish().failure(1);
        let done = fetch(server.addr, name.as_bytes(), &local, &["--resume"]).run();
        done.success();
        assert!(done.stderr.contains("resumed at byte 60000"), "{done:?}");
        assert!(here.read(&name) == file, "{length}");
        assert_eq!(here.list(), [name.as_str()]);
        fs::remove_file(&local).unwrap();
    }
    let failed = fetch(FakeServer::new().addr, b"data", &here.path(&"n".repeat(256)), &[]).run();
    assert!(failed.failure(3).ends_with("file name too long"), "{failed:?}");
}

#[test]
#[cfg_attr(
    all(not(unshare), not(feature = "windows")),
    ignore = "needs unshare with the right to mount"
)]
#[cfg_attr(feature = "windows", ignore = "Unix: mount points")]
fn a_bind_mounted_file_is_reported_before_the_request() {
    let here = Folder::new();
    here.write("bound", "old");
    here.write("other", "other");
    let closed_addr = FakeServer::new().addr.to_string() + ":data";
    let local = here.path("bound");
    let line = format!(
        "mount --bind '{}' '{}' && exec \"$@\"",
        here.path("other").display(),
        local.display()
    );
    for form in ["--quiet", "--plain", "--resume"] {
        let socklab = socklab_tests::program::socklab().to_str().unwrap();
        let local = local.to_str().unwrap();
        let args =
            ["-rm", "sh", "-c", &line, "sh", socklab, "file", "client", form, &closed_addr, local];
        let failed = Program::new("unshare", &args).run();
        let line = failed.failure(3);
        assert!(line.contains("a mount point") && line.contains("copy it"), "{line}");
        assert_eq!(here.list(), ["bound", "other"]);
    }
}
