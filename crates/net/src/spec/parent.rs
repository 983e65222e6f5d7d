//! Networks with drivers `macvlan` and `ipvlan`: their options and their parent interface.

use std::collections::BTreeMap;

use super::options::{self, COMMON, Given};
use super::{Birth, NetworkRequest, ParentError, SpecError, Surroundings, pools, routes};
use crate::model::{
    Children, Driver, IpvlanFlag, IpvlanMode, MacvlanMode, MadeParent, Network, ParentDevice, Settings,
};
use crate::names::{Id, InterfaceName, Name};

/// How the names of parents that lead nowhere begin, as Docker's do.
const DUMMY_PREFIX: &str = "dm-";

/// The name of the loopback interface in every network namespace.
const LOOPBACK: &str = "lo";

/// The numbers that VLANs can have (IEEE 802.1Q, 9.6).
const VLAN_NUMBERS: std::ops::RangeInclusive<u16> = 1..=4094;

/// The options of the drivers; [`COMMON`] ones come in addition.
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
    let known: Vec<&str> = own.into_iter().chain(COMMON).collect();
    SpecError::UnknownOption {
        key: key.to_owned(),
        driver,
        known: known.join(", "),
    }
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
    let pools = pools::choose(request, (read.ipv4, read.ipv6), around, pools::free_of_networks)?;
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
        Ok(id) if VLAN_NUMBERS.contains(&id) => Ok((on, id)),
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

/// Refuses a parent whose other networks it cannot have together with this one. An ipvlan parent has one mode for all that
/// is on it, and changing it for one would change it for the others.
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
