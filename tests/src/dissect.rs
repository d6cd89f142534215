//! Dissectors under cuts: the same bytes in other pieces give the same messages.

use socklab_core::wire::{Dissect, Dissected, LineMessage, PromptMessage};
use socklab_core::{echo, file, math};

/// What a message is, as far as that must not depend on the cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message, or its first part.
    Message(String),
    /// A part of something, or all of it. Adjacent runs with the same name are joined.
    Run(String),
    /// A further part of the message before it.
    More,
}

/// A dissector, with how the parts of its messages are joined.
pub trait Parts: Dissect {
    /// Returns what this message is.
    fn kind(message: &Self::Message<'_>) -> Kind;
    /// Largest number of bytes that a caller has to keep.
    const KEPT: usize;
}

impl Parts for math::ServerBytes {
    const KEPT: usize = 9;

    fn kind(message: &math::ServerMessage) -> Kind {
        match message {
            math::ServerMessage::Unknown(_) => Kind::Run(message.to_string()),
            _ => Kind::Message(message.to_string()),
        }
    }
}

impl Parts for math::ClientBytes {
    const KEPT: usize = 4;

    fn kind(message: &Self::Message<'_>) -> Kind {
        Kind::Message(message.to_string())
    }
}

impl<const HEADER: usize> Parts for echo::Messages<HEADER> {
    const KEPT: usize = HEADER;

    fn kind(part: &echo::Part<'_>) -> Kind {
        part.length.map_or(Kind::More, |length| Kind::Message(format!("message of {length}")))
    }
}

impl Parts for socklab_core::wire::LineMessages {
    const KEPT: usize = socklab_core::wire::LINE_MAX;

    fn kind(message: &LineMessage<'_>) -> Kind {
        match message {
            LineMessage::TooLong(_) => Kind::Message("too long".into()),
            LineMessage::More(_) => Kind::More,
            _ => Kind::Message(message.to_string()),
        }
    }
}

impl Parts for socklab_core::wire::PromptMessages {
    const KEPT: usize = socklab_core::wire::LINE_MAX;

    fn kind(message: &PromptMessage<'_>) -> Kind {
        match message {
            PromptMessage::TooLong(_) => Kind::Message("too long".into()),
            // White space may arrive together with the message before it.
            PromptMessage::More(_) | PromptMessage::Space(_) => Kind::More,
            _ => Kind::Message(message.to_string()),
        }
    }
}

impl Parts for file::ClientBytes {
    const KEPT: usize = socklab_core::wire::LINE_MAX;

    fn kind(message: &Self::Message<'_>) -> Kind {
        match message {
            file::RequestMessage::Malformed(file::Malformed::TooLong, _) => {
                Kind::Run("too long".into())
            }
            _ => Kind::Message(message.to_string()),
        }
    }
}

impl Parts for file::ServerBytes {
    const KEPT: usize = socklab_core::wire::LINE_MAX;

    fn kind(message: &Self::Message<'_>) -> Kind {
        match message {
            file::ServerMessage::Body { .. } => Kind::Run("file".into()),
            file::ServerMessage::Reason(_) => Kind::Run("reason".into()),
            file::ServerMessage::Unknown(_) => Kind::Run(message.to_string()),
            _ => Kind::Message(message.to_string()),
        }
    }
}

/// Dissects `bytes`, which arrive in pieces of these sizes and the rest in one piece. Returns each
/// message with its length and its parts joined, and the number of bytes left that are not a whole
/// message.
///
/// # Panics
///
/// Panics if the dissector breaks its contract: it consumes nothing or too much, waits for less
/// than it has, makes its caller keep too much, or a message contains a control character.
pub fn dissect<D: Parts>(
    mut dissector: D,
    bytes: &[u8],
    pieces: impl IntoIterator<Item = usize>,
) -> (Vec<(String, usize)>, usize) {
    let (mut pieces, mut start, mut end) = (pieces.into_iter(), 0, 0);
    let mut all: Vec<(String, usize)> = Vec::new();
    loop {
        let available = end - start;
        match dissector.dissect(&bytes[start..end]) {
            Dissected::Message(taken, message) => {
                assert!(taken > 0 && taken <= available, "{taken} of {available}");
                let text = message.to_string();
                assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{text}");
                start += taken;
                match (D::kind(&message), all.last_mut()) {
                    (Kind::Run(name), Some((last, length))) if name == *last => *length += taken,
                    (Kind::More, Some((_, length))) => *length += taken,
                    (Kind::More, None) => all.push(("more".into(), taken)),
                    (Kind::Run(name) | Kind::Message(name), _) => all.push((name, taken)),
                }
                continue;
            }
            Dissected::Partial(wanted) => {
                assert!(wanted > available, "the dissector asks for bytes that it has")
            }
            Dissected::Unterminated => {}
        }
        assert!(available <= D::KEPT, "the caller has to keep {available} bytes");
        if end == bytes.len() {
            return (all, available);
        }
        let piece = pieces.next().unwrap_or(bytes.len()).max(1);
        end = bytes.len().min(end.saturating_add(piece));
    }
}
