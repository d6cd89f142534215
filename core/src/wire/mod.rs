//! What protocols share: lines, prompts, integers, text, frames, truncated streams, packed values, and dissectors for
//! traces.
//!
//! Positions of bytes, in values and in messages, count from 0.

mod decimal;
mod dissect;
mod frame;
mod line;
pub mod pack;
mod peer;
mod prompt;
mod text;
mod truncated;
mod words;

pub use decimal::{DECIMAL_BYTES, DecimalError, Unexpected, decimal, put_decimal};
pub use dissect::{Dissect, Dissected, Transport};
pub use frame::{LENGTH_BYTES, copy, length_max, length_of, put_length};
pub(crate) use line::unmarked;
pub use line::{
    LINE_BYTES, LINE_MAX, Line, LineError, LineMessage, LineMessages, LineScanner, put_line,
};
pub(crate) use peer::{CloseInTurn, check_turn, line_error};
pub use prompt::{
    PROMPT_SILENCE_MS, PromptEnd, PromptMessage, PromptMessages, PromptScanner, PromptToken,
};
pub use text::{Byte, Escaped, Prefix, prefix_of_chars};
pub(crate) use text::{Bytes, front};
pub use truncated::Truncated;
pub(crate) use words::{find, put, put_ended, split, strip_word, trim, trim_end, trim_start, word};
