//! Rules of Windows for the names of files, as pure functions. So their tests run on every system.

use std::fmt;

/// Largest number of UTF-16 units in one part of a path.
pub(crate) const PART_MAX: usize = 255;

/// Why a name cannot be used for a file on Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It leads out of the folder in which it is looked up: it starts with a drive or a separator, or has too many `..`.
    Outside,
    /// A part of it names a device, such as `CON` or `nul.txt`.
    Device,
    /// It contains a colon. That would name an alternate stream of another file.
    Stream,
    /// A part of it ends in a dot or a space. The system would ignore both, and open a file of another name.
    Trailing,
    /// It contains a character that no name may contain.
    Character(char),
    /// A part of it is too long.
    TooLong,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside => f.write_str("it leads out of the folder"),
            Self::Device => f.write_str("it names a device on Windows"),
            Self::Stream => f.write_str("a name on Windows cannot contain a colon"),
            Self::Trailing => f.write_str("a name on Windows cannot end in a dot or a space"),
            Self::Character(c) => {
                write!(f, "a name on Windows cannot contain {}", c.escape_debug())
            }
            Self::TooLong => f.write_str("file name too long"),
        }
    }
}

/// What the path of a destination names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A device, which is written directly.
    Device,
    /// A file, or a folder.
    File,
}

const fn is_separator(c: char) -> bool {
    matches!(c, '/' | '\\')
}

/// Splits a drive, such as `C:`, from the front of a path.
fn split_drive(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(|c: char| c.is_ascii_alphabetic())?;
    rest.strip_prefix(':')
}

/// Returns whether one part of a path names a device. Neither an extension nor spaces after the name change that.
fn is_device(part: &str) -> bool {
    let stem = part.split(['.', ':']).next().unwrap_or_default().trim_end_matches(' ');
    let is_one_of = |names: &[&str]| names.iter().any(|name| stem.eq_ignore_ascii_case(name));
    if is_one_of(&["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]) {
        return true;
    }
    let numbered = stem
        .get(..3)
        .is_some_and(|port| port.eq_ignore_ascii_case("COM") || port.eq_ignore_ascii_case("LPT"));
    let mut number = stem.chars().skip(3);
    numbered
        && number.next().is_some_and(|c| c.is_ascii_digit() || matches!(c, '¹' | '²' | '³'))
        && number.next().is_none()
}

/// Checks one part of a path, which contains no separator.
fn check_part(part: &str) -> Result<(), Refusal> {
    if is_device(part) {
        return Err(Refusal::Device);
    }
    for c in part.chars() {
        match c {
            ':' => return Err(Refusal::Stream),
            '<' | '>' | '"' | '|' | '?' | '*' | '\0'..='\x1f' => {
                return Err(Refusal::Character(c));
            }
            _ => {}
        }
    }
    if part.ends_with(['.', ' ']) {
        return Err(Refusal::Trailing);
    }
    if part.encode_utf16().count() > PART_MAX {
        return Err(Refusal::TooLong);
    }
    Ok(())
}

/// Checks a name that a client requests. It is looked up below a folder, and must not lead out of it.
///
/// A short name, such as `PROGRA~1`, is another name of a file in the same folder, so it cannot lead out.
pub(crate) fn check_served(name: &str) -> Result<(), Refusal> {
    if name.starts_with(is_separator) || split_drive(name).is_some() {
        return Err(Refusal::Outside);
    }
    // Windows removes `..` before it looks a path up.
    let mut depth = 0_usize;
    for part in name.split(is_separator) {
        match part {
            "" | "." => {}
            ".." => depth = depth.checked_sub(1).ok_or(Refusal::Outside)?,
            part => {
                check_part(part)?;
                depth += 1;
            }
        }
    }
    Ok(())
}

/// Returns the last part of a name; `None` if the name does not end in one that a file can have.
#[cfg(any(feature = "cli", test))]
pub(crate) fn last_part(name: &str) -> Option<Result<&str, Refusal>> {
    let part = name.rsplit(is_separator).next().filter(|part| !matches!(*part, "" | "." | ".."))?;
    Some(check_part(part).map(|()| part))
}

/// Checks the path of a destination, which may be anywhere.
///
/// A device is accepted only as the whole path: in a folder it is probably meant as a file.
pub(crate) fn check_destination(path: &str) -> Result<Destination, Refusal> {
    if path.strip_prefix(r"\\.\").is_some() {
        return Ok(Destination::Device);
    }
    let path = path.strip_prefix(r"\\?\").unwrap_or(path);
    let bare = path.strip_suffix(':').unwrap_or(path);
    if !bare.contains(['.', ':', '/', '\\']) && is_device(bare) {
        return Ok(Destination::Device);
    }
    for part in split_drive(path).unwrap_or(path).split(is_separator) {
        if !matches!(part, "" | "." | "..") {
            check_part(part)?;
        }
    }
    Ok(Destination::File)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requested_name_cannot_lead_out_of_the_folder() {
        for name in [
            "..",
            "../x",
            r"..\x",
            r"a\..\..\x",
            "a/../../x",
            r"a/..\..",
            "/x",
            r"\x",
            r"\\?\C:\x",
            r"\\server\share\x",
            r"\??\C:\x",
            r"\\.\NUL",
            "C:",
            "c:x",
            r"C:\x",
            "C:/x",
            "x:y",
            "x::$DATA",
            "//server/share/x",
            r".\..\x",
        ] {
            assert_eq!(check_served(name), Err(Refusal::Outside), "{name}");
        }
    }

    #[test]
    fn a_requested_name_cannot_name_a_device_or_a_stream() {
        for name in [
            "CON",
            "con",
            "PRN",
            "aux",
            "NUL",
            "nul.txt",
            "NUL.tar.gz",
            "NUL ",
            "NUL .txt",
            "NUL.",
            "COM1",
            "com9.log",
            "LPT1",
            "lpt9",
            "COM¹",
            "COM²",
            "LPT³.x",
            "CONIN$",
            "conout$",
            "sub/NUL",
            r"sub\con",
            "CON/x",
            "NUL:",
            "COM1:",
            "CON:stream",
        ] {
            assert_eq!(check_served(name), Err(Refusal::Device), "{name}");
        }
        for name in ["ab:cd", "ab::$DATA", "sub/x:y", r"sub\x::$DATA", "sub/C:x"] {
            assert_eq!(check_served(name), Err(Refusal::Stream), "{name}");
        }
        for name in ["x.", "x ", "x. .", "...", ". .", "sub./x", "sub /x", ".. /x", "x/.. "] {
            assert_eq!(check_served(name), Err(Refusal::Trailing), "{name}");
        }
        for (name, c) in [("a*", '*'), ("a?", '?'), ("a|b", '|'), ("a\0", '\0'), ("\"", '"')] {
            assert_eq!(check_served(name), Err(Refusal::Character(c)), "{name}");
        }
        assert_eq!(check_served(&"x".repeat(256)), Err(Refusal::TooLong));
        assert_eq!(check_served(&"😀".repeat(128)), Err(Refusal::TooLong));
    }

    #[test]
    fn other_requested_names_are_accepted() {
        for name in [
            "a.txt",
            "sub/a.txt",
            r"sub\a.txt",
            "a/../b",
            "./a",
            ".hidden",
            "..a",
            "a..b",
            "CONSOLE",
            "COM",
            "COM10",
            "COMx",
            "LPT",
            "nulls.txt",
            "x.NUL",
            "PROGRA~1",
            "größe.txt",
            " a",
            "console$",
            "",
            ".",
            "a/..",
        ] {
            assert_eq!(check_served(name), Ok(()), "{name}");
        }
        assert_eq!(check_served(&"x".repeat(255)), Ok(()));
    }

    #[test]
    fn the_last_part_of_a_name_stays_in_the_current_folder() {
        for (name, last) in [
            ("a.txt", "a.txt"),
            ("dir/a.txt", "a.txt"),
            (r"dir\file", "file"),
            (r"..\..\evil.txt", "evil.txt"),
            (r"C:\evil", "evil"),
            (r"a/b\c", "c"),
        ] {
            assert_eq!(last_part(name), Some(Ok(last)), "{name}");
        }
        for (name, refusal) in [
            ("CON", Refusal::Device),
            (r"dir\nul.txt", Refusal::Device),
            ("a:b", Refusal::Stream),
            ("C:evil", Refusal::Stream),
            ("dir/x.", Refusal::Trailing),
            ("what?", Refusal::Character('?')),
        ] {
            assert_eq!(last_part(name), Some(Err(refusal)), "{name}");
        }
        for name in ["", "a/", r"a\", "..", "a/..", r"a\.", "/"] {
            assert_eq!(last_part(name), None, "{name}");
        }
    }

    #[test]
    fn a_destination_is_a_device_only_if_it_is_the_whole_path() {
        for path in ["NUL", "nul", "CON", "NUL:", "CONOUT$", "COM1", r"\\.\NUL", r"\\.\pipe\x"] {
            assert_eq!(check_destination(path), Ok(Destination::Device), "{path}");
        }
        for path in [
            "a",
            r"C:\a\b",
            "C:a",
            r"..\a",
            "C:/a",
            r"\\server\share\a",
            r"\\?\C:\a",
            r"\\?\UNC\s\s\a",
            r"a\",
            "C:",
            ".",
        ] {
            assert_eq!(check_destination(path), Ok(Destination::File), "{path}");
        }
        for (path, refusal) in [
            (r"dir\NUL", Refusal::Device),
            ("NUL.txt", Refusal::Device),
            ("ab:cd", Refusal::Stream),
            (r"C:\a:b", Refusal::Stream),
            ("dir./x", Refusal::Trailing),
            ("x ", Refusal::Trailing),
            ("a*", Refusal::Character('*')),
        ] {
            assert_eq!(check_destination(path), Err(refusal), "{path}");
        }
    }
}
