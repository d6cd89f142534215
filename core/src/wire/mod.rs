//! What the protocols share: text, frames, how a stream was cut, and traces for people.

mod cut;
mod dissect;
mod frame;
mod text;

pub use cut::Cut;
pub use dissect::{Dissect, Dissected};
pub use frame::{LENGTH_BYTES, copy, length_of, put_length};
pub use text::{Byte, Escaped, Prefix, prefix_of_chars};
