//! What a person sees: results, lines, traces, JSON.

mod lines;
mod output;
mod trace;

pub(crate) use lines::{Lines, LogWriter};
pub(crate) use output::{Output, one_line, put_text, say, say_last};
pub(crate) use trace::{Place, Trace};
