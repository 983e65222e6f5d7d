//! Networks with drivers `macvlan` and `ipvlan`: their options and their parent interface.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::options::{self, Given};
use super::{Birth, NetworkRequest, ParentError, SpecError, Surroundings, pools, routes};
use crate::ipam;
use crate::model::{
    Children, Driver, IpvlanFlag, IpvlanMode, LAST_VLAN, MacvlanMode, MadeParent, Network, ParentDevice, Pool, Settings,
};
use crate::names::{Id, InterfaceName, Name};

/// How the names of parents that lead nowhere begin, as Docker's do.
const DUMMY_PREFIX: &str = "dm-";

/// How the names of the reserved addresses begin that are the host's.
const HOST: &str = "host";

/// The name of the loopback interface in every network namespace.
const LOOPBACK: &str = "lo";

/// The options of the drivers; those of [`options`] come in addition.
const MACVLAN_NAMES: [&str; 6] = ["parent", "macvlan_mode", "mtu", "bclim", "enable_ipv4", "enable_ipv6"];
const IPVLAN_NAMES: [&str; 6] = [
    "parent",
    "ipvlan_mode",
    "ipvlan_flag",
    "mtu",
    "enable_ipv4",
    "enable_ipv6",
];

/// The options of a driver, read.
struct ParentOptions {
    parent: Option<InterfaceName>,
    mtu: Option<u32>,
    children: Children,
    ipv4: bool,
    ipv6: bool,
    settings: Settings,
}

impl ParentOptions {
    fn read(driver: Driver, request: &NetworkRequest, options: &BTreeMap<String, String>) -> Result<Self, SpecError> {
        let mut read = ParentOptions {
            parent: None,
            mtu: None,
            children: match driver {
                Driver::Ipvlan => Children::Ipvlan {
                    mode: IpvlanMode::L2,
                    flag: IpvlanFlag::Bridge,
                },
                _ => Children::Macvlan {
                    mode: MacvlanMode::Bridge,
                    broadcast_limit: None,
                },
            },
            ipv4: request.ipv4,
            ipv6: request.ipv6,
            settings: options::common(request)?,
        };
        for (key, value) in options {
            read.take(driver, Given { key, value })?;
        }
        Ok(read)
    }

    fn take(&mut self, driver: Driver, given: Given<'_>) -> Result<(), SpecError> {
        match (given.key, &mut self.children) {
            // Docker takes the empty word for none.
            ("parent", _) if given.value.is_empty() => {}
            ("parent", _) => self.parent = Some(given.value.parse()?),
            ("mtu" | "com.docker.network.driver.mtu", _) => self.mtu = Some(given.parsed("a number of bytes")?),
            ("enable_ipv4" | "com.docker.network.enable_ipv4", _) => self.ipv4 = given.boolean()?,
            ("enable_ipv6" | "com.docker.network.enable_ipv6", _) => self.ipv6 = given.boolean()?,
            // Podman's name of it is the shorter one.
            ("macvlan_mode" | "mode", Children::Macvlan { mode, .. }) => *mode = macvlan_mode(given)?,
            ("bclim", Children::Macvlan { broadcast_limit, .. }) => *broadcast_limit = Some(given.parsed("a number")?),
            ("ipvlan_mode" | "mode", Children::Ipvlan { mode, .. }) => *mode = ipvlan_mode(given)?,
            ("ipvlan_flag", Children::Ipvlan { flag, .. }) => *flag = ipvlan_flag(given)?,
            _ if options::read_common(given, &mut self.settings)? => {}
            _ => return Err(unknown(driver, given.key)),
        }
        Ok(())
    }
}

fn unknown(driver: Driver, key: &str) -> SpecError {
    let own = if driver == Driver::Ipvlan {
        IPVLAN_NAMES
    } else {
        MACVLAN_NAMES
    };
    options::unknown(driver, key, own)
}

fn macvlan_mode(given: Given<'_>) -> Result<MacvlanMode, SpecError> {
    Ok(match given.value {
        "" | "bridge" => MacvlanMode::Bridge,
        "private" => MacvlanMode::Private,
        "vepa" => MacvlanMode::Vepa,
        "passthru" => MacvlanMode::Passthru,
        _ => return Err(given.bad("bridge, private, vepa or passthru")),
    })
}

fn ipvlan_mode(given: Given<'_>) -> Result<IpvlanMode, SpecError> {
    Ok(match given.value {
        "" | "l2" => IpvlanMode::L2,
        "l3" => IpvlanMode::L3,
        "l3s" => IpvlanMode::L3s,
        _ => return Err(given.bad("l2, l3 or l3s")),
    })
}

fn ipvlan_flag(given: Given<'_>) -> Result<IpvlanFlag, SpecError> {
    Ok(match given.value {
        "" | "bridge" => IpvlanFlag::Bridge,
        "private" => IpvlanFlag::Private,
        "vepa" => IpvlanFlag::Vepa,
        _ => return Err(given.bad("bridge, private or vepa")),
    })
}

/// The network with this driver, `macvlan` or `ipvlan`, that `request` asks for.
pub(super) fn create(
    driver: Driver,
    request: &NetworkRequest,
    name: Name,
    around: &Surroundings,
    birth: Birth,
) -> Result<Network, SpecError> {
    let options: BTreeMap<String, String> = request.options.iter().cloned().collect();
    let mut read = ParentOptions::read(driver, request, &options)?;
    // The addresses are those of the wire that the parent is on, where the host has its own.
    let mut pools = pools::choose(request, (read.ipv4, read.ipv6), around, pools::free_of_networks)?;
    pools
        .iter_mut()
        .for_each(|pool| reserve_host(pool, &around.seen.addresses));
    read.settings.routes = routes::read(&request.routes, &pools)?;
    routes::check_default(&read.settings)?;
    let (parent, most) = choose_parent(read.parent, read.children, &birth.id, around)?;
    if let Some(mtu) = read.mtu {
        options::check_mtu(mtu, &options, &pools)?;
        if let Some(most) = most.filter(|most| mtu > *most) {
            return Err(ParentError::Mtu {
                mtu,
                parent: parent.name,
                most,
            }
            .into());
        }
    }
    // As with Docker: a network without a parent leads nowhere.
    let leads_nowhere = matches!(parent.made, Some(MadeParent::Dummy));
    Ok(Network {
        id: birth.id,
        name,
        driver,
        pools,
        bridge: None,
        parent: Some(ParentDevice {
            mtu: read.mtu,
            ..parent
        }),
        internal: request.internal || leads_nowhere,
        masquerade: false,
        settings: read.settings,
        options,
        labels: request.labels.iter().cloned().collect(),
        created: birth.now,
    })
}

/// Keeps the host's own addresses from being handed out: on the wire they would be there twice.
fn reserve_host(pool: &mut Pool, addresses: &[IpAddr]) {
    for address in addresses {
        let usable = |offset: u128| ipam::usable(&pool.subnet).contains(&offset);
        let can_be_had = pool.subnet.offset_of(*address).is_some_and(usable) && Some(*address) != pool.gateway;
        if can_be_had && !pool.reserved.values().any(|reserved| reserved == address) {
            pool.reserved.insert(format!("{HOST}-{address}"), *address);
        }
    }
}

/// The parent, and the most that the MTU of what is made on it can be, in bytes.
fn choose_parent(
    asked: Option<InterfaceName>,
    children: Children,
    id: &Id,
    around: &Surroundings,
) -> Result<(ParentDevice, Option<u32>), SpecError> {
    let device = |name, made| ParentDevice {
        name,
        mtu: None,
        children,
        made,
    };
    let Some(name) = asked else {
        let name = InterfaceName::prefixed(DUMMY_PREFIX, id.as_str())?;
        return Ok((device(name, Some(MadeParent::Dummy)), None));
    };
    check_shared(&name, children, around)?;
    if let Some(link) = around.seen.link(&name) {
        check_link(&name, children, around)?;
        // What another network brought along goes with the last that is on it.
        let made = parents(around, &name).find_map(|(_, parent)| parent.made.clone());
        return Ok((device(name, made), Some(link.mtu)));
    }
    let (on, id) = vlan(&name, around)?;
    check_link(&on, children, around)?;
    let most = around.seen.link(&on).map(|link| link.mtu);
    Ok((device(name, Some(MadeParent::Vlan { on, id })), most))
}

/// The networks that have this parent.
fn parents<'a>(
    around: &'a Surroundings,
    name: &'a InterfaceName,
) -> impl Iterator<Item = (&'a Network, &'a ParentDevice)> {
    let with_parent = around
        .networks
        .iter()
        .filter_map(|network| Some((network, network.parent.as_ref()?)));
    with_parent.filter(move |(_, parent)| parent.name == *name)
}

/// The interface and number of which `name`, which is not there, can be a VLAN.
fn vlan(name: &InterfaceName, around: &Surroundings) -> Result<(InterfaceName, u16), ParentError> {
    let missing = || ParentError::Missing(name.clone());
    let (on, number) = name.as_str().rsplit_once('.').ok_or_else(missing)?;
    let on: InterfaceName = on.parse().map_err(|_| missing())?;
    around.seen.link(&on).ok_or_else(missing)?;
    match number.parse() {
        Ok(id) if (1..=LAST_VLAN).contains(&id) => Ok((on, id)),
        _ => Err(ParentError::VlanNumber(name.clone(), on)),
    }
}

/// Refuses an interface that cannot have others on it.
fn check_link(name: &InterfaceName, children: Children, around: &Surroundings) -> Result<(), ParentError> {
    if name.as_str() == LOOPBACK {
        return Err(ParentError::Loopback(name.clone()));
    }
    if let Some(bridge) = around.seen.master(name) {
        return Err(ParentError::BridgePort(name.clone(), bridge.clone()));
    }
    let is_bridge_of = |network: &&Network| network.bridge.as_ref().is_some_and(|bridge| bridge.name == *name);
    if let Some(network) = around.networks.iter().find(is_bridge_of) {
        return Err(ParentError::OwnBridge(name.clone(), network.name.to_string()));
    }
    let has_mac = around.seen.link(name).is_some_and(|link| link.mac.is_some());
    match children {
        Children::Macvlan { .. } if !has_mac => Err(ParentError::NotEthernet(name.clone())),
        _ => Ok(()),
    }
}

/// Refuses a parent whose other networks it cannot have together with this one. An ipvlan parent has one mode for all
/// that is on it, and changing it for one would change it for the others.
fn check_shared(name: &InterfaceName, children: Children, around: &Surroundings) -> Result<(), ParentError> {
    for (network, other) in parents(around, name) {
        let passthru = |mode| mode == MacvlanMode::Passthru;
        let why = match (children, other.children) {
            (Children::Macvlan { mode: one, .. }, Children::Macvlan { mode: two, .. }) => {
                if !passthru(one) && !passthru(two) {
                    continue;
                }
                "another network where one has mode passthru"
            }
            (Children::Ipvlan { .. }, Children::Ipvlan { .. }) if children == other.children => continue,
            (Children::Ipvlan { .. }, Children::Ipvlan { .. }) => "an ipvlan network of another mode or flag",
            _ => "macvlan and ipvlan networks at once",
        };
        return Err(ParentError::Shared {
            parent: name.clone(),
            network: network.name.to_string(),
            why,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::MacAddress;
    use crate::seen::{Seen, SeenLink};

    /// `eth0`, which is on Ethernet, and `wg0`, which is not.
    fn host() -> Seen {
        let link = |name: &str, mac| SeenLink {
            name: name.parse().unwrap(),
            mac,
            mtu: 1400,
        };
        Seen {
            links: vec![link("eth0", Some(MacAddress::local([7; 6]))), link("wg0", None)],
            connected: vec![("eth0".parse().unwrap(), "192.0.2.0/24".parse().unwrap())],
            addresses: vec!["192.0.2.7".parse().unwrap(), "10.0.0.1".parse().unwrap()],
            ..Seen::default()
        }
    }

    /// The network that driver, subnet and options ask for beside `networks`.
    fn among(networks: &[Network], driver: &str, subnet: &str, options: &[&str]) -> Result<Network, SpecError> {
        let options = options.iter().map(|option| option.split_once('=').unwrap());
        let request = NetworkRequest {
            name: format!("n{}", networks.len()),
            driver: Some(driver.to_owned()),
            subnets: vec![subnet.to_owned()],
            options: options.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..NetworkRequest::default()
        };
        let around = Surroundings {
            networks,
            seen: &host(),
            pools: &[],
        };
        let birth = Birth {
            id: Id::new([networks.len() as u8 + 1; 32]),
            mac: MacAddress::local([1; 6]),
            now: 0,
        };
        super::super::create(&request, &around, birth)
    }

    fn alone(driver: &str, options: &[&str]) -> ParentDevice {
        among(&[], driver, "192.0.2.0/24", options).unwrap().parent.unwrap()
    }

    #[test]
    fn a_parent_that_is_there_is_somebody_elses() {
        let parent = alone("macvlan", &["parent=eth0", "bclim=-1"]);
        let children = Children::Macvlan {
            mode: MacvlanMode::Bridge,
            broadcast_limit: Some(-1),
        };
        assert_eq!((parent.name.as_str(), parent.mtu, parent.made), ("eth0", None, None));
        assert_eq!(parent.children, children);
        let flag = IpvlanFlag::Vepa;
        let children = Children::Ipvlan {
            mode: IpvlanMode::L3s,
            flag,
        };
        let options = ["parent=wg0", "mode=l3s", "ipvlan_flag=vepa", "mtu=1300"];
        let parent = alone("ipvlan", &options);
        assert_eq!((parent.children, parent.mtu), (children, Some(1300)));
    }

    #[test]
    fn what_is_not_there_is_made_where_it_can_be() {
        let on = || "eth0".parse().unwrap();
        let vlan = |name: &str| alone("macvlan", &[&format!("parent={name}")]).made;
        assert_eq!(vlan("eth0.7"), Some(MadeParent::Vlan { on: on(), id: 7 }));
        assert_eq!(vlan("eth0.4094"), Some(MadeParent::Vlan { on: on(), id: 4094 }));
        for options in [&[][..], &["parent="]] {
            let network = among(&[], "ipvlan", "192.0.2.0/24", options).unwrap();
            let parent = network.parent.unwrap();
            assert_eq!(
                (parent.name.as_str(), parent.made),
                ("dm-010101010101", Some(MadeParent::Dummy))
            );
            assert!(network.internal);
        }
    }

    #[test]
    fn networks_on_one_parent_get_along_or_are_refused() {
        let first = |driver: &str, options: &[&str]| among(&[], driver, "192.0.2.0/24", options).unwrap();
        let check = |one: (&str, &[&str]), two: (&str, &[&str]), refused: Option<&str>| {
            let second = among(&[first(one.0, one.1)], two.0, "198.51.100.0/24", two.1);
            match (second, refused) {
                (Ok(second), None) => second.parent.unwrap().made,
                (Err(error), Some(words)) if error.to_string().contains(words) => None,
                (second, _) => panic!("{one:?} and {two:?}: {second:?}"),
            }
        };
        let (bridge, passthru) = (&["parent=eth0"][..], &["parent=eth0", "mode=passthru"][..]);
        let (private, vlan) = (&["parent=eth0", "mode=private"][..], &["parent=eth0.7"][..]);
        let (l3, vepa) = (
            &["parent=eth0", "mode=l3"][..],
            &["parent=eth0", "ipvlan_flag=vepa"][..],
        );
        check(("macvlan", bridge), ("macvlan", private), None);
        check(("macvlan", bridge), ("ipvlan", &["parent=wg0"]), None);
        check(("macvlan", bridge), ("ipvlan", bridge), Some("macvlan and ipvlan"));
        check(("macvlan", bridge), ("macvlan", passthru), Some("passthru"));
        check(("macvlan", passthru), ("macvlan", bridge), Some("\"n0\""));
        check(("ipvlan", bridge), ("ipvlan", bridge), None);
        check(("ipvlan", l3), ("ipvlan", bridge), Some("another mode or flag"));
        check(("ipvlan", bridge), ("ipvlan", vepa), Some("another mode or flag"));
        let made = check(("macvlan", vlan), ("macvlan", vlan), None);
        assert!(matches!(made, Some(MadeParent::Vlan { id: 7, .. })));
    }

    #[test]
    fn the_hosts_own_addresses_are_not_handed_out() {
        let reserved = |driver, subnet| among(&[], driver, subnet, &[]).unwrap().pools[0].reserved.clone();
        let own: IpAddr = "192.0.2.7".parse().unwrap();
        assert_eq!(
            reserved("ipvlan", "192.0.2.0/24"),
            [("host-192.0.2.7".to_owned(), own)].into()
        );
        // What is another's, or the gateway already, needs no reservation.
        assert_eq!(
            reserved("macvlan", "192.0.2.6/28"),
            [("host-192.0.2.7".to_owned(), own)].into()
        );
        assert!(reserved("macvlan", "192.0.2.7/24").is_empty());
        assert!(reserved("macvlan", "198.51.100.0/24").is_empty());
    }

    #[test]
    fn the_hosts_own_subnets_may_be_given_and_are_never_found() {
        let taken = [among(&[], "macvlan", "192.0.2.0/24", &["parent=eth0"]).unwrap()];
        let error = among(&taken, "bridge", "192.0.2.128/25", &[]).unwrap_err();
        assert!(matches!(error, SpecError::OverlapsNetwork(..)), "{error}");
        let error = among(&[], "bridge", "192.0.2.0/24", &[]).unwrap_err();
        assert!(matches!(error, SpecError::OverlapsHost(..)), "{error}");
    }
}
