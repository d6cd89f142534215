//! `wire::pack` compared with Python's `struct`, over random formats, values and bytes.
//!
//! The documentation of `wire::pack` lists what differs on purpose. Each difference is checked too: where the core refuses a
//! string, Python packs the front of it.

use std::fmt::Write as _;

use socklab_core::wire::pack::{
    Field, Format, FormatFault, Kind, Order, PackError, Value, ValueFault,
};
use socklab_tests::program::Program;
use socklab_tests::rng::Rng;

/// Number of formats. For each one values are packed and bytes unpacked.
const FORMATS: usize = 20_000;
/// Largest number of bytes that are packed or unpacked.
const SIZE: usize = 2_000;

/// What Python must answer.
enum Expected {
    Exactly(String),
    /// The core refuses a value, and Python packs another one. The answer is that of the next question, which has the other
    /// value.
    AsNext,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("x"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns a value as the script has it. All numbers that are not numbers are the same.
fn word(value: &Value<'_>) -> String {
    match value {
        Value::Int(integer) => format!("i{integer}"),
        Value::Bool(is_true) => format!("b{}", u8::from(*is_true)),
        Value::Float(number) if number.is_nan() => "nan".into(),
        Value::Float(number) => format!("f{:016x}", number.to_bits()),
        Value::Char(byte) => format!("s{byte:02x}"),
        Value::Bytes(bytes) => hex(bytes).replacen('x', "s", 1),
        other => panic!("a new kind of value: {other:?}"),
    }
}

/// Returns the same words, but all numbers that are not numbers as one.
fn without_nan_payloads(answer: &str) -> String {
    let words = answer.split(' ').map(|word| {
        let bits = word.strip_prefix('f').and_then(|bits| u64::from_str_radix(bits, 16).ok());
        if bits.is_some_and(|bits| f64::from_bits(bits).is_nan()) { "nan" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn format(rng: &mut Rng) -> String {
    const CODES: &[u8] = b"xcbB?hHiIlLqQnNefdsp";
    const OTHERS: [&str; 12] =
        ["P", "k", "!", "<", "@", "é", "-", "3", "0", "\0", "_", "9223372036854775807x"];
    let mut text = String::from(["", "@", "=", "<", ">", "!"][rng.below(6)]);
    for _ in 0..rng.below(8) {
        if rng.percent(2) {
            text += OTHERS[rng.below(OTHERS.len())];
            continue;
        }
        if rng.percent(20) {
            text += [" ", "\t", "\n", "\r", "\x0b", "\x0c", "  "][rng.below(7)];
        }
        if rng.percent(40) {
            let count = match rng.below(40) {
                0 => 300,
                1 => 999_999_999_999,
                2 => usize::MAX >> rng.below(8),
                3 => 256,
                4..10 => 0,
                _ => rng.below(12),
            };
            let _ = write!(text, "{}{count}", ["", "", "0"][rng.below(3)]);
            // Python refuses that.
            text += if rng.percent(2) { " " } else { "" };
        }
        text.push(char::from(CODES[rng.below(CODES.len())]));
    }
    text
}

fn integer(rng: &mut Rng, (min, max): (i64, u64)) -> i128 {
    let (min, max) = (i128::from(min), i128::from(max));
    match rng.below(20) {
        0 => min,
        1 => max,
        2 if rng.percent(30) => min - 1,
        3 if rng.percent(30) => max + 1,
        4 if rng.percent(10) => i128::from(rng.bits()) << 20,
        5..10 => (rng.below(300) as i128 - 150).clamp(min, max),
        _ => min + i128::from(rng.bits()) % (max - min + 1),
    }
}

fn number(rng: &mut Rng, size: usize) -> f64 {
    let edge = |bits: u64| f64::from_bits(bits);
    match rng.below(12) {
        0 => [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN][rng.below(6)],
        1 => [65504.0, 65519.0, 65519.999, 65520.0, -65520.0, 65536.0][rng.below(6)],
        // The neighbours of the limit of 32 bits: half of the last place above the largest number.
        2 => edge(0x47ef_ffff_efff_ffff + rng.below(3) as u64),
        // Any number. What remains of one that is not a number depends on the version of Python if it has fewer bits.
        3 if size == 8 || rng.percent(20) => match edge(rng.bits()) {
            number if size < 8 && number.is_nan() => f64::NAN,
            number => number,
        },
        // Between subnormal numbers, and those that are half way.
        4 => rng.below(4096) as f64 * 2.0_f64.powi(-26 - rng.below(3) as i32),
        5 => rng.below(4096) as f64 * 2.0_f64.powi(-151),
        6 => (rng.below(1 << 26) as f64 - 3e7) * 2.0_f64.powi(rng.below(40) as i32 - 30),
        7 => (2048 + rng.below(2048)) as f64 * 2.0_f64.powi(rng.below(12) as i32 - 10) / 2.0,
        _ => (rng.bits() as i64 as f64) / 2.0_f64.powi(40 + rng.below(30) as i32),
    }
}

/// A value of its own, which the fields borrow.
enum Owned {
    Plain(Value<'static>),
    Text(Vec<u8>),
}

impl Owned {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Plain(value) => *value,
            Self::Text(text) => Value::Bytes(text),
        }
    }
}

/// Returns values for the fields, most of which fit.
fn values(rng: &mut Rng, format: &Format<'_>) -> Vec<Owned> {
    let mut values = Vec::new();
    for field in format.fields().filter(|field| field.index.is_some()) {
        let is_other = rng.below(400) == 0;
        values.push(match field.kind {
            // Of another kind, which Python refuses too.
            Kind::Signed | Kind::Unsigned if is_other => Owned::Plain(1.5.into()),
            Kind::Float | Kind::Signed | Kind::Unsigned if rng.below(400) == 0 => {
                Owned::Text(vec![b'1'])
            }
            Kind::Char | Kind::Bytes | Kind::Pascal if is_other => Owned::Plain(1.into()),
            Kind::Signed | Kind::Unsigned => Owned::Plain(Value::Int(integer(rng, field.range()))),
            Kind::Float => Owned::Plain(number(rng, field.size).into()),
            Kind::Bool => Owned::Plain(rng.percent(50).into()),
            Kind::Char => Owned::Plain(Value::Char(rng.bits() as u8)),
            _ => {
                let most = field.capacity() + usize::from(rng.percent(5)) * 3;
                let length = if rng.percent(30) { most } else { rng.below(most + 1) };
                Owned::Text((0..length).map(|_| rng.bits() as u8).collect())
            }
        });
    }
    match rng.below(60) {
        0 => drop(values.pop()),
        1 => values.push(Owned::Plain(1.into())),
        _ => {}
    }
    values
}

/// Returns whether Python packs an infinity for a number that is too large.
fn is_native_float(format: &Format<'_>, field: &Field, fault: ValueFault) -> bool {
    format.order() == Order::Native && field.code == 'f' && fault == ValueFault::Range
}

/// Returns the values that Python packs: cut strings, and infinities for numbers that are too large for `@f`.
fn as_python<'v>(format: &Format<'_>, values: &[Value<'v>]) -> Vec<Value<'v>> {
    let mut values = values.to_vec();
    let mut packed = vec![0; format.size()];
    for field in format.fields() {
        let Some(value) = field.index.and_then(|index| values.get_mut(index)) else { continue };
        match (field.pack(*value, &mut packed), &mut *value) {
            (Err(PackError::Value(error)), Value::Bytes(bytes))
                if matches!(error.fault, ValueFault::Length(_)) =>
            {
                *bytes = &bytes[..field.capacity()];
            }
            (Err(PackError::Value(error)), Value::Float(number))
                if is_native_float(format, &field, error.fault) =>
            {
                *number = f64::INFINITY.copysign(*number);
            }
            _ => {}
        }
    }
    values
}

/// Questions to Python with what it must answer.
#[derive(Default)]
struct Questions {
    text: String,
    expected: Vec<(String, Expected)>,
}

impl Questions {
    fn ask(&mut self, question: String, expected: Expected) {
        self.text += &question;
        self.text.push('\n');
        self.expected.push((question, expected));
    }

    fn pack(&mut self, text: &str, values: &[Value<'_>]) {
        let format = Format::parse(text).expect("it was parsed before");
        let mut output = vec![0xaa; format.size()];
        let words: Vec<_> = values
            .iter()
            .map(|value| match value {
                Value::Float(number) => format!("f{:016x}", number.to_bits()),
                value => word(value),
            })
            .collect();
        let question = format!("pack {} {}", hex(text.as_bytes()), words.join(" "));
        let expected = match format.pack(values, &mut output) {
            Ok(n) => {
                assert_eq!(n, format.size());
                Expected::Exactly(hex(&output))
            }
            Err(PackError::Value(error))
                if matches!(error.fault, ValueFault::Length(_))
                    || is_native_float(&format, &error.field, error.fault) =>
            {
                self.ask(question, Expected::AsNext);
                return self.pack(text, &as_python(&format, values));
            }
            Err(_) => Expected::Exactly("error".into()),
        };
        self.ask(question, expected);
    }

    fn unpack(&mut self, text: &str, bytes: &[u8]) {
        let format = Format::parse(text).expect("it was parsed before");
        let expected = match format.unpack(bytes) {
            Ok(values) => values.map(|(_, value)| word(&value)).collect::<Vec<_>>().join(" "),
            Err(_) => "error".into(),
        };
        let question = format!("unpack {} {}", hex(text.as_bytes()), hex(bytes));
        self.ask(question, Expected::Exactly(expected));
    }
}

#[test]
#[cfg_attr(not(python3), ignore = "needs python3")]
fn packing_and_unpacking_do_what_python_does() {
    let mut rng = Rng::new(12);
    let mut questions = Questions::default();
    for _ in 0..FORMATS {
        let text = format(&mut rng);
        let question = format!("size {}", hex(text.as_bytes()));
        let format = match Format::parse(&text) {
            // It does not exist here. In Python it does, without an order or with @.
            Err(e) if e.fault == FormatFault::UnknownCode('P') => continue,
            Err(_) => {
                questions.ask(question, Expected::Exactly("error".into()));
                continue;
            }
            Ok(format) => format,
        };
        questions.ask(question, Expected::Exactly(format.size().to_string()));
        // Python 3.11 has errors of its own for a Pascal string without a byte for its length.
        let is_sound = format.size() <= SIZE && format.values() <= SIZE;
        if !is_sound || format.fields().any(|field| field.kind == Kind::Pascal && field.size == 0) {
            continue;
        }
        let owned = values(&mut rng, &format);
        let values: Vec<_> = owned.iter().map(Owned::value).collect();
        questions.pack(&text, &values);
        let size = match rng.below(40) {
            0 => format.size() + 1,
            1 => format.size().saturating_sub(1),
            _ => format.size(),
        };
        let few = rng.percent(20);
        let bytes: Vec<u8> =
            (0..size).map(|_| rng.bits() as u8 & if few { 1 } else { 255 }).collect();
        questions.unpack(&text, &bytes);
    }

    let finished = Program::peer::<&str>("struct_pack.py", &[]).run_with(questions.text.as_bytes());
    let answers = String::from_utf8(finished.success().to_vec()).unwrap();
    let (first, answers) = answers.split_once('\n').unwrap();
    assert_eq!(first, "True", "this machine is not like x86-64, which wire::pack imitates");
    assert_eq!(answers.lines().count(), questions.expected.len());

    let (mut differences, mut counts) = (Vec::new(), [0; 3]);
    let mut answers = answers.lines().peekable();
    for (question, expected) in &questions.expected {
        let answer = answers.next().unwrap();
        let (is_same, kind) = match expected {
            Expected::Exactly(expected) if expected == "error" => (answer == "error", 0),
            Expected::Exactly(expected) => (without_nan_payloads(answer) == *expected, 1),
            Expected::AsNext => (Some(&answer) == answers.peek(), 2),
        };
        counts[kind] += 1;
        if !is_same {
            let expected = match expected {
                Expected::Exactly(expected) => expected,
                Expected::AsNext => "the next answer",
            };
            differences.push(format!("{question}\n  python: {answer}\n  core:   {expected}"));
        }
    }
    let total = questions.expected.len();
    eprintln!(
        "{total} questions: {} errors, {} other answers, {} that differ on purpose",
        counts[0], counts[1], counts[2]
    );
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences[..differences.len().min(20)].join("\n")
    );
    // The random formats must be of every kind.
    assert!(counts[0] > 500 && counts[1] > FORMATS && counts[2] > 100, "{counts:?}");
}
