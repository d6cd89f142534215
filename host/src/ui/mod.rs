//! What a person sees: results, lines, traces, JSON.

#[allow(dead_code, reason = "its users are being written")]
mod keyboard;
mod lines;
mod output;
mod trace;

#[allow(unused_imports, reason = "its users are being written")]
pub(crate) use keyboard::{Keyboard, Typed};
pub(crate) use lines::{Lines, LogWriter};
pub(crate) use output::{Output, one_line, put_text, say, say_last};
pub(crate) use trace::{Place, Trace};
