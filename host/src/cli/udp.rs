//! `socklab udp`.

use clap::Args;

use super::common::{Address, Common, Failure, Listen, Run};

const PORT: u16 = 3456;

/// Send datagrams; the server sends each back without its first ten characters
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    #[command(flatten)]
    address: Address<PORT>,
}

/// Answer datagrams
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    listen: Listen<PORT>,
}

impl Run for ClientArgs {
    fn run(self, _: &Common) -> Result<(), Failure> {
        let Self { address } = self;
        todo!("{address:?}")
    }
}

impl Run for ServerArgs {
    fn run(self, _: &Common) -> Result<(), Failure> {
        let Self { listen } = self;
        todo!("{listen:?}")
    }
}
