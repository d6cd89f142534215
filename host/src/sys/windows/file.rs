//! Files of Windows.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use winapi_util::file::{Information, information};

use crate::sys::names::{self, Destination, Refusal};

/// Whether a single letter and a colon at the start of a path are a drive.
#[cfg(feature = "cli")]
pub(crate) const HAS_DRIVES: bool = true;

/// Name of the environment variable that sets the folder of temporary files.
#[cfg(feature = "cli")]
pub(crate) const TEMP_VARIABLE: &str = "TMP";

/// Access right to delete or rename a file, of winnt.h.
const DELETE: u32 = 0x0001_0000;
const FILE_SHARE_READ: u32 = 1;
const FILE_SHARE_DELETE: u32 = 4;
/// Needed to open a folder.
const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
/// Opens a link itself.
const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
/// Reads ahead more than usual.
const FILE_FLAG_SEQUENTIAL_SCAN: u32 = 0x0800_0000;

const ERROR_ACCESS_DENIED: i32 = 5;
const ERROR_SHARING_VIOLATION: i32 = 32;
const ERROR_FILENAME_EXCED_RANGE: i32 = 206;

/// Reads at most `buffer.len()` bytes at `offset`. Returns 0 at the end of the file.
///
/// This moves the cursor of the file, and that of every duplicate of its handle.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

/// Appends bytes to a temporary file of `length` bytes. Adds the number of bytes written to `length`, also if only a
/// part of them could be written.
///
/// The bytes are written at an offset: [`read_at`] moves the cursor that the checksum thread shares with this one.
pub(crate) fn append(file: &File, mut bytes: &[u8], length: &mut u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.seek_write(bytes, *length) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(n) => {
                *length += n as u64;
                bytes = &bytes[n..];
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Returns the path below a served folder that a requested name stands for.
///
/// # Errors
///
/// If the name cannot be that of a file on this system: [`ErrorKind::NotFound`], or [`ErrorKind::PermissionDenied`]
/// without a code if it leads out of the folder. It must be UTF-8.
///
/// cap-std refuses most of these names too. But it opens alternate streams, and it leaves characters to the system.
pub(crate) fn served_path(name: &[u8]) -> io::Result<&Path> {
    let name = std::str::from_utf8(name).map_err(|_| ErrorKind::NotFound)?;
    names::check_served(name).map_err(|refusal| match refusal {
        Refusal::Outside => ErrorKind::PermissionDenied.into(),
        Refusal::TooLong => too_long(),
        _ => io::Error::from(ErrorKind::NotFound),
    })?;
    Ok(Path::new(name))
}

fn too_long() -> io::Error {
    io::Error::from_raw_os_error(ERROR_FILENAME_EXCED_RANGE)
}

/// Returns the open file for a path that is written directly whatever it names: a device, such as `NUL` or `CON`.
/// Returns `None` for any other path, and an error for a path that Windows would change or refuse.
pub(crate) fn direct(path: &Path) -> Option<io::Result<File>> {
    match names::check_destination(&path.to_string_lossy()) {
        Ok(Destination::File) => None,
        Ok(Destination::Device) => Some(OpenOptions::new().write(true).open(path)),
        Err(Refusal::TooLong) => Some(Err(too_long())),
        Err(refusal) => Some(Err(io::Error::other(format!("{refusal}; choose another name")))),
    }
}

/// Identity and kind of a file.
pub(crate) struct Info {
    identity: Information,
    is_file: bool,
}

impl Info {
    /// Returns the information about an open file.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self { identity: information(file)?, is_file: file.metadata()?.is_file() })
    }

    /// Returns the information about the file that `path` names. A link at its end is followed.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Self::open(path, FILE_FLAG_BACKUP_SEMANTICS)
    }

    /// Returns the information about the file or the link that `path` names.
    pub(crate) fn at_link(path: &Path) -> io::Result<Self> {
        Self::open(path, FILE_FLAG_BACKUP_SEMANTICS | FILE_FLAG_OPEN_REPARSE_POINT)
    }

    /// Opens a file without any access right, so that no other program can forbid it.
    fn open(path: &Path, flags: u32) -> io::Result<Self> {
        Self::of(&OpenOptions::new().access_mode(0).custom_flags(flags).open(path)?)
    }

    /// Returns whether both are the same file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let identity =
            |info: &Self| (info.identity.volume_serial_number(), info.identity.file_index());
        identity(self) == identity(other)
    }

    /// Returns the reason why an existing temporary file must not be used: another process may be able to read or write
    /// it.
    ///
    /// Its owner is not checked: Windows reports it only to unsafe code. Who may create files in a folder is decided by
    /// the rights of the folder.
    pub(crate) fn unusable_reason(&self) -> Option<&'static str> {
        if !self.is_file {
            Some("not a regular file; remove it, or choose another name")
        } else if self.identity.number_of_links() != 1 {
            Some("has another hard link; remove it, or choose another name")
        } else {
            None
        }
    }
}

/// Identity and version of a file. There is none on Windows.
///
/// The time of the last change is updated when a file is closed, and any program can set it. So two states of a file with
/// different content may look the same for as long as a program has it open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Version;

impl Version {
    /// Returns `None`: the system does not report it.
    pub(crate) const fn of(_: &Metadata) -> Option<Self> {
        None
    }

    /// Returns the time of the last change, in seconds since the epoch.
    pub(crate) const fn changed(&self) -> i64 {
        i64::MAX
    }
}

/// Returns whether a name is short enough for any file system. The system reports one that is too long as invalid, or
/// as not found.
pub(crate) fn fits(name: &OsStr) -> bool {
    name.encode_wide().count() <= names::PART_MAX
}

/// Returns the options to open the temporary file of a transfer. A link is not followed.
///
/// Other programs may read and rename the file while it is open, but not write it. That locks out another transfer. A
/// new file has the rights that its folder gives to any new file.
pub(crate) fn part_options(_is_private: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_DELETE)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
    options
}

/// Returns `true`: opening the temporary file of a transfer locks it.
pub(crate) const fn lock(_: &File) -> bool {
    true
}

/// Returns whether opening the temporary file failed because another transfer writes it.
pub(crate) fn is_in_use(e: &io::Error) -> bool {
    e.raw_os_error() == Some(ERROR_SHARING_VIOLATION)
}

/// Discards the content of an existing temporary file. Returns whether it must be created again.
///
/// It is truncated, not removed: the name of a removed file stays in use until every program has closed it.
pub(crate) fn start_over(file: &File, _: &Path) -> io::Result<bool> {
    file.set_len(0).map(|()| false)
}

/// Does nothing: the rights of a file are those that its folder gives to a new file.
pub(crate) const fn copy_rights(_: &File, _: &Metadata, _is_resumable: bool) {}

/// Renames the temporary file of a transfer, which may be open. It replaces an older file.
///
/// # Errors
///
/// For example if another program has the older file open and does not allow that.
pub(crate) fn replace(part: &Path, path: &Path) -> io::Result<()> {
    fs::rename(part, path).map_err(|e| match e.raw_os_error() {
        // The system reports that the access is denied, whatever the reason.
        Some(ERROR_ACCESS_DENIED) => match OpenOptions::new().access_mode(DELETE).open(path) {
            Err(in_use) if is_in_use(&in_use) => in_use,
            _ => io::Error::other("permission denied; is it open in another program?"),
        },
        _ => e,
    })
}

/// Sets the options for opening a served file: the system reads it ahead.
pub(crate) fn set_served_options(options: &mut cap_std::fs::OpenOptions) {
    cap_std::fs::OpenOptionsExt::custom_flags(options, FILE_FLAG_SEQUENTIAL_SCAN);
}

#[cfg(feature = "cli")]
pub(crate) use self::streams::{is_device, last_part, requested_name, sequential, stdin, stdout};

#[cfg(feature = "cli")]
mod streams {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::io::{self, ErrorKind, IsTerminal as _, Seek as _};
    use std::os::windows::io::AsHandle as _;
    use std::path::PathBuf;

    use super::names;
    use crate::sys::read::read_at;

    /// Returns the bytes that request a file of this name; `None` if it is not text.
    pub(crate) fn requested_name(name: &OsStr) -> Option<&[u8]> {
        name.to_str().map(str::as_bytes)
    }

    /// Returns the last part of a requested name, as the name of a file in the current folder.
    ///
    /// # Errors
    ///
    /// The reason why there is none.
    pub(crate) fn last_part(name: &[u8]) -> Result<PathBuf, String> {
        match names::last_part(&String::from_utf8_lossy(name)) {
            None => Err("REMOTE does not end in a file's name".to_owned()),
            Some(Ok(part)) => Ok(part.into()),
            Some(Err(refusal)) => {
                Err(format!("the last part of REMOTE cannot be the name of a file here: {refusal}"))
            }
        }
    }

    /// Returns a duplicate of standard input for unbuffered reads; `None` if only std can read it correctly. That is a
    /// console: std converts what is typed to UTF-8.
    pub(crate) fn stdin() -> io::Result<Option<File>> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            return Ok(None);
        }
        stdin.as_handle().try_clone_to_owned().map(|handle| Some(File::from(handle)))
    }

    /// Returns a duplicate of standard output.
    pub(crate) fn stdout() -> io::Result<File> {
        io::stdout().as_handle().try_clone_to_owned().map(File::from)
    }

    /// Returns whether an open file is a character device, such as a console or `NUL`.
    pub(crate) fn is_device(file: &File) -> bool {
        winapi_util::file::typ(file).is_ok_and(|kind| kind.is_char())
    }

    /// Reader of a regular file at an offset of its own. The cursor would move with every [`read_at`] of another thread.
    pub(crate) struct Sequential {
        file: File,
        at: u64,
    }

    impl io::Read for Sequential {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if buffer.is_empty() {
                return Ok(0);
            }
            match read_at(&self.file, buffer, self.at) {
                Ok(n) => {
                    self.at += n as u64;
                    Ok(n)
                }
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(0),
                Err(e) => Err(e),
            }
        }
    }

    /// Returns a reader of a regular file from its cursor on. Other threads may read the file
    /// [at an offset](super::read_at) meanwhile.
    pub(crate) fn sequential(mut file: File) -> io::Result<Sequential> {
        let at = file.stream_position()?;
        Ok(Sequential { file, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::read::read_exact_at;

    #[test]
    fn reads_at_an_offset_do_not_disturb_appending() {
        let folder = tempfile::tempdir().unwrap();
        let file = part_options(false).create_new(true).open(folder.path().join("part")).unwrap();
        let reader = file.try_clone().unwrap();
        let mut length = 0;
        for piece in [&b"four"[..], b" score", b" and seven"] {
            append(&file, piece, &mut length).unwrap();
            read_exact_at(&reader, &mut [0; 2], 1).unwrap();
        }
        let mut whole = [0; 20];
        read_exact_at(&reader, &mut whole, 0).unwrap();
        assert_eq!((&whole, length), (b"four score and seven", 20));
    }

    #[test]
    fn an_open_temporary_file_is_locked_and_can_be_renamed_over_the_older_file() {
        let folder = tempfile::tempdir().unwrap();
        let (part, path) = (folder.path().join("part"), folder.path().join("path"));
        let file = part_options(false).create_new(true).open(&part).unwrap();
        assert!(is_in_use(&part_options(false).open(&part).unwrap_err()));
        fs::write(&path, "old").unwrap();
        let held = OpenOptions::new().read(true).share_mode(FILE_SHARE_READ).open(&path).unwrap();
        assert!(is_in_use(&replace(&part, &path).unwrap_err()));
        drop(held);
        append(&file, b"new", &mut 0).unwrap();
        // Before the renaming, after which Wine no longer knows the volume of the open file.
        assert!(Info::of(&file).unwrap().is_same(&Info::at(&part).unwrap()));
        replace(&part, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_path_may_be_long_but_a_stream_or_a_device_in_a_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join(["d"; 5].map(|part| part.repeat(60)).join("\\"));
        fs::create_dir_all(&deep).unwrap();
        let file = part_options(false).create_new(true).open(deep.join("part")).unwrap();
        assert!(Info::of(&file).unwrap().unusable_reason().is_none());
        assert!(direct(&deep.join("part")).is_none());
        for refused in ["part:stream", "NUL", "part.", "part "] {
            assert!(matches!(direct(&deep.join(refused)), Some(Err(_))), "{refused}");
        }
        assert!(matches!(direct(Path::new("NUL")), Some(Ok(_))));
    }
}
