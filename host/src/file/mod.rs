//! File transfer: a client that never leaves a partial file under the final name, and a server confined to its root
//! folder.
//!
//! ```
//! use std::ops::ControlFlow;
//! use socklab::file::{Client, Local, Options, Service};
//! use socklab::net::Server;
//!
//! # let folder = std::env::temp_dir().join(format!("socklab-doc-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! std::fs::write(folder.join("notes.txt"), "four score")?;
//! let server = Server::bind("127.0.0.1:0", Service::new(&folder)?)?.start()?;
//!
//! // The destination first, so that an error there is reported before a request is sent.
//! let mut copy = Local::open(&folder.join("copy.txt"), false)?;
//! let client = Client::connect(server.local_addr())?;
//! let progress = |_| ControlFlow::Continue(());
//! let fetched = client.fetch(b"notes.txt", &mut copy, Options::default(), progress)?;
//! assert_eq!(fetched.size, 10);
//! assert_eq!(std::fs::read_to_string(folder.join("copy.txt"))?, "four score");
//! # server.stop()?;
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checksum;
mod disk;
mod fetch;
mod local;
mod serve;

#[doc(hidden)]
pub use disk::Access;
pub use fetch::{BUFFER, Client, Error, Failure, Fetched, Options, Progress};
pub use local::{Local, LocalError};
pub use serve::{Asked, Outcome, Report, Service, Session};
pub use socklab_core::file::{Form, Malformed, Request, client, server};
