//! Numbers of IEEE 754 with 16 and 32 bits.

use crate::count;

/// Bits of the exponent of a [`f64`], on the right.
const EXPONENT: u64 = 0x7ff;
/// Number of bits of its mantissa.
const MANTISSA: u32 = 52;
/// Exponent of 2^-14, the smallest normal number of 16 bits, as a [`f64`] has it.
const SMALLEST: u64 = 1023 - 14;
/// Exponent of 2^15, the largest power of two of 16 bits.
const LARGEST: u64 = 1023 + 15;
/// Infinity in 16 bits. The other numbers with this exponent are not numbers.
const INFINITY: u16 = 0x7c00;

/// Returns the nearest number of 16 bits, or `None` if it would be an infinity. Of two equally near ones it is the even one.
pub(super) fn to_half(number: f64) -> Option<u16> {
    let magnitude = number.abs();
    let sign = if number.is_sign_negative() { 0x8000 } else { 0 };
    if magnitude.is_infinite() {
        return Some(sign | INFINITY);
    }
    if magnitude.is_nan() {
        return Some(sign | INFINITY | 0x200);
    }
    let exponent = (magnitude.to_bits() >> MANTISSA).max(SMALLEST);
    if exponent > LARGEST {
        return None;
    }
    // The last place of the result has an exponent that is less by 10. In this sum it is the last place of the mantissa, so the
    // addition rounds as it should, and the mantissa counts last places. For a normal result there are at least 1024.
    let shifted = magnitude + f64::from_bits(count::add(exponent, 42) << MANTISSA);
    let places = shifted.to_bits() & 0xffff;
    // Counting 2048 places, or 1024 of a subnormal number, carries into the exponent.
    let bits = count::add(count::sub(exponent, SMALLEST) << 10, places);
    let bits = u16::try_from(bits).ok().filter(|bits| *bits < INFINITY)?;
    Some(sign | bits)
}

/// Returns the number that has these 16 bits.
pub(super) fn from_half(bits: u16) -> f64 {
    /// 2^-24, the smallest number.
    const PLACE: f64 = f64::from_bits((1023 - 24) << MANTISSA);
    let mantissa = bits & 0x3ff;
    let magnitude = match u64::from(bits >> 10 & 0x1f) {
        0 => f64::from(mantissa) * PLACE,
        exponent => {
            let exponent =
                if exponent == 0x1f { EXPONENT } else { count::add(exponent, SMALLEST - 1) };
            f64::from_bits(exponent << MANTISSA | u64::from(mantissa) << (MANTISSA - 10))
        }
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

/// Returns the nearest [`f32`], or `None` if it would be an infinity.
pub(super) fn to_single(number: f64) -> Option<f32> {
    #[expect(clippy::as_conversions, reason = "no other conversion rounds")]
    let single = number as f32;
    let has_overflowed = single.is_infinite() && number.is_finite();
    (!has_overflowed).then_some(single)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_unpacked_and_packed_again() {
        for bits in 0..=u16::MAX {
            let number = from_half(bits);
            if number.is_nan() {
                assert!(bits & 0x7fff > INFINITY);
                assert_eq!(to_half(number), Some(bits & 0x8000 | 0x7e00), "{bits:#06x}");
            } else {
                assert_eq!(to_half(number), Some(bits), "{bits:#06x}");
            }
        }
        assert_eq!(from_half(0x3c00), 1.0);
        assert_eq!(from_half(0xc000), -2.0);
        assert_eq!(from_half(0x0001), 2.0_f64.powi(-24));
        assert_eq!(from_half(0x03ff), 1023.0 * 2.0_f64.powi(-24));
        assert_eq!(from_half(0x7bff), 65504.0);
        assert_eq!(from_half(0xfc00), f64::NEG_INFINITY);
        assert!(from_half(0x8000).is_sign_negative());
    }

    #[test]
    fn what_lies_between_two_halves_goes_to_the_nearer_and_then_to_the_even_one() {
        for bits in 0..INFINITY - 1 {
            let (low, high) = (from_half(bits), from_half(bits + 1));
            let middle = f64::midpoint(low, high);
            let even = bits + (bits & 1);
            assert_eq!(to_half(middle), Some(even), "{bits:#06x}");
            assert_eq!(to_half(-middle), Some(even | 0x8000), "{bits:#06x}");
            assert_eq!(to_half(middle.next_down()), Some(bits), "{bits:#06x}");
            assert_eq!(to_half(middle.next_up()), Some(bits + 1), "{bits:#06x}");
        }
    }

    #[test]
    fn a_number_that_would_become_an_infinity_is_too_large() {
        assert_eq!(to_half(65519.99), Some(0x7bff));
        for large in [65520.0, 65536.0, 1e10, f64::MAX] {
            assert_eq!((to_half(large), to_half(-large)), (None, None), "{large}");
        }
        assert_eq!(to_single(3.402_823_5e38), Some(f32::MAX));
        assert_eq!((to_single(3.402_823_6e38), to_single(-1e39)), (None, None));
        assert_eq!(to_single(f64::INFINITY), Some(f32::INFINITY));
        assert_eq!(to_single(f64::MIN_POSITIVE), Some(0.0));
        assert!(to_single(f64::NAN).is_some_and(f32::is_nan));
    }
}
