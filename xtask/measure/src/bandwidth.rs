//! How much really passes of what an endpoint may send and receive: TCP from and to a neighbour, and from and to the
//! outside through a published port.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpCongestion;
use serde::Serialize;
use zdocker_host::Kernel;
use zdocker_host::netns::Namespace;
use zdocker_net::attach;
use zdocker_net::model::{Bandwidth, InterfaceAddress, Network};
use zdocker_net::names::{Id, MacAddress};
use zdocker_net::op::{NamespacePath, Op, Place};
use zdocker_net::plan;
use zdocker_net::subnet::{Family, Subnet};

use crate::scene;

/// What is asked for, and for how long it is tried.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where namespaces are pinned
    #[arg(long)]
    run: PathBuf,
    /// In bits a second, each way; none sets no limit
    #[arg(long)]
    rate: Option<u64>,
    /// Of each transfer, in milliseconds
    #[arg(long, default_value_t = 3000)]
    time: u64,
    /// In bytes
    #[arg(long, default_value_t = 1500)]
    mtu: u32,
    /// TCP's congestion control (tcp(7)); the machine's own if missing
    #[arg(long)]
    congestion: Option<OsString>,
}

/// What passed of one transfer.
#[derive(Serialize)]
pub(crate) struct Passed {
    /// `neighbour` or `outside`.
    peer: &'static str,
    /// Over IPv6, and else over IPv4.
    ipv6: bool,
    /// The limited container sends, and else receives.
    sends: bool,
    /// In bits a second, of TCP's payload.
    rate: u64,
}

/// Places in the subnets.
const LIMITED: u8 = 2;
const NEIGHBOUR: u8 = 3;
/// The limited container listens here, and is published at the other.
const OWN_PORT: u16 = 1;
const PORT: u16 = 5001;
const LAN: &str = "lan0";
const OUTSIDE: &str = "outside";

/// Two containers on a network, of which one is limited, and an outside.
struct World {
    limited: Namespace,
    neighbour: Namespace,
    outside: Namespace,
    /// Of the limited container.
    own: Vec<IpAddr>,
    /// Of the host on the outside's side.
    published: Vec<IpAddr>,
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Passed>> {
    let world = World::new(arguments)?;
    let passed = transfers(&world, arguments);
    let pins = [&container_name(LIMITED), &container_name(NEIGHBOUR), OUTSIDE].map(|name| Op::DeleteNamespace {
        path: pin(&arguments.run, name),
    });
    scene::remove(&mut Kernel::new(), &pins)?;
    passed
}

/// All transfers, one after the other.
fn transfers(world: &World, arguments: &Arguments) -> Result<Vec<Passed>> {
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, OWN_PORT));
    let listener = world.limited.run(|| TcpListener::bind(any))??;
    let peers = [
        ("neighbour", &world.neighbour, &world.own, OWN_PORT),
        ("outside", &world.outside, &world.published, PORT),
    ];
    let mut all = Vec::new();
    for (peer, namespace, addresses, port) in peers {
        for address in addresses {
            for sends in [false, true] {
                let client = namespace.run(|| TcpStream::connect((*address, port)))??;
                let (server, _) = listener.accept()?;
                let (sender, receiver) = if sends { (server, client) } else { (client, server) };
                if let Some(control) = &arguments.congestion {
                    setsockopt(&sender, TcpCongestion, control).context("choosing TCP's congestion control")?;
                }
                all.push(Passed {
                    peer,
                    ipv6: address.is_ipv6(),
                    sends,
                    rate: transfer(sender, receiver, Duration::from_millis(arguments.time))?,
                });
            }
        }
    }
    Ok(all)
}

/// Sends as much as passes for some time; gives what arrived in bits a second.
fn transfer(mut sender: TcpStream, mut receiver: TcpStream, time: Duration) -> Result<u64> {
    std::thread::scope(|scope| {
        // Ends when the receiver is closed, which the sender is told as soon as more arrives there.
        scope.spawn(move || while sender.write_all(&[0; 1 << 16]).is_ok() {});
        let mut buffer = vec![0; 1 << 18];
        let start = Instant::now();
        let mut bytes = 0;
        while start.elapsed() < time {
            bytes += receiver.read(&mut buffer)? as u64;
        }
        let seconds = start.elapsed().as_secs_f64();
        drop(receiver);
        Ok((bytes as f64 * 8.0 / seconds) as u64)
    })
}

impl World {
    fn new(arguments: &Arguments) -> Result<Self> {
        fs::create_dir_all(&arguments.run)?;
        let mut kernel = Kernel::new();
        let mut network = scene::network(1, &["10.1.0.0/24".parse()?, "fd00:1::/64".parse()?])?;
        if let Some(bridge) = &mut network.bridge {
            bridge.mtu = arguments.mtu;
        }
        let seen = kernel.observe()?;
        scene::apply(&mut kernel, &plan::create_network(&network, &seen))?;
        let limits = Bandwidth {
            receive: arguments.rate,
            send: arguments.rate,
            ..Bandwidth::default()
        };
        let (limited, own) = container(&mut kernel, &arguments.run, &network, LIMITED, limits)?;
        let (neighbour, _) = container(&mut kernel, &arguments.run, &network, NEIGHBOUR, Bandwidth::default())?;
        let (outside, published) = outside(&mut kernel, &arguments.run, arguments.mtu)?;
        Ok(World {
            limited,
            neighbour,
            outside,
            own,
            published,
        })
    }
}

fn container_name(place: u8) -> String {
    format!("container{place}")
}

fn pin(run: &Path, name: &str) -> NamespacePath {
    NamespacePath(run.join(name).display().to_string())
}

/// A container with these limits, at this place of its subnets.
fn container(
    kernel: &mut Kernel,
    run: &Path,
    network: &Network,
    place: u8,
    bandwidth: Bandwidth,
) -> Result<(Namespace, Vec<IpAddr>)> {
    let path = pin(run, &container_name(place));
    let wish = scene::wish(network, bandwidth)?;
    let mut endpoint = attach::endpoint(network, &Id::new([place; 32]), &wish, [place; 32])?;
    let address = |subnet: &Subnet| {
        let address = subnet.nth(place.into()).context("the subnet is too small")?;
        let prefix = subnet.prefix();
        Ok(InterfaceAddress { address, prefix })
    };
    let addresses = network.pools.iter().map(|pool| address(&pool.subnet));
    attach::bear_addresses(&mut endpoint, network, addresses.collect::<Result<_>>()?, &wish);
    if place == LIMITED {
        endpoint.ports = scene::ports(PORT, 1);
    }
    let mut ops = vec![plan::create_namespace(&path)];
    ops.extend(plan::attach(network, &endpoint, &path));
    scene::apply(kernel, &ops)?;
    let addresses = endpoint.addresses.iter().map(|own| own.address).collect();
    Ok((Namespace::open(Path::new(&path.0))?, addresses))
}

/// A namespace behind a bridge that is no network's; gives also the host's addresses there.
fn outside(kernel: &mut Kernel, run: &Path, mtu: u32) -> Result<(Namespace, Vec<IpAddr>)> {
    let path = pin(run, OUTSIDE);
    let inside = Place::Namespace(path.clone());
    let mut ops = vec![
        Op::CreateBridge {
            name: LAN.parse()?,
            mac: MacAddress::local([9; 6]),
            mtu,
        },
        plan::create_namespace(&path),
        Op::CreateVeth {
            host: "wire0".parse()?,
            bridge: Some(LAN.parse()?),
            namespace: path.clone(),
            peer: "eth0".parse()?,
            mac: MacAddress::local([8; 6]),
            mtu,
            hairpin: false,
            isolated: false,
        },
    ];
    let hosts: Vec<IpAddr> = vec!["192.0.2.1".parse()?, "2001:db8::1".parse()?];
    let others: Vec<IpAddr> = vec!["192.0.2.2".parse()?, "2001:db8::2".parse()?];
    for (place, link, addresses) in [(&Place::Host, LAN, &hosts), (&inside, "eth0", &others)] {
        for address in addresses {
            ops.push(Op::AddAddress {
                place: place.clone(),
                link: link.parse()?,
                address: *address,
                prefix: match Family::of(*address) {
                    Family::V4 => 24,
                    Family::V6 => 64,
                },
            });
        }
        ops.push(Op::SetUp {
            place: place.clone(),
            link: link.parse()?,
        });
    }
    scene::apply(kernel, &ops)?;
    Ok((Namespace::open(Path::new(&path.0))?, hosts))
}
