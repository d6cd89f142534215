//! `socklab pack` and `socklab unpack` as a user meets them: tables, bytes, events, and every kind of bad input.

use std::io::Read as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socklab_tests::program::Program;

const FORMAT: &str = "!?hH?f10s";
const VALUES: [&str; 6] = ["true", "13", "987", "true", "0.3871", "1234567890"];
const BYTES: &[u8] = b"\x01\x00\x0d\x03\xdb\x01\x3e\xc6\x31\xf91234567890";

fn run(args: &[&str]) -> String {
    String::from_utf8(Program::socklab(args).run().success().to_vec()).unwrap()
}

fn run_with(args: &[&str], input: &[u8]) -> String {
    String::from_utf8(Program::socklab(args).run_with(input).success().to_vec()).unwrap()
}

/// Runs a command that must be refused and returns its error line.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let finished = Program::socklab(args).run();
    assert_eq!(finished.stdout, b"", "{args:?}");
    finished.failure(2).to_owned()
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn the_example_of_the_course_is_shown_as_a_table() {
    let args = [&["pack", FORMAT][..], &VALUES].concat();
    assert_eq!(
        run(&args),
        "\
20 bytes, big-endian (network)
offset  size  code  hex                            value
     0     1  ?     01                             true
     1     2  h     00 0d                          13
     3     2  H     03 db                          987
     5     1  ?     01                             true
     6     4  f     3e c6 31 f9                    0.3871000111103058
    10    10  10s   31 32 33 34 35 36 37 38 39 30  \"1234567890\"
01 000d 03db 01 3ec631f9 31323334353637383930
"
    );
    let raw = Program::socklab(&[&args[..], &["--raw"]].concat()).run();
    assert_eq!(raw.success(), BYTES);
    assert_eq!(raw.stderr, "");
}

#[test]
fn unpack_is_the_reverse_of_pack() {
    let packed = run(&[&["pack", FORMAT][..], &VALUES].concat());
    let line = last_line(&packed);
    assert_eq!(run(&["unpack", FORMAT, line]), packed);
    // Without the quotes around the digits.
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(run(&[&["unpack", FORMAT][..], &words].concat()), packed);
    assert_eq!(run_with(&["unpack", FORMAT], format!("{line}\n").as_bytes()), packed);
    assert_eq!(run_with(&["unpack", FORMAT, "--raw"], BYTES), packed);
}

#[test]
fn the_values_of_a_table_are_accepted_by_pack() {
    let format = "@cbxhiqnN?efd6s7p3xl";
    let values = [
        r"\'",
        "-128",
        "-32768",
        "-2147483648",
        "-9223372036854775808",
        "-1",
        "18446744073709551615",
        "false",
        "0.1",
        "-inf",
        "1e-300",
        r"a\n\x00\\",
        r"\u{202e}é",
        "-5",
    ];
    let packed = run(&[&["pack", format][..], &values].concat());
    let mut shown: Vec<&str> = Vec::new();
    for row in packed.lines().skip(2) {
        let Some((_, value)) = row.rsplit_once("  ") else { continue };
        if !value.starts_with('(') {
            shown.push(value.trim().trim_matches(['"', '\'']));
        }
    }
    // The quote that is a value of its own.
    shown[0] = r"\'";
    assert_eq!(run(&[&["pack", format][..], &shown].concat()), packed);
}

#[test]
fn a_negative_value_is_a_value_and_options_may_follow_it() {
    for (format, value, hex) in [
        ("!h", "-13", "fff3"),
        ("!h", "-0x10", "fff0"),
        ("!h", "-1_000", "fc18"),
        ("!f", "-1.5", "bfc00000"),
        ("!f", "-.5e-1", "bd4ccccd"),
        ("!f", "-inf", "ff800000"),
        ("!2s", "-x", "2d78"),
    ] {
        assert_eq!(last_line(&run(&["pack", format, value])), hex, "{value}");
        let event: Value = serde_json::from_str(&run(&["pack", format, value, "--json"])).unwrap();
        assert_eq!(event["hex"], hex, "{value}");
    }
    assert_eq!(last_line(&run(&["pack", "!5s", "--", "--raw"])), "2d2d726177");
    assert_eq!(last_line(&run(&["pack", "!5s", "--", "-h"])), "2d68000000");
    let line = refused(&["pack", "!h", "-1", "--rwa"]);
    assert!(line.contains("unexpected argument '--rwa'"), "{line}");
}

#[test]
fn native_alignment_is_shown_and_reported() {
    let finished = Program::socklab(&["pack", "bi2x0l", "1", "2"]).run();
    assert_eq!(
        String::from_utf8_lossy(finished.success()),
        "\
16 bytes, little-endian, aligned (native)
offset  size  code  hex                value
     0     1  b     01                 1
     1     3  3x    00 00 00           (alignment)
     4     4  i     02 00 00 00        2
     8     2  2x    00 00              (padding)
    10     6  6x    00 00 00 00 00 00  (alignment)
01 000000 02000000 0000 000000000000
"
    );
    let note =
        "socklab: 9 bytes of padding for alignment; start the format with ! for network data\n";
    assert_eq!(finished.stderr, note);
    for format in ["bb", "!bi", "=bi"] {
        let finished = Program::socklab(&["pack", format, "1", "2"]).run();
        finished.success();
        assert_eq!(finished.stderr, "", "{format}");
    }
}

#[test]
fn an_event_has_the_fields_with_their_values() {
    let line = run(&[
        "pack",
        "--json",
        "!?2xQef3sc",
        "1",
        "18446744073709551615",
        "0.1",
        "nan",
        "é",
        r"\xff",
    ]);
    assert_eq!(line.lines().count(), 1);
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        event,
        json!({
            "event": "packed", "format": "!?2xQef3sc", "order": "big-endian (network)", "size": 21,
            "hex": "010000ffffffffffffffff2e667fc00000c3a900ff",
            "fields": [
                { "offset": 0, "size": 1, "code": "?", "hex": "01", "value": true },
                { "offset": 1, "size": 2, "code": "2x", "hex": "0000", "padding": true },
                { "offset": 3, "size": 8, "code": "Q", "hex": "ffffffffffffffff", "value": u64::MAX },
                { "offset": 11, "size": 2, "code": "e", "hex": "2e66", "value": 0.0999755859375 },
                { "offset": 13, "size": 4, "code": "f", "hex": "7fc00000", "value": "nan" },
                { "offset": 17, "size": 3, "code": "3s", "hex": "c3a900", "value": "é\0" },
                { "offset": 20, "size": 1, "code": "c", "hex": "ff", "value": "\u{fffd}" },
            ],
        })
    );
    let line = run(&["unpack", "<h", "--json", "f3ff"]);
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&event["event"], &event["fields"][0]["value"]), (&json!("unpacked"), &json!(-13)));
    let finished = Program::socklab(&["pack", "!h", "--json"]).run();
    let event: Value = serde_json::from_slice(&finished.stdout).unwrap();
    let message = "the format needs 1 value, got 0";
    assert_eq!(event, json!({ "event": "error", "message": message, "code": 2 }));
    assert_eq!(finished.code, Some(2));
}

#[test]
fn bytes_are_accepted_as_people_paste_them() {
    let expected = run(&["unpack", "!hH", "000d03db"]);
    for text in [
        "00 0d 03 db",
        "00 0d\n03 db\n",
        "0x00 0x0D, 0x03, 0xDB",
        r"\x00\x0d\x03\xdb",
        "00:0d:03:db",
        r"b'\x00\r\x03\xdb'",
        "00000000: 000d 03db                                ....",
        "00000000  00 0d 03 db                                       |....|\n00000004",
    ] {
        assert_eq!(run(&["unpack", "!hH", text]), expected, "{text:?}");
        assert_eq!(run_with(&["unpack", "!hH"], text.as_bytes()), expected, "{text:?}");
    }
}

#[test]
fn bad_input_is_refused_in_one_line() {
    for (args, text) in [
        (&["pack"][..], "the following required arguments were not provided: <FORMAT>; see --help"),
        (&["unpack"], "the following required arguments were not provided: <FORMAT>; see --help"),
        (
            &["pack", "!hk", "1"],
            "byte 2 of the format, field 2: unknown code 'k', expected one of xcbB?hHiIlLqQnNefdsp",
        ),
        (
            &["pack", "P", "1"],
            "byte 0 of the format, field 1: unknown code 'P', expected one of xcbB?hHiIlLqQnNefdsp",
        ),
        (
            &["unpack", "h\u{1b}[31m", "00"],
            "byte 1 of the format, field 2: unknown code U+001B, expected one of xcbB?hHiIlLqQnNefdsp",
        ),
        (
            &["pack", "!n", "1"],
            "byte 1 of the format, field 1: 'n' exists only in the native order '@'; 'q' is the same with 8 bytes",
        ),
        (&["pack", "!3", "1"], "byte 1 of the format, field 1: the count has no code behind it"),
        (
            &["pack", "h!", "1"],
            "byte 1 of the format, field 2: the byte order '!' must be the first character",
        ),
        (&["pack", "", "1"], "the format needs 0 values, got 1"),
        (
            &["pack", FORMAT, "true", "13", "987", "true", "0.3871"],
            "the format needs 6 values, got 5",
        ),
        (&["pack", "!h", "1", "2"], "the format needs 1 value, got 2"),
        (
            &["pack", "999999999999s", "x"],
            "the format needs 999999999999 bytes, expected at most 1048576",
        ),
        (
            &["pack", "999999999999x"],
            "the format needs 999999999999 bytes, expected at most 1048576",
        ),
        (&["pack", "999999999999h", "1"], "the format needs 999999999999 values, got 1"),
        (
            &["unpack", "999999999999h", "00"],
            "the format needs 1999999999998 bytes, expected at most 1048576",
        ),
        (
            &["pack", "99999999999999999999s", "x"],
            "byte 0 of the format, field 1: the size is more than 9223372036854775807 bytes",
        ),
        (
            &["pack", "!bh", "1", "40000"],
            "field 2 (h at byte 2 of the format): expected an integer from -32768 to 32767, got \"40000\"",
        ),
        (
            &["pack", "!Q", "18446744073709551616"],
            "field 1 (Q at byte 1 of the format): expected an integer from 0 to 18446744073709551615, got \"18446744073709551616\"",
        ),
        (
            &["pack", "!h", "abc"],
            "field 1 (h at byte 1 of the format): expected an integer from -32768 to 32767, got \"abc\"",
        ),
        (
            &["pack", "!h", "1.5"],
            "field 1 (h at byte 1 of the format): expected an integer from -32768 to 32767, got \"1.5\"",
        ),
        (
            &["pack", "!h", "010"],
            "field 1 (h at byte 1 of the format): expected an integer from -32768 to 32767, got \"010\": write 10 for decimal, or 0o10 for octal",
        ),
        (
            &["pack", "!h", "\u{1b}[31m"],
            "field 1 (h at byte 1 of the format): expected an integer from -32768 to 32767, got \"\\x1b[31m\"",
        ),
        (
            &["pack", "!?", "yes"],
            "field 1 (? at byte 1 of the format): expected true or false, got \"yes\"",
        ),
        (&["pack", "!f", "x"], "field 1 (f at byte 1 of the format): expected a number, got \"x\""),
        (
            &["pack", "!f", "1e39"],
            "field 1 (f at byte 1 of the format): the number is too large for 4 bytes, got \"1e39\"",
        ),
        (
            &["pack", "f", "1e39"],
            "field 1 (f at byte 0 of the format): the number is too large for 4 bytes, got \"1e39\"",
        ),
        (
            &["pack", "!d", "1e400"],
            "field 1 (d at byte 1 of the format): the number is too large for 8 bytes, got \"1e400\"",
        ),
        (
            &["pack", "!e", "65520"],
            "field 1 (e at byte 1 of the format): the number is too large for 2 bytes, got \"65520\"",
        ),
        (
            &["pack", "!c", "é"],
            "field 1 (c at byte 1 of the format): expected one byte, got \"é\", which has 2 bytes",
        ),
        (
            &["pack", "!c", ""],
            "field 1 (c at byte 1 of the format): expected one byte, got \"\", which has 0 bytes",
        ),
        (
            &["pack", "!4s", r"C:\x"],
            r#"field 1 (4s at byte 1 of the format): expected a string, got "C:\x": \x must be followed by two hexadecimal digits"#,
        ),
        (
            &["pack", "!3s", "abcd"],
            "field 1 (3s at byte 1 of the format): the string has 4 bytes, the field has space for 3 bytes; Python would cut \
             it to 3 bytes without a word",
        ),
        (&["unpack", "!hH", "000d03"], "the format needs 4 bytes, got 3"),
        (&["unpack", "!hH", "000d03db00"], "the format needs 4 bytes, got 5"),
        (
            &["unpack", "!hH", "000d03d"],
            "\"000d03d\" has an odd number of hexadecimal digits, 7: each byte has two; the format needs 4 bytes (8 \
             hexadecimal digits)",
        ),
        (
            &["unpack", "!h", "00xy"],
            "'x' is not a hexadecimal digit, in \"00xy\"; the format needs 2 bytes (4 hexadecimal digits)",
        ),
        (
            &["unpack", "!b", "\u{1b}[31m"],
            "'\\x1b' is not a hexadecimal digit, in \"\\x1b[31m\"; the format needs 1 byte (2 hexadecimal digits)",
        ),
        (&["unpack", "!h"], "the format needs 2 bytes, got 0"),
        (&["unpack", "!h", "--raw"], "the format needs 2 bytes, got 0"),
        (
            &["unpack", "!h", "--raw", "000d"],
            "the argument '--raw' cannot be used with '[HEX]...'; see --help",
        ),
    ] {
        let line = refused(args);
        assert_eq!(line, text, "{args:?}");
    }
    let finished = Program::socklab(&["pack", "!h", "--raw", "--json", "1"]).run();
    let text = "the argument '--raw' cannot be used with '--json'; see --help";
    assert_eq!(finished.failure(2), text);
}

#[test]
#[cfg_attr(feature = "windows", ignore = "Unix: descriptors closed by a shell, and /dev/zero")]
fn input_that_is_not_text_or_without_end_is_refused() {
    let finished = Program::socklab(&["unpack", "!h"]).run_with(*b"\x00\xff");
    let text = "standard input is not hexadecimal text; use --raw for bytes";
    assert_eq!(finished.failure(2), text);
    for option in [&[][..], &["--raw"]] {
        let args = [&["unpack", "!h"], option].concat();
        let zeros = std::fs::File::open("/dev/zero").unwrap();
        let finished = Program::socklab(&args).stdin(zeros).run();
        assert_eq!(finished.failure(2), "standard input has more than 16777216 bytes");
    }
    let finished = Program::in_shell("\"$@\" <&-", &["unpack", "!h"]).run();
    assert_eq!(finished.failure(3), "cannot read standard input: it is closed");
}

#[test]
fn a_reader_that_wants_only_the_first_line_ends_the_program() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut process =
        Program::socklab(&["unpack", "1000000B", "--raw"]).with_stdin().stdout(writer).start();
    process.feed(vec![7; 1_000_000]);
    let mut first = [0; 8];
    let mut reader = reader;
    reader.read_exact(&mut first).unwrap();
    drop(reader);
    let finished = process.finish();
    assert_eq!(&first, b"1000000 ");
    let text = "standard output was closed before everything was written";
    assert_eq!(finished.failure(3), text);
}

#[test]
fn the_largest_format_is_shown_in_a_moment() {
    let started = Instant::now();
    let shown = run_with(&["unpack", "1048576B", "--raw"], &[7; 1 << 20]);
    assert_eq!(shown.lines().count(), (1 << 20) + 3);
    let shown = run(&["pack", "1048575xB", "7"]);
    assert_eq!(last_line(&shown).len(), 2 * (1 << 20) + 1);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    let args = ["pack", "!bx2s", "7", "AB"];
    assert!(!run(&args).contains('\x1b'));
    let forced = Program::socklab(&args).env("CLICOLOR_FORCE", "1").run();
    let text = String::from_utf8(forced.success().to_vec()).unwrap();
    for part in [
        "\x1b[36m     0     1  b ",
        "\x1b[36m07\x1b[0m",
        "\x1b[2m00\x1b[0m",
        "\x1b[32m4142\x1b[0m\n",
    ] {
        assert!(text.contains(part), "{text:?}");
    }
    let refused = Program::socklab(&args).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1").run();
    assert!(!String::from_utf8_lossy(refused.success()).contains('\x1b'));
}

/// A student compares them with what `print(struct.unpack(...))` shows.
#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
#[cfg_attr(feature = "windows", ignore = "the same code, and a command line of 7 KB")]
fn numbers_are_shown_as_python_shows_them() {
    const FORMAT: &str = "!200e200f200d";
    let mut rng = socklab_tests::rng::Rng::new(27);
    let hex: String = (0..200 * (2 + 4 + 8)).map(|_| format!("{:02x}", rng.bits() as u8)).collect();
    let script = "import struct, sys; print(*struct.unpack(sys.argv[1], bytes.fromhex(sys.argv[2])), sep='\\n')";
    let python = Program::new("python3", &["-c", script, FORMAT, &hex]).run();
    let expected = String::from_utf8(python.success().to_vec()).unwrap();
    let table = run(&["unpack", FORMAT, &hex]);
    let rows: Vec<_> = table.lines().skip(2).take(600).collect();
    let shown: Vec<_> = rows.iter().filter_map(|row| row.split_whitespace().last()).collect();
    assert_eq!(shown.len(), 600);
    for ((shown, expected), row) in shown.iter().zip(expected.lines()).zip(rows) {
        assert_eq!(*shown, expected, "{row}");
    }
}
