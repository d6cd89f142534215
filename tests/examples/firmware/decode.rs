//! Decodes frames of defmt into text. A file of its own, because a test uses it too.

use std::io::{self, Read};

use defmt_decoder::{DecodeError, Table};

pub(crate) fn decode(elf: &[u8], frames: &mut dyn Read, each: &mut dyn FnMut(String)) {
    let table = Table::parse(elf).expect("defmt's table").expect("a program that uses defmt");
    let mut decoder = table.new_stream_decoder();
    let mut buffer = [0; 4096];
    loop {
        match frames.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => decoder.received(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => panic!("QEMU's stdout: {e}"),
        }
        loop {
            match decoder.decode() {
                Ok(frame) => each(frame.display(false).to_string()),
                Err(DecodeError::UnexpectedEof) => break,
                Err(DecodeError::Malformed) => each("MALFORMED: no frame of defmt".into()),
            }
        }
    }
}
