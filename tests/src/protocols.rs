//! The protocols of the table in the core, for tests that cover all of them.

use socklab_core::wire::{Dissect, Transport};

/// A row of the table, without its types.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    /// Name of the command and of the modules.
    pub name: &'static str,
    /// Line in the help of the program.
    pub about: &'static str,
    /// Default port.
    pub port: u16,
    /// Name of the exercise in the README.
    pub exercise: &'static str,
    /// Commands of client and server in the README.
    pub commands: [&'static str; 2],
    /// Summary in the README of the core.
    pub summary: &'static str,
    /// Name and size of each machine, the client's first.
    pub machines: &'static [(&'static str, usize)],
    /// Whether they are over datagrams.
    pub is_datagrams: bool,
}

macro_rules! protocols {
    ($($module:ident $name:ident {
        about: $about:literal,
        $transport:ident: [$($image:ident: $machine:ty),* $(,)?],
        clients: $clients:tt,
        servers: $servers:tt,
        dissectors: $dissectors:tt,
        functions: $functions:tt,
        sentences: $sentences:tt,
        port: $port:literal,
        exercise: $exercise:literal,
        commands: $commands:expr,
        summary: $summary:literal,
    })*) => {
        /// Every protocol, in the order of the help.
        pub const PROTOCOLS: &[Protocol] = &[$(Protocol {
            name: stringify!($module),
            about: $about,
            port: $port,
            exercise: $exercise,
            commands: $commands,
            summary: $summary,
            machines: &[$((stringify!($image), size_of::<$machine>())),*],
            is_datagrams: matches!(
                <socklab_core::$module::ClientBytes as Dissect>::TRANSPORT,
                Transport::Datagrams
            ),
        }),*];
    };
}

socklab_core::for_each_protocol!(protocols);
