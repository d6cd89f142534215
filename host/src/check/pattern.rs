//! Patterns that select cases.

use wildmatch::WildMatch;

/// Returns whether a pattern matches an id, or what follows the protocol and the role in it. A `*` matches `/` too.
pub(crate) fn matches(pattern: &str, id: &str) -> bool {
    let glob = WildMatch::new(pattern);
    let name = id.splitn(3, '/').last().unwrap_or(id);
    glob.matches(id) || glob.matches(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_id_or_its_end() {
        let id = "math/server/close/after-connect";
        for pattern in [id, "close/after-connect", "close/*", "*after*", "math/*", "*"] {
            assert!(matches(pattern, id), "{pattern}");
        }
        for pattern in ["after-connect", "close", "server/close/*", "math"] {
            assert!(!matches(pattern, id), "{pattern}");
        }
    }
}
