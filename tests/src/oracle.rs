//! What the right answer is, worked out the plain way: with all of the input in memory and over
//! [`String`], so that it shares no code with what it judges.

/// The reply of an echo server to a text.
#[must_use]
pub fn echo_reply(text: &str) -> String {
    text.chars().skip(10).collect()
}

/// The reply of an echo server to any payload; `None` when it is a protocol error.
#[must_use]
pub fn echo_reply_bytes(payload: &[u8]) -> Option<Vec<u8>> {
    let mut rest = payload;
    for _ in 0..10 {
        if rest.is_empty() {
            break;
        }
        // A character is what std takes for one, of one to four bytes.
        let length = (1..=rest.len().min(4)).find(|n| std::str::from_utf8(&rest[..*n]).is_ok())?;
        rest = &rest[length..];
    }
    Some(rest.to_vec())
}

/// A message of echo on the wire.
#[must_use]
pub fn echo_message(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a test's payload is short");
    [&length.to_be_bytes()[..], payload].concat()
}

/// A question of math on the wire.
#[must_use]
pub fn question(a: u32, b: u32) -> Vec<u8> {
    [&b"Q"[..], &a.to_be_bytes(), &b.to_be_bytes()].concat()
}

/// CRC-32 (ISO-HDLC, that of zlib), bit by bit.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

/// The reply of a file server in the checked form to a request for the bytes from `offset` on.
#[must_use]
pub fn file_reply(file: &[u8], offset: usize) -> Vec<u8> {
    let size = (file.len() as u64).to_be_bytes();
    [&b"+"[..], &size, &file[offset..], &crc32(file).to_be_bytes()].concat()
}
