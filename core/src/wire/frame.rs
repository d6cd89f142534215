/// A length on the wire: 4 bytes, big-endian.
pub const LENGTH_BYTES: usize = 4;

/// The length at the front of `bytes` and what follows it, or `None` when fewer than
/// [`LENGTH_BYTES`] are there.
#[inline]
#[must_use]
pub fn length_of(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    Some((u32::from_be_bytes(*length), rest))
}

/// Writes a length to the front of `output` and gives the room behind it, or `None` when there is
/// too little room (nothing is written then).
#[inline]
pub fn put_length(length: u32, output: &mut [u8]) -> Option<&mut [u8]> {
    let (front, rest) = output.split_first_chunk_mut::<LENGTH_BYTES>()?;
    *front = length.to_be_bytes();
    Some(rest)
}

/// Copies as much of `from` as there is `room` for. Returns how much that was.
// Not `copy_from_slice`: at opt-level z its comparison of the lengths stays, and its panic with it.
#[inline]
pub fn copy(from: &[u8], room: &mut [u8]) -> usize {
    for (to, from) in room.iter_mut().zip(from) {
        *to = *from;
    }
    from.len().min(room.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_takes_what_there_is_room_for() {
        let mut room = [9; 3];
        assert_eq!(copy(b"ab", &mut room), 2);
        assert_eq!(room, [b'a', b'b', 9]);
        assert_eq!(copy(b"wxyz", &mut room), 3);
        assert_eq!(room, *b"wxy");
        assert_eq!(copy(b"", &mut room) + copy(b"a", &mut []), 0);
    }

    #[test]
    fn a_length_is_four_bytes_big_endian_and_nothing_less() {
        assert_eq!(length_of(&[0, 0, 1, 2, 9]), Some((258, &[9][..])));
        assert_eq!(length_of(&[0, 0, 1]), None);
        let mut room = [7; 5];
        assert_eq!(put_length(0xffff_fffe, &mut room).map(|rest| rest.len()), Some(1));
        assert_eq!(room, [255, 255, 255, 254, 7]);
        let mut small = [7; 3];
        assert!(put_length(1, &mut small).is_none());
        assert_eq!(small, [7; 3]);
    }
}
