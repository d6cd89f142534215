//! Formats of `wire::pack`, with bytes and values that the fuzzer chooses.
//!
//! Invariant: nothing panics, and no count costs time. The fields of a format lie behind each other without a gap, their
//! indices count up, and their sizes add up to that of the format. Fields are aligned in the native order, and only there.
//! What is unpacked is packed again: to the same value, and to the same bytes, where a value has only one form. A value that
//! is packed is unpacked again, but for zeros behind a string and the digits that a smaller number cannot have. A value that
//! is refused changes nothing.
//!
//! The first byte is the length of the format, then come the format and the bytes to unpack. The values are drawn from the
//! bytes behind these, or from the same ones if there are none.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use socklab_core::wire::pack::{Field, Format, Kind, Order, Value};
use socklab_tests::draw::Draw;

/// Largest number of bytes, and of fields, that are packed.
const SIZE: usize = 1024;

/// Checks a format and its first fields.
fn check_fields(format: &Format<'_>) {
    let (mut end, mut values, mut count) = (0, 0, 0);
    for field in format.fields().take(SIZE) {
        count += 1;
        assert_eq!(field.offset, end, "{field:?}");
        end = field.offset + field.size;
        if let Some(index) = field.index {
            assert_eq!(index, values, "{field:?}");
            values += 1;
        }
        assert_eq!(field.index.is_none(), field.kind.is_padding(), "{field:?}");
        assert_eq!(field.is_big_endian, format.order().is_big_endian());
        let is_native = format.order() == Order::Native;
        assert!(is_native || field.kind != Kind::Alignment, "{field:?}");
        if is_native && matches!(field.kind, Kind::Signed | Kind::Unsigned | Kind::Float) {
            assert_eq!(field.offset % field.size, 0, "{field:?}");
        }
        assert!(!field.to_string().is_empty());
    }
    assert!(end <= format.size() && values <= format.values());
    if count < SIZE {
        assert_eq!((end, values), (format.size(), format.values()));
    }
}

/// Returns a value that may not fit the field.
fn value<'b>(field: &Field, draw: &mut Draw<'_>, text: &'b [u8]) -> Value<'b> {
    let mut bytes = [0; 16];
    let kind = draw.byte();
    bytes.iter_mut().take(usize::from(kind >> 4) + 1).for_each(|byte| *byte = draw.byte());
    let (min, max) = field.range();
    match kind % 16 {
        0 => Value::Bool(bytes[0] & 1 != 0),
        1 => Value::Char(bytes[0]),
        2 => Value::Bytes(&text[..text.len().min(bytes[0].into())]),
        3 => Value::Int(i128::from_le_bytes(bytes)),
        4 => Value::Int(i128::from(max) + i128::from(bytes[0] & 3) - 2),
        5 => Value::Int(i128::from(min) + i128::from(bytes[0] & 3) - 2),
        6 => Value::Float(f64::from_be_bytes([
            bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
        ])),
        // Of the kind of the field.
        _ => match field.kind {
            Kind::Char => Value::Char(bytes[0]),
            Kind::Bool => Value::Bool(bytes[0] & 1 != 0),
            Kind::Signed => Value::Int(i8::from_le_bytes([bytes[0]]).into()),
            Kind::Unsigned => Value::Int(bytes[0].into()),
            Kind::Float => Value::Float(f64::from(f32::from_le_bytes([
                bytes[0], bytes[1], bytes[2], bytes[3],
            ]))),
            _ => Value::Bytes(&text[..text.len().min(field.capacity()).min(bytes[0].into())]),
        },
    }
}

/// Checks that the value which was packed is unpacked.
fn check_packed(field: &Field, value: Value<'_>, unpacked: Value<'_>) {
    match (value, unpacked) {
        (Value::Float(number), Value::Float(unpacked)) if number.is_nan() => {
            assert!(unpacked.is_nan())
        }
        (Value::Float(number), Value::Float(unpacked)) => {
            assert_eq!(number.is_sign_negative(), unpacked.is_sign_negative());
            match field.size {
                8 => assert_eq!(number, unpacked),
                4 => assert_eq!(number as f32, unpacked as f32),
                _ => check_half(number, unpacked),
            }
        }
        (Value::Bytes(text), Value::Bytes(unpacked)) if field.kind == Kind::Bytes => {
            let (front, filled) = unpacked.split_at(text.len());
            assert_eq!(front, text);
            assert!(filled.iter().all(|byte| *byte == 0));
        }
        _ => assert_eq!(value, unpacked, "{field:?}"),
    }
}

/// Checks that no other number of 16 bits is nearer.
fn check_half(number: f64, half: f64) {
    if number.is_infinite() {
        assert_eq!(number, half);
        return;
    }
    // The distance of neighbours: 11 bits, down to 2^-24.
    let (number, half) = (number.abs(), half.abs());
    let mut place = 2.0_f64.powi(-24);
    while place * 2048.0 <= number {
        place *= 2.0;
    }
    assert_eq!(half % place, 0.0);
    let distance = (number - half).abs();
    assert!(distance <= place / 2.0, "{number} {half}");
    // In the middle, the last bit is 0. The next power of two is even too.
    assert!(distance < place / 2.0 || half / place % 2.0 == 0.0, "{number} {half}");
}

/// Whether these bytes are the only form of their value.
fn is_only_form(field: &Field, bytes: &[u8], value: Value<'_>) -> bool {
    match (field.kind, value) {
        (Kind::Bool, _) => bytes[0] < 2,
        (_, Value::Float(number)) => !number.is_nan(),
        (Kind::Pascal, Value::Bytes(text)) => match bytes {
            [length, rest @ ..] => {
                usize::from(*length) == text.len()
                    && rest[text.len()..].iter().all(|byte| *byte == 0)
            }
            [] => true,
        },
        _ => true,
    }
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let mut draw = Draw::new(data);
    let text = draw.text();
    let text = String::from_utf8_lossy(&text);
    let format = match Format::parse(&text) {
        Ok(format) => format,
        Err(e) => {
            assert!(e.position <= text.len() && !e.to_string().is_empty());
            return Corpus::Keep;
        }
    };
    check_fields(&format);
    if format.size() > SIZE || format.values() > SIZE {
        let refused = format.pack(&[], &mut []).unwrap_err();
        assert!(!refused.to_string().is_empty());
        assert!(format.unpack(data).is_err());
        return Corpus::Keep;
    }

    // From bytes to values and back. Bytes that are missing are 0.
    let size = format.size();
    let bytes: Vec<u8> = (0..size).map(|_| draw.byte()).collect();
    let unpacked: Vec<_> = format.unpack(&bytes).unwrap().collect();
    assert_eq!(unpacked.len(), format.values());
    let values: Vec<_> = unpacked.iter().map(|(_, value)| *value).collect();
    let mut packed = vec![0xaa; size + 3];
    assert_eq!(format.pack(&values, &mut packed), Ok(size));
    assert_eq!(packed[size..], [0xaa; 3]);
    packed.truncate(size);
    for field in format.fields() {
        let (old, new) = (field.bytes(&bytes).unwrap(), field.bytes(&packed).unwrap());
        match field.unpack(&bytes) {
            None => assert!(new.iter().all(|byte| *byte == 0), "{field:?}"),
            Some(value) => {
                if is_only_form(&field, old, value) {
                    assert_eq!(old, new, "{field:?}");
                }
                check_packed(&field, value, field.unpack(&packed).unwrap());
            }
        }
    }

    // From values to bytes and back.
    let rest = draw.rest();
    let mut draw = Draw::new(if rest.is_empty() { data } else { rest });
    let original = packed.clone();
    let mut fitting = Vec::new();
    for field in format.fields().filter(|field| field.index.is_some()) {
        let value = value(&field, &mut draw, data);
        let before = packed.clone();
        match field.pack(value, &mut packed) {
            Ok(()) => {
                check_packed(&field, value, field.unpack(&packed).unwrap());
                assert_eq!(packed[..field.offset], before[..field.offset]);
                let end = field.offset + field.size;
                assert_eq!(packed[end..], before[end..]);
                fitting.push(value);
            }
            Err(e) => {
                assert_eq!(packed, before);
                assert!(!e.to_string().is_empty());
                fitting.push(field.unpack(&original).unwrap());
            }
        }
    }
    // Padding is 0 in both.
    let mut whole = vec![0xaa; size];
    assert_eq!(format.pack(&fitting, &mut whole), Ok(size));
    for field in format.fields() {
        let (value, again) = (field.unpack(&packed), field.unpack(&whole));
        if let (Some(value), Some(again)) = (value, again) {
            check_packed(&field, value, again);
        }
    }
    Corpus::Keep
});
