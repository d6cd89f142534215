//! Arithmetic on lengths and positions that cannot overflow.
//!
//! `a + b` panics on overflow where a build asks for the check, and the core must not be able to panic. A checked
//! or saturating operation at every place would cost flash for a case that does not occur. So the operations stand
//! here, once, each with the condition under which it is exact. The caller keeps the condition.
//!
//! A build with debug assertions verifies the conditions, so all tests and fuzz targets do. Any other build wraps.
//! A wrong result could then only refer to bytes that do not exist: slices are taken with `get`.

use core::fmt::Debug;

/// An unsigned integer that counts.
pub(crate) trait Count: Copy + Ord + Debug {
    /// Returns the sum, modulo 2^bits.
    fn wrapping_add(self, other: Self) -> Self;
    /// Returns the difference, modulo 2^bits.
    fn wrapping_sub(self, other: Self) -> Self;
    /// Returns the number with a decimal digit appended, modulo 2^bits.
    fn wrapping_append(self, digit: u8) -> Self;
    /// Returns the number without its last decimal digit, and that digit.
    fn split_digit(self) -> (Self, u8);
}

macro_rules! count {
    ($($integer:ident)*) => { $(
        impl Count for $integer {
            #[inline(always)]
            fn wrapping_add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }

            #[inline(always)]
            fn wrapping_sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }

            #[inline(always)]
            fn wrapping_append(self, digit: u8) -> Self {
                self.wrapping_mul(10).wrapping_add(digit.into())
            }

            #[inline(always)]
            fn split_digit(self) -> (Self, u8) {
                (self.wrapping_div(10), u8::try_from(self.wrapping_rem(10)).unwrap_or_default())
            }
        }
    )* };
}

count!(u8 u16 u32 u64 usize);

/// Returns `a + b`.
///
/// Exact for two lengths or positions of slices: a slice has at most `isize::MAX` bytes, and `usize` holds twice that.
/// Exact for any other counts if the caller bounds the sum.
#[inline(always)]
pub(crate) fn add<T: Count>(a: T, b: T) -> T {
    let sum = a.wrapping_add(b);
    debug_assert!(sum >= a, "the sum of {a:?} and {b:?} overflows");
    sum
}

/// Returns `whole - part`.
///
/// Exact if `part <= whole`: the length of a slice and that of a subslice, or a length and what is left of it.
#[inline(always)]
pub(crate) fn sub<T: Count>(whole: T, part: T) -> T {
    debug_assert!(part <= whole, "{part:?} is more than {whole:?}");
    whole.wrapping_sub(part)
}

/// Returns the value of an ASCII digit, or `None` for any other byte.
#[inline(always)]
pub(crate) fn digit(byte: u8) -> Option<u8> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(value)
}

/// Returns `value * 10 + digit`.
///
/// Exact if the caller bounds `value` first: below a tenth of the maximum of its type any digit fits.
#[inline(always)]
pub(crate) fn append_digit<T: Count>(value: T, digit: u8) -> T {
    let appended = value.wrapping_append(digit);
    debug_assert_eq!(appended.split_digit(), (value, digit), "another digit overflows");
    appended
}

/// Returns `value / 10` and the last digit of `value`, from 0 to 9.
#[inline(always)]
pub(crate) fn split_digit<T: Count>(value: T) -> (T, u8) {
    value.split_digit()
}

/// Returns the ASCII digit of a value from 0 to 9.
#[inline(always)]
pub(crate) fn ascii(digit: u8) -> u8 {
    debug_assert!(digit < 10, "{digit} is more than a digit");
    digit.wrapping_add(b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_exact_up_to_the_limits() {
        assert_eq!(add(usize::MAX - 1, 1), usize::MAX);
        assert_eq!(add(u32::MAX, 0), u32::MAX);
        assert_eq!(sub(u64::MAX, u64::MAX), 0);
        assert_eq!(append_digit(u32::MAX.split_digit().0, 5), u32::MAX);
        assert_eq!(split_digit(65_535_u16), (6_553, 5));
        assert_eq!((digit(b'0'), digit(b'9')), (Some(0), Some(9)));
        assert_eq!((digit(b'/'), digit(b':')), (None, None));
        assert_eq!((ascii(0), ascii(9)), (b'0', b'9'));
    }

    #[test]
    #[should_panic(expected = "the sum of 255 and 1 overflows")]
    fn a_test_build_reports_an_overflow() {
        add(u8::MAX, 1);
    }

    #[test]
    #[should_panic(expected = "2 is more than 1")]
    fn a_test_build_reports_a_part_longer_than_the_whole() {
        sub(1_usize, 2);
    }
}
