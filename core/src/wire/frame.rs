/// Number of bytes of a length on the wire, where a protocol has no other. Lengths are big-endian.
pub const LENGTH_BYTES: usize = 4;

/// Returns the largest length that a header of `HEADER` bytes can hold.
#[must_use]
pub const fn length_max<const HEADER: usize>() -> u32 {
    const { assert!(HEADER == 2 || HEADER == 4, "a header has 2 or 4 bytes") };
    if HEADER == 2 { 0xffff } else { u32::MAX }
}

/// Returns the length in the first `HEADER` bytes (2 or 4) of `bytes` and the bytes that follow it, or `None` if there
/// are fewer.
// The width is a constant rather than a field of a machine: the compiler decides the branch, so the common width
// costs neither time nor flash.
#[inline]
#[must_use]
pub fn length_of<const HEADER: usize>(bytes: &[u8]) -> Option<(u32, &[u8])> {
    const { assert!(HEADER == 2 || HEADER == 4, "a header has 2 or 4 bytes") };
    if HEADER == 2 {
        let (length, rest) = bytes.split_first_chunk()?;
        Some((u16::from_be_bytes(*length).into(), rest))
    } else {
        let (length, rest) = bytes.split_first_chunk()?;
        Some((u32::from_be_bytes(*length), rest))
    }
}

/// Writes a length of `HEADER` bytes (2 or 4) to the front of `output` and returns the space behind it.
/// Returns `None`, with nothing written, if the space is too small or the length is more than [`length_max`].
#[inline]
pub fn put_length<const HEADER: usize>(length: u32, output: &mut [u8]) -> Option<&mut [u8]> {
    const { assert!(HEADER == 2 || HEADER == 4, "a header has 2 or 4 bytes") };
    if HEADER == 2 {
        let (front, rest) = output.split_first_chunk_mut()?;
        *front = u16::try_from(length).ok()?.to_be_bytes();
        Some(rest)
    } else {
        let (front, rest) = output.split_first_chunk_mut()?;
        *front = length.to_be_bytes();
        Some(rest)
    }
}

/// Copies the front of `from` to the front of `space`, as much as fits. Returns the number of bytes copied.
// A loop rather than `copy_from_slice`, whose comparison of the lengths stays at opt-level z, and its panic with it.
#[inline]
pub fn copy(from: &[u8], space: &mut [u8]) -> usize {
    for (to, from) in space.iter_mut().zip(from) {
        *to = *from;
    }
    from.len().min(space.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_takes_what_fits() {
        let mut room = [9; 3];
        assert_eq!(copy(b"ab", &mut room), 2);
        assert_eq!(room, [b'a', b'b', 9]);
        assert_eq!(copy(b"wxyz", &mut room), 3);
        assert_eq!(room, *b"wxy");
        assert_eq!(copy(b"", &mut room) + copy(b"a", &mut []), 0);
    }

    #[test]
    fn a_length_is_four_bytes_big_endian_and_nothing_less() {
        assert_eq!(length_of::<4>(&[0, 0, 1, 2, 9]), Some((258, &[9][..])));
        assert_eq!(length_of::<4>(&[0, 0, 1]), None);
        let mut room = [7; 5];
        assert_eq!(put_length::<4>(0xffff_fffe, &mut room).map(|rest| rest.len()), Some(1));
        assert_eq!(room, [255, 255, 255, 254, 7]);
        let mut small = [7; 3];
        assert!(put_length::<4>(1, &mut small).is_none());
        assert_eq!(small, [7; 3]);
    }

    #[test]
    fn a_length_of_two_bytes_ends_at_65535() {
        assert_eq!(length_of::<2>(&[1, 2, 9]), Some((258, &[9][..])));
        assert_eq!(length_of::<2>(&[1]), None);
        let mut room = [7; 3];
        assert_eq!(put_length::<2>(0xfffe, &mut room).map(|rest| rest.len()), Some(1));
        assert_eq!(room, [255, 254, 7]);
        assert!(put_length::<2>(0x1_0000, &mut room).is_none());
        assert_eq!(room, [255, 254, 7]);
        assert_eq!((length_max::<2>(), length_max::<4>()), (65_535, u32::MAX));
    }
}
