//! `--html`: the pages that real programs write, and how a browser shows them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use socklab_tests::program::{
    FakeServer, Program, STOP, Server, client, message, read, read_all, reset,
};
use tempfile::TempDir;

/// A folder for pages.
struct Pages(TempDir);

impl Pages {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Returns the option that writes the page with this name.
    fn option(&self, name: &str) -> [String; 2] {
        ["--html".to_owned(), self.path(name).to_str().unwrap().to_owned()]
    }

    fn read(&self, name: &str) -> String {
        let page = std::fs::read_to_string(self.path(name)).unwrap();
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"), "{page}");
        page
    }
}

fn args<'a>(first: &[&'a str], second: &'a [String]) -> Vec<&'a str> {
    first.iter().copied().chain(second.iter().map(String::as_str)).collect()
}

fn stop(server: Server) {
    server.process.signal(STOP);
    server.process.finish().success();
}

/// Returns the text of each row: the time, what happened, and how it was transferred.
fn rows(page: &str) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with("<li"));
    let text = |row: &str| {
        let mut words: Vec<&str> = Vec::new();
        for part in row.split('<') {
            let word = part.split_once('>').map_or("", |(_, text)| text).trim();
            words.extend(Some(word).filter(|word| !word.is_empty()));
        }
        words.join("|")
    };
    rows.map(text).collect()
}

/// Returns the messages of each direction.
fn messages(page: &str) -> [Vec<String>; 2] {
    ["client to server:", "server to client:"].map(|direction| {
        let rows = rows(page);
        let of = rows.iter().filter_map(|row| row.split_once(&format!("|{direction}|")));
        of.map(|(_, row)| row.split('|').next().unwrap_or_default().to_owned()).collect()
    })
}

fn assert_has_row(page: &str, text: &str) {
    let rows = rows(page);
    assert!(rows.iter().any(|row| row.contains(text)), "{text} is not in a row of {rows:#?}");
}

/// Arguments of server and client, the input of the client, and two messages of the page.
type Case<'c> = (&'c str, &'c [&'c str], &'c [&'c str], &'c str, [&'c str; 2]);

/// A client and a server of each protocol.
const CASES: [Case<'static>; 9] = [
    (
        "math",
        &["--secret", "opensesm", "--seed", "1", "--rounds", "2"],
        &[],
        "",
        ["answer ", "S secret &quot;opensesm&quot;"],
    ),
    (
        "add",
        &["--number", "62"],
        &["--name", "Ada", "--number", "42"],
        "",
        ["&quot;Ada", "&quot;62&quot;"],
    ),
    ("echo", &[], &["Four score and seven", ""], "", ["message of 20", "message of 10"]),
    ("hello", &[], &["--both"], "", ["&quot;Hello from", "&quot;Hello from server&quot;"]),
    ("chat", &[], &[], "Good day\nBYE\n", ["&quot;Good day&quot;", "&quot;"]),
    ("coin", &["--seed", "1"], &[], "H\nQ\n", ["&quot;H&quot;", "&quot;"]),
    ("guess", &["--number", "75"], &["--auto"], "", ["&quot;75&quot;", "&quot;WIN&quot;"]),
    ("rps", &["--auto", "--seed", "1"], &[], "1\n2\n3\n", ["&quot;", "&quot;"]),
    ("file", &[], &[], "", ["fetch &quot;notes.txt&quot;", "+ a file of 220 bytes"]),
];

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn client_server_and_proxy_draw_the_same_messages_of_every_protocol() {
    thread::scope(|scope| {
        for case in CASES {
            scope.spawn(move || draw(case));
        }
    });
}

fn draw((protocol, server_args, client_args, stdin, [sent, received]): Case<'_>) {
    let pages = Pages::new();
    std::fs::write(pages.path("notes.txt"), "some notes\n".repeat(20)).unwrap();
    let [for_client, for_server, for_proxy] =
        ["client.html", "server.html", "proxy.html"].map(|name| pages.option(name));

    let root = ["--root".to_owned(), pages.0.path().to_str().unwrap().to_owned()];
    let mut server_args = args(server_args, &for_server);
    if protocol == "file" {
        server_args.extend(root.iter().map(String::as_str));
    }
    let server = if protocol == "chat" {
        // Its server is a person. It answers with one line.
        let mut server_args = args(&["chat", "server", "0"], &for_server);
        server_args.extend(["--timeout", "20"]);
        let mut server = Server::from_program(Program::socklab(&server_args).with_stdin());
        server.process.feed("And you\nBYE\n");
        server
    } else {
        Server::start(protocol, &server_args)
    };
    let target = server.addr.to_string();
    let proxy_args = ["proxy", protocol, "0", &target, "--cut", "3", "--gap", "0", "--down"];
    let proxy = Server::from_program(Program::socklab(&args(&proxy_args, &for_proxy)));

    let program = if protocol == "file" {
        let remote = format!("{}:notes.txt", proxy.addr);
        let copy = pages.path("copy.txt");
        let first = ["file", "client", &remote, copy.to_str().unwrap()];
        Program::socklab(&args(&first, &for_client))
    } else {
        client(protocol, proxy.addr, &args(client_args, &for_client))
    };
    let finished = program.run_with(stdin);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    proxy.process.wait_for("bytes to the client; ");
    stop(proxy);
    if protocol == "chat" {
        server.process.finish();
    } else {
        stop(server);
    }

    let all = ["client.html", "server.html", "proxy.html"].map(|name| pages.read(name));
    let [from_client, from_server, from_proxy] = &all;
    for (page, seen) in all.iter().zip(["client", "server", "proxy"]) {
        assert!(page.contains(&format!("<li>seen by the {seen}</li>")), "{protocol}: {page}");
        assert!(page.contains("<li>1 connection</li>"), "{protocol}: {page}");
        let [up, down] = messages(page);
        assert!(up.iter().any(|row| row.starts_with(sent)), "{protocol}: {sent} not in {up:?}");
        let has_received = down.iter().any(|row| row.starts_with(received));
        assert!(has_received, "{protocol}: {received} not in {down:?}");
        assert_has_row(page, "the client connects");
        // A server that has closed first, as that of chat, may end before it has seen this.
        let first =
            if seen == "server" && protocol == "chat" { "closes" } else { "the client closes" };
        assert_has_row(page, first);
    }
    assert!(from_proxy.contains("cut: "), "{protocol}: {from_proxy}");
    // A payload, and white space after a prompt, are shown as they arrive, and the proxy cuts them.
    if !matches!(protocol, "file" | "echo" | "coin" | "rps") {
        assert_eq!(messages(from_client), messages(from_server), "{protocol}");
        assert_eq!(messages(from_client), messages(from_proxy), "{protocol}");
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn a_client_of_a_built_in_server_draws_too() {
    let pages = Pages::new();
    let page = pages.option("page.html");
    Program::socklab(&args(&["math", "client"], &page)).run().success();
    let page = pages.read("page.html");
    assert_has_row(&page, "client to server:|answer ");
    assert!(page.contains("<title>socklab math client --html "), "{page}");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn text_of_a_peer_is_escaped() {
    let pages = Pages::new();
    let option = pages.option("page.html");
    let fake = FakeServer::new();
    let process = client("hello", fake.addr, &args(&[], &option)).start();
    let hostile = "</bdi></li><script>alert(1)</script><img src=x>\x1b[2J\u{202e}\u{200b}\n";
    fake.accept().write_all(hostile.as_bytes()).unwrap();
    process.finish().success();
    let page = pages.read("page.html");
    let escaped = "&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x&gt;\\x1b[2J\\u{202e}";
    assert!(page.contains(escaped), "{page}");
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    let is_hostile = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}' || c == '\u{200b}';
    assert!(!page.contains(is_hostile), "{page}");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn an_interrupted_client_draws_what_it_had_received() {
    for protocol in ["math", "file"] {
        let pages = Pages::new();
        let option = pages.option("page.html");
        let fake = FakeServer::new();
        let addr = fake.addr.to_string();
        let remote = format!("{addr}:notes.txt");
        let copy = pages.path("copy.txt");
        let (first, bytes): (&[&str], &[u8]) = if protocol == "file" {
            (&["file", "client", &remote, copy.to_str().unwrap(), "--trace"], b"+\0\0\0\0\0\0")
        } else {
            (&["math", "client", &addr, "--trace"], b"Q\0\0\0")
        };
        let process = Program::socklab(&args(first, &option)).start();
        let mut stream = fake.accept();
        stream.write_all(bytes).unwrap();
        process.wait_for("bytes so far");
        process.signal("INT");
        process.finish().last_failure(130);
        let page = pages.read("page.html");
        let of = if protocol == "file" { "7 of 9" } else { "4 of 9" };
        assert_has_row(&page, &format!("server to client:|incomplete: {of} bytes"));
        assert!(page.contains("<span class=\"mark info\">info</span>interrupted"), "{page}");
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: a terminal that is closed")]
fn a_closed_terminal_leaves_a_whole_page() {
    let fake = FakeServer::new();
    let target = fake.addr.to_string();
    for command in [&["echo", "server", "0"][..], &["proxy", "echo", "0", &target]] {
        let pages = Pages::new();
        let option = pages.option("page.html");
        let server = Server::from_program(Program::socklab(&args(command, &option)));
        server.process.signal("HUP");
        server.process.finish().success();
        assert!(pages.read("page.html").contains("no connection"), "{command:?}");
    }
}

/// They handle signals themselves, and read stdin or write a file.
#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: a terminal that is closed")]
fn a_closed_terminal_leaves_a_whole_page_of_every_client() {
    for (client, options, input, signals) in [
        ("chat", &[][..], "", &["HUP"][..]),
        ("guess", &[], "", &["HUP"]),
        ("rps", &[], "", &["HUP"]),
        ("file", &["-"], "", &["HUP"]),
        ("add", &[], "Ada\n7\n", &["HUP", "INT", "TERM"]),
    ] {
        for signal in signals {
            let (pages, fake) = (Pages::new(), FakeServer::new());
            let option = pages.option("page.html");
            let (host, port) = ("127.0.0.1", fake.addr.port().to_string());
            let remote = format!("{}:data", fake.addr);
            let address: &[&str] = if client == "file" { &[&remote] } else { &[host, &port] };
            let first = [&[client, "client"], address, options, &["--trace"]].concat();
            let mut process = Program::socklab(&args(&first, &option)).with_stdin().start();
            process.stdin().write_all(input.as_bytes()).unwrap();
            let mut stream = fake.accept();
            match client {
                // A request shows that the client is past its questions.
                "file" | "add" => drop(read::<1>(&mut stream)),
                _ => {
                    stream.write_all(b"hi\n").unwrap();
                    process.wait_for("hi");
                }
            }
            process.signal(signal);
            let finished = process.finish_with_stdin_open();
            let name = format!("{first:?} {signal}");
            assert_eq!(finished.last_failure(130), "interrupted", "{name}");
            assert!(pages.read("page.html").contains("interrupted"), "{name}");
        }
    }
    let pages = Pages::new();
    let option = pages.option("page.html");
    let server = Program::socklab(&args(&["chat", "server", "0"], &option)).with_stdin();
    let server = Server::from_program(server);
    server.process.signal("HUP");
    server.process.finish_with_stdin_open().success();
    assert!(pages.read("page.html").contains("no connection"));
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn two_files_of_the_same_name_are_refused() {
    let pages = Pages::new();
    let option = pages.option("file");
    for command in
        [&["echo", "server", "0"][..], &["math", "client"], &["proxy", "raw", "0", "localhost:1"]]
    {
        let same = pages.path("./file");
        let first = [command, &["--pcap", same.to_str().unwrap()]].concat();
        let line = Program::socklab(&args(&first, &option)).run().failure(2).to_owned();
        assert!(line.contains("--pcap") && line.contains("--html"), "{line}");
        assert!(!pages.path("file").exists());
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn a_failed_client_draws_the_failure_and_the_reset() {
    let pages = Pages::new();
    let option = pages.option("page.html");
    let fake = FakeServer::new();
    let process = client("math", fake.addr, &args(&[], &option)).start();
    let mut stream = fake.accept();
    stream.write_all(b"Q\0\0\0\x01\0\0\0\x02").unwrap();
    assert_eq!(read::<4>(&mut stream), [0, 0, 0, 3]);
    reset(stream);
    let failure = process.finish().failure(1).to_owned();
    let page = pages.read("page.html");
    assert!(page.contains(&format!("<span class=\"mark fail\">fail</span>{failure}")), "{page}");
    assert_has_row(&page, "client to server:|answer 3");
    assert_has_row(&page, "the server resets the connection");

    // Nothing listens on the port.
    let addr = fake.addr;
    drop(fake);
    client("math", addr, &args(&[], &option)).run().failure(3);
    let page = pages.read("page.html");
    assert!(page.contains("<p>no connection</p>") && page.contains("connection refused"), "{page}");
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn a_proxy_draws_its_faults_and_several_connections() {
    let pages = Pages::new();
    let option = pages.option("page.html");
    let fake = FakeServer::new();
    let target = fake.addr.to_string();
    let first = ["proxy", "hello", "0", &target, "--stall-after", "9", "--up"];
    let proxy = Server::from_program(Program::socklab(&args(&first, &option)));
    for _ in 0..2 {
        let mut client = proxy.connect();
        let mut server = fake.accept();
        client.write_all(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(&read::<9>(&mut server), b"one\ntwo\nt");
        server.write_all(b"four\n").unwrap();
        assert_eq!(&read::<5>(&mut client), b"four\n");
        reset(server);
        let _ = read_all_or_reset(&mut client);
    }
    stop(proxy);
    let page = pages.read("page.html");
    assert!(page.contains("<li>2 connections</li>"), "{page}");
    for number in [1, 2] {
        assert!(page.contains(&format!("<a href=\"#s1-1-{number}\">{number}</a>")), "{page}");
        assert!(page.contains(&format!("<details class=\"ladder\" id=\"s1-1-{number}\"")));
    }
    for row in [
        "glued: bytes 1 to 4 of a write of 9",
        "glued: bytes 5 to 8 of a write of 9",
        "stalled: no more bytes pass to the server",
        "incomplete: 1 byte without an end",
        "the server resets the connection",
    ] {
        assert_has_row(&page, row);
    }
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn a_fault_stands_after_the_message_that_it_cut() {
    let pages = Pages::new();
    let option = pages.option("page.html");
    let fake = FakeServer::new();
    let target = fake.addr.to_string();
    let first = ["proxy", "hello", "0", &target, "--close-after", "9", "--up"];
    let proxy = Server::from_program(Program::socklab(&args(&first, &option)));
    let mut client = proxy.connect();
    let mut server = fake.accept();
    client.write_all(b"Hello from client\n").unwrap();
    assert_eq!(read_all(&mut server), b"Hello fro");
    drop((client, server));
    proxy.process.wait_for("closed by a fault");
    stop(proxy);
    let rows = rows(&pages.read("page.html"));
    let place = |text| rows.iter().position(|row| row.contains(text)).expect(text);
    assert!(place("incomplete: 9 bytes") < place("closed by a fault"), "{rows:#?}");
}

fn read_all_or_reset(stream: &mut std::net::TcpStream) -> usize {
    use std::io::Read as _;
    stream.read_to_end(&mut Vec::new()).unwrap_or_default()
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn a_page_that_cannot_be_written_is_reported_before_anything_is_run() {
    let pages = Pages::new();
    let option = pages.option("missing/page.html");
    let path = &option[1];
    let fake = FakeServer::new();
    let target = fake.addr.to_string();
    for first in [
        &["math", "client", &target][..],
        &["file", "client", "notes.txt"],
        &["math", "server", "0"],
        &["chat", "server", "0"],
        &["proxy", "raw", "0", &target],
    ] {
        let finished = Program::socklab(&args(first, &option)).run();
        let line = finished.failure(3);
        assert_eq!(line, format!("cannot write {path}: no such file or directory"), "{first:?}");
        assert!(!finished.stderr.contains("listening"), "{finished:?}");
    }
    assert!(fake.try_accept().is_none());
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
#[cfg_attr(not(target_os = "linux"), ignore = "needs /dev/full")]
fn a_full_disk_is_reported_at_the_end() {
    let finished = Program::socklab(&["hello", "client", "--html", "/dev/full"]).run();
    assert_eq!(finished.last_failure(3), "cannot write /dev/full: no space left on device");
}

/// Writes the page of a server that received and sent many messages.
fn many(pages: &Pages) -> String {
    let option = pages.option("many.html");
    let server = Server::start("echo", &args(&[], &option));
    let mut stream = server.connect();
    let messages = message(b"0123456789x").repeat(5000);
    let mut reader = stream.try_clone().unwrap();
    let replies = thread::spawn(move || read_all(&mut reader).len());
    stream.write_all(&messages).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(replies.join().unwrap(), 5000 * message(b"x").len());
    server.process.wait_for("5000 messages");
    stop(server);
    pages.read("many.html")
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
fn a_long_conversation_is_drawn_in_part_and_says_so() {
    let pages = Pages::new();
    let page = many(&pages);
    let facts: Vec<_> = page.lines().filter(|line| line.contains(" message")).take(3).collect();
    assert!(page.contains("<li>10000 messages</li>"), "{facts:?}");
    let rows = rows(&page);
    let place = rows.iter().position(|row| row.contains("rows were left out here")).unwrap();
    assert!((1000..1100).contains(&place), "{place}");
    assert!(rows.len() < 2100 && page.len() < 3_000_000, "{} {}", rows.len(), page.len());
    assert_has_row(&page, "the server closes");
}

/// Returns the document that headless Chromium makes of a page. The log must have nothing from the console.
fn shown(pages: &Pages, page: &Path) -> String {
    let profile = pages.path("profile").display().to_string();
    let finished = Program::new(
        "chromium",
        &[
            "--headless",
            // The tests may run as root.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            // For the page that measures another one.
            "--allow-file-access-from-files",
            "--enable-logging=stderr",
            "--dump-dom",
            &format!("--user-data-dir={profile}"),
            &format!("file://{}", page.display()),
        ],
    )
    .deadline(Duration::from_secs(120))
    .run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(!finished.stderr.contains("CONSOLE"), "{}", finished.stderr);
    String::from_utf8(finished.stdout).unwrap()
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Wine: the file has another path")]
#[cfg_attr(not(chromium), ignore = "needs chromium")]
fn a_browser_shows_the_pages_without_an_error_and_without_scrolling_sideways() {
    let pages = Pages::new();
    let option = pages.option("page.html");
    let fake = FakeServer::new();
    let process = client("hello", fake.addr, &args(&["--both"], &option)).start();
    let hostile = format!("<script>alert(1)</script>{}\n", "x".repeat(900));
    fake.accept().write_all(hostile.as_bytes()).unwrap();
    process.finish();
    let document = shown(&pages, &pages.path("page.html"));
    assert_has_row(&document, "&lt;script&gt;alert(1)&lt;/script&gt;");
    assert_has_row(&document, "the client connects");

    many(&pages);
    for (page, width) in [("page", 390), ("page", 1280), ("many", 390), ("many", 1280)] {
        // A page has no script, so another one measures it.
        let frame = format!(
            "<!doctype html><iframe id=\"frame\" width=\"{width}\" height=\"900\" src=\"{page}.html\"></iframe>\
             <p id=\"out\"></p><script>frame.onload = () => {{ const page = frame.contentDocument; \
             out.textContent = `${{page.documentElement.scrollWidth}} ${{page.querySelectorAll('li.up').length}}`; \
             }}</script>"
        );
        std::fs::write(pages.path("frame.html"), frame).unwrap();
        let document = shown(&pages, &pages.path("frame.html"));
        let out =
            document.split("<p id=\"out\">").nth(1).and_then(|rest| rest.split("</p>").next());
        let (measured, arrows) = out.and_then(|out| out.split_once(' ')).expect(&document);
        let (measured, arrows): (u32, u32) = (measured.parse().unwrap(), arrows.parse().unwrap());
        assert!(measured <= width, "{page} is {measured} pixels wide at {width}");
        assert!(arrows >= 2, "{page} has {arrows} arrows");
    }
}
