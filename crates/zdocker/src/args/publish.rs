//! `port`, `update`

use clap::Args;
use zdocker_net::ports::{ContainerPorts, PortRequest, PortSelector};

#[derive(Debug, Args)]
pub(crate) struct PortArgs {
    pub(crate) container: String,
    /// Only where this port of the container is published
    #[arg(value_name = "PRIVATE_PORT[/PROTO]")]
    pub(crate) private_port: Option<ContainerPorts>,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Publish these ports, too; as -p of run
    #[arg(
        long,
        value_name = "[IP:][HOST:]PORT[/tcp|udp|sctp]",
        required_unless_present = "publish_rm"
    )]
    pub(crate) publish_add: Vec<PortRequest>,
    /// Publish these no longer: by container port, by what was published, or published=HOSTPORT
    #[arg(long, value_name = "PORT[/tcp|udp|sctp]")]
    pub(crate) publish_rm: Vec<PortSelector>,
    /// Print the steps, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    pub(crate) container: String,
}
