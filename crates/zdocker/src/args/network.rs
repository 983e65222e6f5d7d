//! `network ...`

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr};

use clap::{ArgAction, Args, Subcommand};
use zdocker_net::names::MacAddress;
use zdocker_net::shaping::Rate;

use super::spelling::{filter, key_value, refused_link, refused_link_local_ip};
use crate::output::inspect::InspectFormat;
use crate::output::list::ListFormat;

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Create a network
    Create(CreateArgs),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Show networks in detail, as JSON
    Inspect(NetworkInspectArgs),
    /// Plug a container into a network
    Connect(ConnectArgs),
    /// Unplug a container from a network
    Disconnect(DisconnectArgs),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
    /// Remove all networks that no container is plugged into
    Prune(PruneArgs),
    /// Show what is in use of a network's addresses
    Ipam(IpamArgs),
    /// Make bridges, firewall and containers' interfaces again what the records say, and print each step that this
    /// takes
    Reload(ReloadArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ReloadArgs {
    /// All networks that are in use, instead of those that are named
    #[arg(long, required_unless_present = "networks", conflicts_with = "networks")]
    pub(crate) all: bool,
    /// Print the steps, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[arg(value_name = "NETWORK")]
    pub(crate) networks: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// bridge, macvlan, ipvlan, host or none
    #[arg(short, long, default_value = "bridge")]
    pub(crate) driver: String,
    /// Subnet; host bits name the gateway (192.168.10.1/24). Without it a free one is found
    #[arg(long, value_name = "CIDR")]
    pub(crate) subnet: Vec<String>,
    /// The host's address in the subnet; by default the first usable one
    #[arg(long, value_name = "IP")]
    pub(crate) gateway: Vec<String>,
    /// Part of a subnet that addresses are handed out from
    #[arg(long, value_name = "CIDR")]
    pub(crate) ip_range: Vec<String>,
    /// Address of a subnet that is never handed out
    #[arg(long, value_name = "NAME=IP", value_parser = key_value)]
    pub(crate) aux_address: Vec<(String, String)>,
    /// Whether the network has an IPv4 subnet although none is given
    #[arg(long, value_name = "BOOL", default_value = "true", default_missing_value = "true", num_args = 0..=1,
          require_equals = true, action = ArgAction::Set)]
    pub(crate) ipv4: bool,
    /// Whether the network has an IPv6 subnet although none is given
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true", num_args = 0..=1,
          require_equals = true, action = ArgAction::Set)]
    pub(crate) ipv6: bool,
    /// No way out, and none in
    #[arg(long)]
    pub(crate) internal: bool,
    /// Option of the driver: bridge=NAME, mtu=BYTES, masquerade=BOOL,
    /// gateway_mode_ipv4=nat|nat-unprotected|routed|isolated, icc=BOOL, isolation=none|normal|strict
    /// and more, or Docker's long names of them; of macvlan and ipvlan: parent=INTERFACE[.VLAN],
    /// macvlan_mode=bridge|private|vepa|passthru, ipvlan_mode=l2|l3|l3s, ipvlan_flag=bridge|private|vepa
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) opt: Vec<(String, String)>,
    /// Route that every container gets, by a neighbour or directly on the network
    #[arg(long, value_name = "CIDR[,IP][,METRIC]")]
    pub(crate) route: Vec<String>,
    /// Who manages the addresses: default
    #[arg(long, value_name = "DRIVER", default_value = "default")]
    pub(crate) ipam_driver: String,
    /// Option of the address management; kept and shown
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) ipam_opt: Vec<(String, String)>,
    /// Kept and shown: containers may be on every network anyway
    #[arg(long)]
    pub(crate) attachable: bool,
    /// How far the network reaches: local
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Option<String>,
    /// For the services of a swarm, so always refused
    #[arg(long)]
    pub(crate) ingress: bool,
    /// A configuration for other networks; containers cannot be on it
    #[arg(long)]
    pub(crate) config_only: bool,
    /// The network whose configuration is taken
    #[arg(long, value_name = "NETWORK")]
    pub(crate) config_from: Option<String>,
    /// Metadata
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) label: Vec<(String, String)>,
    /// Print the steps, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Identifiers only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only networks that are so: name=, id=, driver=, label=KEY[=VALUE], scope=, type=custom|builtin, dangling=BOOL;
    /// may be given several times
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = filter)]
    pub(crate) filter: Vec<(String, String)>,
    /// Do not shorten identifiers
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// table, json, a template of Go, or table and a template: 'table {{.ID}}\t{{.Name}}'
    #[arg(long, value_name = "FORMAT", value_parser = ListFormat::parse)]
    pub(crate) format: Option<ListFormat>,
}

#[derive(Debug, Args)]
pub(crate) struct NetworkInspectArgs {
    /// json, or a template of Go: '{{json .IPAM.Config}}'
    #[arg(short, long, value_name = "FORMAT", default_value = "", hide_default_value = true,
          value_parser = InspectFormat::parse)]
    pub(crate) format: InspectFormat,
    /// Tell also of interfaces, aliases, ports and limits
    #[arg(short, long)]
    pub(crate) verbose: bool,
    #[arg(required = true, value_name = "NETWORK")]
    pub(crate) networks: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// IPv4 address
    #[arg(long)]
    pub(crate) ip: Option<Ipv4Addr>,
    /// IPv6 address
    #[arg(long)]
    pub(crate) ip6: Option<Ipv6Addr>,
    /// Name on this network, beside the container's own
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Vec<String>,
    /// Ethernet address
    #[arg(long, value_name = "MAC")]
    pub(crate) mac_address: Option<MacAddress>,
    /// Of a container's networks the one with the highest gives the default route
    #[arg(long, value_name = "NUMBER", default_value = "0", allow_negative_numbers = true)]
    pub(crate) gw_priority: i32,
    /// Limit what the container receives by this network, for example 10mbit
    #[arg(long, value_name = "RATE")]
    pub(crate) bandwidth_in: Option<Rate>,
    /// Limit what it sends
    #[arg(long, value_name = "RATE")]
    pub(crate) bandwidth_out: Option<Rate>,
    #[arg(long, hide = true, value_name = "CONTAINER[:NAME]", value_parser = refused_link)]
    link: Vec<Infallible>,
    #[arg(long, hide = true, value_name = "IP", value_parser = refused_link_local_ip)]
    link_local_ip: Vec<Infallible>,
    /// com.docker.network.endpoint.ifname=NAME, com.docker.network.endpoint.sysctls=KEY=VALUE,..
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) driver_opt: Vec<(String, String)>,
    /// Print the steps, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    pub(crate) network: String,
    pub(crate) container: String,
}

#[derive(Debug, Args)]
pub(crate) struct DisconnectArgs {
    /// A container that is gone, or not on the network, is no error
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Print the steps, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    pub(crate) network: String,
    pub(crate) container: String,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    #[arg(required = true, value_name = "NETWORK")]
    pub(crate) networks: Vec<String>,
    /// A network that is not there is no error
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Print the steps, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Only networks that are so: label=KEY[=VALUE], label!=KEY[=VALUE], until=TIME (10m, 2026-01-31T12:00:00); may be
    /// given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = filter)]
    pub(crate) filter: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct IpamArgs {
    /// Print the bitmap: 1 for addresses that are not free, network and broadcast address included
    #[arg(long)]
    pub(crate) bitmap: bool,
    pub(crate) network: String,
}
