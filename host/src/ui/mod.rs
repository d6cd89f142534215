//! User interface: results, log lines, traces, JSON events, and input from the keyboard.

mod bar;
mod capture;
mod datagrams;
mod hex;
mod keyboard;
mod ladder;
mod lines;
pub(crate) mod messages;
mod output;
pub(crate) mod page;
pub(crate) mod recording;
pub(crate) mod signals;
pub(crate) mod streams;
mod trace;

pub(crate) use bar::Bar;
pub(crate) use capture::Capture;
pub(crate) use datagrams::DatagramTrace;
pub(crate) use hex::HexTrace;
pub(crate) use keyboard::{Keyboard, Typed};
pub(crate) use lines::{Lines, LogWriter, finish_log};
pub(crate) use output::{Output, Stderr, json_line, put_text, run_within, say, say_last};
pub(crate) use trace::{Trace, TraceOutput};
