//! From what a user asked of a container's networking to what each of its endpoints is to be.

use std::net::IpAddr;

use crate::firewall::PORT_PREFIX;
use crate::ipam;
use crate::model::{Driver, Endpoint, EndpointSettings, InterfaceAddress, Network};
use crate::names::{Id, InterfaceName, MacAddress, NameError};
use crate::ports::{self, PortRequest, Protocol};
use crate::subnet::Family;

/// What a user asked of a container's endpoints, beside their networks.
#[derive(Debug, Clone, Default)]
pub struct AttachRequest {
    /// Addresses, at most one of each family.
    pub addresses: Vec<IpAddr>,
    /// The Ethernet address on the first network.
    pub mac: Option<MacAddress>,
    /// What is published.
    pub ports: Vec<PortRequest>,
}

/// What one endpoint is to be; addresses that are not given are for the lease to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointWish {
    /// The interface within the container.
    pub interface: InterfaceName,
    /// Addresses that were asked for.
    pub addresses: Vec<IpAddr>,
    /// The Ethernet address that was asked for.
    pub mac: Option<MacAddress>,
    /// The gateways of the default routes.
    pub gateways: Vec<IpAddr>,
    /// Whether the container's published ports lead to this endpoint.
    pub publishes: bool,
}

/// Why a container cannot be plugged in as asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// See [`NameError`].
    #[error(transparent)]
    Name(#[from] NameError),
    /// The same network twice.
    #[error("network {0:?} is given twice; a container has one endpoint on each network")]
    Twice(String),
    /// `host` or `none` among others.
    #[error("network {0:?} cannot be combined with other networks")]
    NotWithOthers(String),
    /// An address, MAC or port without a bridge network.
    #[error("{what} needs a bridge network, and network {network:?} is none: leave it out, or give --net NETWORK")]
    NeedsBridge {
        /// What was asked for.
        what: &'static str,
        /// The network that the container is on.
        network: String,
    },
    /// None of the networks has it.
    #[error("address {address} is in no subnet of the container's networks ({subnets})")]
    Outside {
        /// The address.
        address: IpAddr,
        /// What would do.
        subnets: String,
    },
    /// The same port of the host twice.
    #[error("port {0} of this host is published twice; leave one out")]
    PortTwice(String),
    /// The container has no address of the family that the port is published at.
    #[error("cannot publish at {0}: the container has no {1} address on network {2:?}")]
    NoSuchFamily(IpAddr, Family, String),
    /// An address that packets cannot be led on from.
    #[error("cannot publish at {0}: the kernel leads nothing on from {1}; give another address of this host, or none")]
    Unpublishable(IpAddr, &'static str),
    /// The network's own or its broadcast address.
    #[error("address {0} cannot be given to a container: it is the own or the broadcast address of network {1:?}")]
    Unusable(IpAddr, String),
}

/// What each endpoint is to be of a container on `networks`, in their order.
///
/// The first network that is not internal gives the default route and takes the published ports, separately for the
/// route of each family.
///
/// # Errors
/// [`AttachError`].
pub fn wishes(networks: &[&Network], request: &AttachRequest) -> Result<Vec<EndpointWish>, AttachError> {
    check_together(networks, request)?;
    let bridges: Vec<&Network> = networks
        .iter()
        .copied()
        .filter(|n| n.driver == Driver::Bridge)
        .collect();
    for address in &request.addresses {
        check_address(&bridges, *address)?;
    }
    let first_open = |family| {
        bridges
            .iter()
            .find(|n| !n.internal && n.pool(family).is_some())
            .map(|n| &n.id)
    };
    let publisher = bridges.iter().find(|n| !n.internal).or(bridges.first());
    check_ports(&request.ports, publisher.copied())?;
    let publisher = publisher.map(|network| &network.id);
    let wish = |(number, network): (usize, &&Network)| {
        let gateways = network
            .pools
            .iter()
            .filter(|pool| first_open(pool.subnet.family()) == Some(&network.id));
        Ok(EndpointWish {
            interface: format!("eth{number}").parse()?,
            addresses: request
                .addresses
                .iter()
                .copied()
                .filter(|a| holds(network, *a))
                .collect(),
            mac: request.mac.filter(|_| number == 0),
            gateways: gateways.map(|pool| pool.gateway).collect(),
            publishes: publisher == Some(&network.id),
        })
    };
    bridges.iter().enumerate().map(wish).collect()
}

fn check_together(networks: &[&Network], request: &AttachRequest) -> Result<(), AttachError> {
    for (number, network) in networks.iter().enumerate() {
        if networks[..number].iter().any(|other| other.id == network.id) {
            return Err(AttachError::Twice(network.name.to_string()));
        }
        if network.driver == Driver::Bridge {
            continue;
        }
        if networks.len() > 1 {
            return Err(AttachError::NotWithOthers(network.name.to_string()));
        }
        needs_bridge(request, network.name.as_str())?;
    }
    Ok(())
}

/// Refuses addresses, and ports where `network`, which is no bridge, cannot publish them.
///
/// # Errors
/// [`AttachError::NeedsBridge`]. Published ports on the host's network are no error: the container is there already.
pub fn needs_bridge(request: &AttachRequest, network: &str) -> Result<(), AttachError> {
    let needs = |what| {
        Err(AttachError::NeedsBridge {
            what,
            network: network.to_owned(),
        })
    };
    if !request.addresses.is_empty() {
        return needs("an address (--ip, --ip6)");
    }
    if request.mac.is_some() {
        return needs("a MAC address (--mac-address)");
    }
    if !request.ports.is_empty() && network != "host" {
        return needs("a published port (-p)");
    }
    Ok(())
}

/// Refuses ports that can never be reached at a container whose published ports lead to `publisher`.
///
/// # Errors
/// [`AttachError`].
pub fn check_ports(asked: &[PortRequest], publisher: Option<&Network>) -> Result<(), AttachError> {
    if let Some((port, request)) = ports::first_conflict(asked) {
        return Err(AttachError::PortTwice(format!("{port}/{}", request.protocol())));
    }
    for port in asked {
        let Some(ip) = port.host_ip() else { continue };
        match ip {
            // A relay leads on from there, also to IPv4.
            IpAddr::V6(ip) if ip.is_loopback() && port.protocol() != Protocol::Sctp => continue,
            IpAddr::V6(ip) if ip.is_loopback() => return Err(AttachError::Unpublishable(ip.into(), "::1")),
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                return Err(AttachError::Unpublishable(ip.into(), "link-local addresses"));
            }
            _ => {}
        }
        let family = Family::of(ip);
        if let Some(network) = publisher.filter(|n| !n.pools.is_empty() && n.pool(family).is_none()) {
            return Err(AttachError::NoSuchFamily(ip, family, network.name.to_string()));
        }
    }
    Ok(())
}

fn holds(network: &Network, address: IpAddr) -> bool {
    network.pools.iter().any(|pool| pool.subnet.contains(address))
}

fn check_address(networks: &[&Network], address: IpAddr) -> Result<(), AttachError> {
    let Some(network) = networks.iter().find(|network| holds(network, address)) else {
        let subnets = networks
            .iter()
            .flat_map(|network| network.pools.iter().map(|pool| pool.subnet.to_string()));
        return Err(AttachError::Outside {
            address,
            subnets: subnets.collect::<Vec<_>>().join(", "),
        });
    };
    let usable = network.pools.iter().any(|pool| {
        pool.subnet
            .offset_of(address)
            .is_some_and(|offset| ipam::usable(&pool.subnet).contains(&offset))
    });
    if usable {
        Ok(())
    } else {
        Err(AttachError::Unusable(address, network.name.to_string()))
    }
}

/// The endpoint of `container` on `network` before addresses are leased and ports chosen.
///
/// # Errors
/// [`AttachError::Name`] never happens with an [`Id`] of our own making.
pub fn endpoint(
    network: &Network,
    container: &Id,
    wish: &EndpointWish,
    random: [u8; 32],
) -> Result<Endpoint, AttachError> {
    let id = Id::new(random);
    let mut chance = [0; 6];
    chance.copy_from_slice(&random[..6]);
    Ok(Endpoint {
        host_interface: InterfaceName::prefixed(PORT_PREFIX, id.as_str())?,
        id,
        network: network.id.clone(),
        container: container.clone(),
        interface: wish.interface.clone(),
        mac: wish.mac.unwrap_or(MacAddress::local(chance)),
        addresses: Vec::new(),
        gateways: wish.gateways.clone(),
        metric: None,
        routes: Vec::new(),
        ports: Vec::new(),
        settings: EndpointSettings::default(),
    })
}

/// Gives `endpoint` its leased addresses. Unless a MAC address was asked for, it follows from the IPv4 address, so that
/// neighbours that remember an address's former holder do not send to nobody.
pub fn bear_addresses(endpoint: &mut Endpoint, addresses: Vec<InterfaceAddress>, wish: &EndpointWish) {
    endpoint.addresses = addresses;
    if let (None, Some(IpAddr::V4(address))) = (wish.mac, endpoint.address(Family::V4)) {
        let [a, b, c, d] = address.octets();
        endpoint.mac = MacAddress::local([0x02, 0x42, a, b, c, d]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BridgeDevice, Pool, Settings};

    fn network(number: u8, driver: Driver, subnets: &[&str], internal: bool) -> Network {
        let name = format!("net{number}");
        let pools = subnets
            .iter()
            .map(|s| s.parse().unwrap())
            .map(|subnet: crate::subnet::Subnet| Pool::new(subnet, subnet.nth(1).unwrap()));
        Network {
            id: Id::new([number; 32]),
            driver,
            pools: pools.collect(),
            bridge: Some(BridgeDevice {
                name: name.parse().unwrap(),
                mac: MacAddress::local([number; 6]),
                mtu: 1500,
            }),
            name: name.parse().unwrap(),
            parent: None,
            internal,
            masquerade: true,
            settings: Settings::default(),
            options: Default::default(),
            labels: Default::default(),
            created: 0,
        }
    }

    fn asking(addresses: &[&str]) -> AttachRequest {
        AttachRequest {
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn the_first_open_network_gives_the_way_out_and_takes_the_ports() {
        let inner = network(1, Driver::Bridge, &["10.1.0.0/24"], true);
        let v4 = network(2, Driver::Bridge, &["10.2.0.0/24"], false);
        let both = network(3, Driver::Bridge, &["10.3.0.0/24", "fd03::/64"], false);
        let wishes = wishes(&[&inner, &v4, &both], &asking(&["10.3.0.9"])).unwrap();
        let shown: Vec<String> = wishes
            .iter()
            .map(|w| format!("{} {:?} {:?} {}", w.interface, w.addresses, w.gateways, w.publishes))
            .collect();
        assert_eq!(
            shown,
            [
                "eth0 [] [] false",
                "eth1 [] [10.2.0.1] true",
                "eth2 [10.3.0.9] [fd03::1] false"
            ]
        );
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let a = network(1, Driver::Bridge, &["10.1.0.0/24"], false);
        let none = network(2, Driver::None, &[], false);
        for (networks, request, words) in [
            (vec![&a, &a], asking(&[]), "given twice"),
            (vec![&a, &none], asking(&[]), "cannot be combined"),
            (vec![&none], asking(&["10.1.0.2"]), "needs a bridge network"),
            (
                vec![&a],
                asking(&["10.2.0.2"]),
                "in no subnet of the container's networks (10.1.0.0/24)",
            ),
            (vec![&a], asking(&["fd00::2"]), "in no subnet"),
            (vec![&a], asking(&["10.1.0.255"]), "broadcast"),
            (vec![&a], asking(&["10.1.0.0"]), "own or the broadcast"),
        ] {
            let message = wishes(&networks, &request).unwrap_err().to_string();
            assert!(message.contains(words), "{message:?} has no {words:?}");
        }
    }

    #[test]
    fn ports_that_can_never_be_reached_are_refused() {
        let v4 = network(1, Driver::Bridge, &["10.1.0.0/24"], false);
        let both = network(2, Driver::Bridge, &["10.2.0.0/24", "fd02::/64"], false);
        for (network, ports, words) in [
            (&v4, "8080:80 8080:81", Some("published twice")),
            (&v4, "8080:80 127.0.0.1:8080:81", Some("8080/tcp")),
            (&v4, "127.0.0.1:8080:80 127.0.0.2:8080:80", None),
            (&v4, "8080:80/tcp 8080:80/udp", None),
            (&v4, "80 80", None),
            (&v4, "[2001:db8::1]:80:80", Some("no IPv6 address")),
            (&both, "[2001:db8::1]:80:80", None),
            (&both, "[::1]:80:80", None),
            (&v4, "[::1]:80:80", None),
            (&both, "[::1]:80:80/sctp", Some("::1")),
            (&both, "8000-8010:80-90 8010:80", Some("8010/tcp")),
            (&both, "[fe80::1]:80:80", Some("link-local")),
        ] {
            let ports = ports.split(' ').map(|port| port.parse().unwrap()).collect();
            let asked = AttachRequest {
                ports,
                ..Default::default()
            };
            let refused = wishes(&[network], &asked).err().map(|error| error.to_string());
            match (words, &refused) {
                (Some(words), Some(message)) => assert!(message.contains(words), "{message:?} has no {words:?}"),
                _ => assert_eq!(refused, None),
            }
        }
    }

    #[test]
    fn the_mac_follows_the_ipv4_address_unless_asked_for() {
        let a = network(1, Driver::Bridge, &["10.1.0.0/24"], false);
        let mut wish = wishes(&[&a], &asking(&[])).unwrap().remove(0);
        let addresses = || {
            vec![InterfaceAddress {
                address: "10.1.0.7".parse().unwrap(),
                prefix: 24,
            }]
        };
        let mut plugged = endpoint(&a, &Id::new([9; 32]), &wish, [0xab; 32]).unwrap();
        assert_eq!(plugged.host_interface.as_str(), "zdvabababababab");
        bear_addresses(&mut plugged, addresses(), &wish);
        assert_eq!(plugged.mac.to_string(), "02:42:0a:01:00:07");
        wish.mac = Some("02:00:00:00:00:99".parse().unwrap());
        let mut asked = endpoint(&a, &Id::new([9; 32]), &wish, [0xab; 32]).unwrap();
        bear_addresses(&mut asked, addresses(), &wish);
        assert_eq!(asked.mac.to_string(), "02:00:00:00:00:99");
    }
}
