//! `socklab pack` and `socklab unpack`.

mod hex;
mod table;
mod words;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Read as _};

use clap::Args;
use socklab_core::wire::pack::{Format, Kind, Order, PackError};

use self::table::Table;
use self::words::Word;
use super::common::Failure;
use super::print;
use crate::sys::terminal::END_KEYS;
use crate::text::one_line;
use crate::ui::{Output, say, streams};

/// Largest number of packed bytes. More would not be read by anyone.
const LIMIT: usize = 1 << 20;
/// Largest number of bytes that are read from standard input. A dump of `LIMIT` bytes has less than half of them.
const INPUT: u64 = 1 << 24;

const CODES: &str = "\
FORMAT is that of Python's struct: a byte order, then codes with a count in front of them.
Write it between quotes: ! < and > have a meaning for the shell.

  ! >      big-endian: the order of the network
  < =      little-endian
  @        little-endian, sizes and alignment of C on x86-64: the default

  b B      integer of 1 byte, with and without sign    ?  true or false
  h H      integer of 2 bytes                          c  one byte
  i I l L  integer of 4 bytes (l and L with @: of 8)   s  string of COUNT bytes
  q Q      integer of 8 bytes                          p  the same, its first byte is the length
  n N      integer of 8 bytes, only with @             x  padding
  e f d    number of 2, 4 and 8 bytes (half, float, double)

";

const EXIT_CODES: &str = "Exit codes: 0 done; 2 usage error, also in the format, a value or the bytes; \
3 could not read or write.";

/// Example commands with descriptions, for the help of `pack`.
const PACK_EXAMPLES: [(&str, &str); 5] = [
    ("socklab pack '!?hH?f10s' true 13 987 true 0.3871 1234567890", "of many kinds"),
    ("socklab pack '!i' -13", "a negative number"),
    ("socklab pack '<i' 0x12345678", "the other byte order"),
    ("socklab pack bi 1 2", "padding before the second field"),
    (r"socklab pack '!H5s' 5 'a\x00\n' --raw | nc localhost 4567", "send the bytes"),
];

/// Example commands with descriptions, for the help of `unpack`.
const UNPACK_EXAMPLES: [(&str, &str); 4] = [
    ("socklab unpack '!hH' 000d03db", "the reverse of pack"),
    ("socklab unpack '!hH' 00 0d 0x03 0xdb", "other ways to write bytes"),
    (r#"socklab unpack '!hH' "b'\x00\r\x03\xdb'""#, "what Python prints"),
    ("head -c 4 FILE | socklab unpack '!hH' --raw", "bytes of a file"),
];

fn examples(text: &mut String, examples: &[(&str, &str)]) {
    *text += "\nExamples:\n\n";
    for (command, what) in examples {
        *text += &format!("  {command:<61}  {what}\n");
    }
    *text += "\n";
    *text += EXIT_CODES;
}

pub(super) fn after_pack_help() -> String {
    let mut text = String::from(CODES);
    text += "A VALUE is\n\n  \
             an integer  13, -13, 0x0d, 0o15, 0b1101, 1_000\n  \
             a number    0.3871, -1e-3, inf, nan\n  \
             a bool      true, false, 1, 0\n  \
             a byte      A, \\x41, \\n\n  \
             a string    UTF-8, with the escapes of Python: \\n \\r \\t \\0 \\\\ \\xff\n\n\
             A string is filled up with zeros. One that is too long is an error; Python cuts it.\n\
             A value that starts with -- must follow an argument --.\n";
    examples(&mut text, &PACK_EXAMPLES);
    text
}

pub(super) fn after_unpack_help() -> String {
    let mut text = String::from(CODES);
    text += "HEX has two digits for each byte, with or without spaces, newlines, commas, colons, 0x or \\x\n\
             between the bytes. It may also be what Python prints, such as b'\\x00\\r', or a dump of xxd,\n\
             hexdump -C or tcpdump -x.\n";
    examples(&mut text, &UNPACK_EXAMPLES);
    text
}

/// Show values as bytes, as Python's struct packs them
#[derive(Debug, Args)]
pub(super) struct PackArgs {
    /// The fields, such as '!hH10s'
    format: String,
    /// A value for each field
    #[arg(value_name = "VALUE")]
    values: Vec<String>,
    /// Write the bytes as they are, and no table
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Write the fields as a line of JSON to stdout, usage errors included
    #[arg(long)]
    json: bool,
}

/// Show bytes as values, as Python's struct unpacks them
#[derive(Debug, Args)]
pub(super) struct UnpackArgs {
    /// The fields, such as '!hH10s'
    format: String,
    /// The bytes in hexadecimal [default: read from standard input]
    #[arg(value_name = "HEX")]
    hex: Vec<String>,
    /// Read the bytes as they are from standard input
    #[arg(long, conflicts_with = "hex")]
    raw: bool,
    /// Write the fields as a line of JSON to stdout, usage errors included
    #[arg(long)]
    json: bool,
}

/// Returns the arguments of the program with the options of `pack` before the values.
///
/// A value may start with a hyphen: `-13`, `-inf`, `-0x10`. clap can accept such values, but then takes every option that
/// follows a value for a value too.
pub(super) fn arranged(args: Vec<OsString>) -> Vec<OsString> {
    if args.get(1).is_none_or(|command| command != "pack") {
        return args;
    }
    let mut rest = args.into_iter();
    let mut options: Vec<OsString> = rest.by_ref().take(2).collect();
    let mut words = vec![OsString::from("--")];
    for word in rest.by_ref() {
        if word == "--" {
            break;
        }
        let is_option = word == "-h" || word.as_encoded_bytes().starts_with(b"--");
        if is_option { &mut options } else { &mut words }.push(word);
    }
    options.extend(words);
    options.extend(rest);
    options
}

fn parse(text: &str) -> Result<Format<'_>, Failure> {
    Format::parse(text).map_err(|e| Failure::Usage(e.to_string()))
}

fn check_size(format: &Format<'_>) -> Result<(), Failure> {
    match format.size() {
        ..=LIMIT => Ok(()),
        size => {
            Err(Failure::Usage(format!("the format needs {size} bytes, expected at most {LIMIT}")))
        }
    }
}

/// Returns what the bytes of a format are to be, for an error about a text that has none.
fn needed(format: &Format<'_>) -> String {
    let size = format.size();
    let s = if size == 1 { "" } else { "s" };
    format!("the format needs {size} byte{s} ({} hexadecimal digits)", size * 2)
}

/// Reports padding that a student rarely wants, and that other machines do not expect.
fn note_alignment(format: &Format<'_>) {
    let fields = format.fields().filter(|field| field.kind == Kind::Alignment);
    let count: usize = fields.map(|field| field.size).sum();
    if format.order() == Order::Native && count > 0 {
        let bytes = if count == 1 { "byte" } else { "bytes" };
        say(format_args!(
            "socklab: {count} {bytes} of padding for alignment; start the format with ! for network data"
        ));
    }
}

impl PackArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let format = parse(&self.format)?;
        // The number of values first: it is the likelier mistake.
        let (needed, given) = (format.values(), self.values.len());
        if needed != given {
            let s = if needed == 1 { "" } else { "s" };
            return Err(Failure::Usage(format!("the format needs {needed} value{s}, got {given}")));
        }
        check_size(&format)?;
        let mut words = Vec::with_capacity(given);
        for field in format.fields() {
            if let Some(word) = field.index.and_then(|index| self.values.get(index)) {
                words.push(Word::parse(&field, word).map_err(Failure::Usage)?);
            }
        }
        let mut bytes = vec![0; format.size()];
        let values: Vec<_> = words.iter().map(Word::value).collect();
        format.pack(&values, &mut bytes).map_err(|e| Failure::Usage(self.error(&e)))?;
        note_alignment(&format);
        if self.raw {
            return print(&bytes);
        }
        show(&Table::new("packed", &self.format, &format, &bytes), self.json)
    }

    /// Returns the message of an error, with the value as it was typed.
    fn error(&self, e: &PackError) -> String {
        match e {
            PackError::Value(error) => {
                let index = error.field.index.unwrap_or_default();
                words::error(error, self.values.get(index).map_or("", String::as_str))
            }
            e => e.to_string(),
        }
    }
}

impl UnpackArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let format = parse(&self.format)?;
        check_size(&format)?;
        let bytes = self.bytes(&format)?;
        format.unpack(&bytes).map_err(|e| Failure::Usage(e.to_string()))?;
        note_alignment(&format);
        show(&Table::new("unpacked", &self.format, &format, &bytes), self.json)
    }

    fn bytes(&self, format: &Format<'_>) -> Result<Vec<u8>, Failure> {
        let text = match self.hex.as_slice() {
            [] => {
                let input = self.input().map_err(|e| Failure::stdin(&e))?;
                if input.len() as u64 > INPUT {
                    let text = format!("standard input has more than {INPUT} bytes");
                    return Err(Failure::Usage(text));
                }
                if self.raw {
                    return Ok(input);
                }
                String::from_utf8(input).map_err(|_| {
                    let text = "standard input is not hexadecimal text; use --raw for bytes";
                    Failure::Usage(text.into())
                })?
            }
            words => words.join(" "),
        };
        hex::parse(&text)
            .map_err(|e| Failure::Usage(format!("{}; {}", one_line(e), needed(format))))
    }

    fn input(&self) -> io::Result<Vec<u8>> {
        streams::check_stdin()?;
        let mut input = Vec::new();
        let stdin = io::stdin();
        if stdin.is_terminal() {
            say(format_args!("reading hexadecimal digits from the terminal; {END_KEYS} ends them"));
        }
        stdin.lock().take(INPUT + 1).read_to_end(&mut input)?;
        Ok(input)
    }
}

fn show(table: &Table<'_>, json: bool) -> Result<(), Failure> {
    let written = match json {
        true => Output::new(true, false).event(&table.event()),
        false => table.write(),
    };
    written.map_err(Failure::stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrange(line: &str) -> String {
        let args = line.split(' ').map(OsString::from).collect();
        let words = arranged(args).into_iter().map(|word| word.into_string().expect("text"));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_of_pack_may_follow_values_and_values_may_start_with_a_hyphen() {
        for (line, arranged) in [
            ("socklab pack !h -13", "socklab pack -- !h -13"),
            ("socklab pack !h --raw -inf --json", "socklab pack --raw --json -- !h -inf"),
            ("socklab pack 2s 1s -h -- --raw -- x", "socklab pack -h -- 2s 1s --raw -- x"),
            ("socklab pack", "socklab pack --"),
            ("socklab unpack !h --raw", "socklab unpack !h --raw"),
            ("socklab", "socklab"),
        ] {
            assert_eq!(arrange(line), arranged, "{line}");
        }
    }
}
