//! Helpers for tests of `socklab file`: folders, file contents, a client, a fake server.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::program::{FakeServer, Program, Server};

/// A folder of one test. It is removed when dropped.
pub struct Folder(pub PathBuf);

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Folder {
    /// Creates an empty folder.
    ///
    /// # Panics
    ///
    /// Panics if it cannot.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("socklab-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    /// Returns the path of this name in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in the folder.
    ///
    /// # Panics
    ///
    /// Panics if it cannot.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).expect("write the file");
    }

    /// Returns the content of a file in the folder.
    ///
    /// # Panics
    ///
    /// Panics if there is no such file.
    #[must_use]
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Returns the names in the folder, sorted.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be listed.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("list the folder");
        let mut names: Vec<String> = entries
            .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Starts a file server for the folder.
    ///
    /// # Panics
    ///
    /// Panics if it cannot.
    #[must_use]
    pub fn server(&self) -> Server {
        Server::start("file", &["--root", self.0.to_str().expect("a plain name")])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Returns `length` pseudo-random bytes, always the same.
#[must_use]
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Creates `socklab file client` with these options, this remote name and this local path.
#[must_use]
pub fn fetch(addr: SocketAddr, name: &[u8], local: &Path, options: &[&str]) -> Program {
    let remote = [format!("{addr}:").as_bytes(), name].concat();
    let mut args: Vec<&OsStr> = ["file", "client"].map(OsStr::new).to_vec();
    args.extend(options.iter().map(OsStr::new));
    args.extend([OsStr::from_bytes(&remote), local.as_os_str()]);
    Program::socklab(&args)
}

/// Accepts a client, reads its request and sends `reply`. Returns the request and the connection.
///
/// # Panics
///
/// Panics if the client sends no request.
#[must_use]
pub fn answer(fake: &FakeServer, reply: &[u8]) -> (Vec<u8>, TcpStream) {
    let mut stream = fake.accept();
    let mut request = Vec::new();
    while !request.ends_with(b"\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a request");
        request.push(byte[0]);
    }
    stream.write_all(reply).expect("send the reply");
    (request, stream)
}
