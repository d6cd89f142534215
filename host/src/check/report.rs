//! Results as text and in the formats of other tools.

pub(crate) mod text;
