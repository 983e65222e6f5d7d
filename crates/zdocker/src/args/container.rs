//! `run`, `create`, `start`, `restart`, `ps`, `stop`, `kill`, `rm`, `exec`, `logs`, `container ...`

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};
use zdocker_engine::containers::spec::{ExtraHost, Mount};
use zdocker_engine::signals::Signal;
use zdocker_net::attach::choice::NetworkChoice;
use zdocker_net::names::MacAddress;
use zdocker_net::ports::{ContainerPorts, PortRequest};
use zdocker_net::shaping::Rate;

use super::spelling::{filter, refused_link, refused_link_local_ip, refused_sysctl};
use crate::output::inspect::InspectFormat;
use crate::output::list::ListFormat;

/// Docker's long names of verbs on containers, where the short one means more or has another name.
#[derive(Debug, Subcommand)]
pub(crate) enum ContainerCommand {
    /// List containers
    #[command(visible_aliases = ["list", "ps"])]
    Ls(PsArgs),
    /// Show containers in detail, as JSON
    Inspect(ContainerInspectArgs),
}

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct RunArgs {
    /// Do not wait for the container; print its identifier
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Print the steps that make the container's network, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) container: CreateArgs,
}

/// What a new container is to be. As with Docker, `-h` is the host name here.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct CreateArgs {
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Remove the container when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    /// Name of the container; made up if missing
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Host name in the container
    #[arg(short = 'h', long)]
    pub(crate) hostname: Option<String>,
    /// Environment variable; without a value, the caller's
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<PathBuf>,
    /// User, and group, of the command
    #[arg(short, long, value_name = "NAME|UID[:GROUP|GID]")]
    pub(crate) user: Option<String>,
    /// Make a host directory or file visible in the container
    #[arg(short, long, value_name = "SOURCE:DESTINATION[:ro]", value_parser = Mount::parse)]
    pub(crate) volume: Vec<Mount>,
    /// Network to plug into, host, none, or container:NAME; may be given several times
    #[arg(long, visible_alias = "net", value_name = "NETWORK|name=NETWORK,ip=..,alias=..")]
    pub(crate) network: Vec<NetworkChoice>,
    /// Name on the first network, beside the container's own
    #[arg(long, visible_alias = "net-alias", value_name = "NAME")]
    pub(crate) network_alias: Vec<String>,
    /// Line of /etc/hosts
    #[arg(long, value_name = "NAME:IP")]
    pub(crate) add_host: Vec<ExtraHost>,
    /// IPv4 address
    #[arg(long)]
    pub(crate) ip: Option<Ipv4Addr>,
    /// IPv6 address
    #[arg(long)]
    pub(crate) ip6: Option<Ipv6Addr>,
    /// MAC address on the first network
    #[arg(long, value_name = "MAC")]
    pub(crate) mac_address: Option<MacAddress>,
    /// Publish ports, each also a range; without a host port, and of a range for one port, a free one is picked
    #[arg(short, long, value_name = "[IP:][HOST:]PORT[/tcp|udp|sctp]")]
    pub(crate) publish: Vec<PortRequest>,
    /// Publish what --expose names at free ports
    #[arg(short = 'P', long)]
    pub(crate) publish_all: bool,
    /// Say that the container listens at these ports
    #[arg(long, value_name = "PORT[-PORT][/tcp|udp|sctp]")]
    pub(crate) expose: Vec<ContainerPorts>,
    /// Limit what the container receives on each of its networks: 10mbit are ten million bits a second, 10mbps bytes
    #[arg(long, value_name = "RATE")]
    pub(crate) bandwidth_in: Option<Rate>,
    /// Limit what the container sends on each of its networks
    #[arg(long, value_name = "RATE")]
    pub(crate) bandwidth_out: Option<Rate>,
    /// Name server
    #[arg(long, value_name = "IP")]
    pub(crate) dns: Vec<IpAddr>,
    /// Domain that names are looked for in, in place of the host's; . for none
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_search: Vec<String>,
    /// Option of the resolver, in place of the host's, for example ndots:2
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub(crate) dns_option: Vec<String>,
    /// Domain that the host name is in
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domainname: Option<String>,
    #[arg(long, hide = true, value_name = "CONTAINER[:NAME]", value_parser = refused_link)]
    link: Vec<Infallible>,
    #[arg(long, hide = true, value_name = "IP", value_parser = refused_link_local_ip)]
    link_local_ip: Vec<Infallible>,
    #[arg(long, hide = true, value_name = "KEY=VALUE", value_parser = refused_sysctl)]
    sysctl: Vec<Infallible>,
    /// Directory that is the container's read-only root, under a private writable layer; / gives all of this host's
    /// programs
    #[arg(long, value_name = "DIR")]
    pub(crate) rootfs: Option<PathBuf>,
    /// OCI runtime to use in place of the embedded one, for example runc
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) runtime: Option<PathBuf>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Attach to the container's output, and wait for it
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// Attach to its standard input as well
    #[arg(short, long)]
    pub(crate) interactive: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Those that ended, too
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Identifiers only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Do not shorten identifiers and commands
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Only containers that are so: name=, id=, status=, exited=STATUS, network=, publish=PORT[-PORT][/PROTOCOL],
    /// expose=, volume=PATH, before=CONTAINER, since=CONTAINER; may be given several times
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = filter)]
    pub(crate) filter: Vec<(String, String)>,
    /// table, json, a template of Go, or table and a template: 'table {{.ID}}\t{{.Names}}'
    #[arg(long, value_name = "FORMAT", value_parser = ListFormat::parse)]
    pub(crate) format: Option<ListFormat>,
    /// Only so many, the newest, whether they run or not
    #[arg(short = 'n', long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(crate) last: Option<i64>,
    /// Only the newest, whether it runs or not
    #[arg(short, long)]
    pub(crate) latest: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ContainerInspectArgs {
    /// json, or a template of Go: '{{.State.Pid}}'
    #[arg(short, long, value_name = "FORMAT", default_value = "", hide_default_value = true,
          value_parser = InspectFormat::parse)]
    pub(crate) format: InspectFormat,
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Seconds until a container that goes on is killed
    #[arg(short, long, visible_alias = "timeout", default_value = "10", value_name = "SECONDS")]
    pub(crate) time: u64,
    /// Signal to send first
    #[arg(short, long, default_value = "TERM", value_parser = Signal::parse)]
    pub(crate) signal: Signal,
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// Signal to send
    #[arg(short, long, default_value = "KILL", value_parser = Signal::parse)]
    pub(crate) signal: Signal,
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Kill containers that run
    #[arg(short, long)]
    pub(crate) force: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Do not wait for the command
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Environment variable; without a value, the caller's
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Working directory in the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<PathBuf>,
    /// User, and group, of the command
    #[arg(short, long, value_name = "NAME|UID[:GROUP|GID]")]
    pub(crate) user: Option<String>,
    pub(crate) container: String,
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Go on until the container ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Begin each line with its time
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// Only the last so many lines
    #[arg(short = 'n', long, value_name = "LINES")]
    pub(crate) tail: Option<usize>,
    pub(crate) container: String,
}
