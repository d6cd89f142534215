//! Values as bytes, as Python's `struct` packs them.
//!
//! ```text
//! FORMAT = [ORDER] { [COUNT] CODE | white space }
//!
//! ORDER    byte order      l L    alignment
//!   @      little-endian   8      as in C on x86-64; the default
//!   =      little-endian   4      none
//!   <      little-endian   4      none
//!   >      big-endian      4      none
//!   !      big-endian      4      none
//!
//! CODE     bytes           value
//!   x      1               none: padding, packed as zeros and not looked at
//!   c      1               a byte
//!   ?      1               a bool; any byte but 0 is true
//!   b B    1               an integer, with sign and without
//!   h H    2
//!   i I    4
//!   l L    4 or 8
//!   q Q    8
//!   n N    8               only with @
//!   e f d  2 4 8           a number of IEEE 754
//!   s      COUNT           bytes, filled up with zeros
//!   p      COUNT           bytes after their number in one byte, filled up with zeros
//! ```
//!
//! COUNT repeats the code, except for `s` and `p`: there it is the size of the field. With `@` the field of an integer or a
//! number starts at a multiple of its size. `0l` at the end adds the padding that an array in C would have.
//!
//! `@` and `=` mean the byte order and the sizes of the machine in Python. Here they are always those of x86-64, so that a
//! result does not depend on the machine. These differ from Python on purpose:
//!
//! - A string that is too long is an error. Python cuts it without a word.
//! - A number that is too large for `@f` is an error, as it is with the other orders. Python packs an infinity.
//! - `0p` is an empty string. Python 3.11 fails with an internal error.
//! - `P`, a pointer, does not exist.
//!
//! ```
//! use socklab_core::wire::pack::{Format, Value};
//!
//! let format = Format::parse("!?hH3s")?;
//! let mut packed = [0; 8];
//! let values = [true.into(), 13_i16.into(), 987_u16.into(), Value::Bytes(b"abc")];
//! assert_eq!(format.pack(&values, &mut packed)?, 8);
//! assert_eq!(packed, *b"\x01\x00\x0d\x03\xdbabc");
//! for (field, value) in format.unpack(&packed)? {
//!     assert_eq!(Some(&value), field.index.and_then(|index| values.get(index)));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod float;
mod format;
mod value;

pub use format::{Field, Fields, Format, FormatError, FormatFault, Kind, Order};
pub use value::{PackError, Unpacked, Value, ValueError, ValueFault, WrongSize};
