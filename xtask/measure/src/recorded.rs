//! Many running containers in the records, and nothing of them in the kernel: for commands that only look.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use zdocker_host::process::ProcessId;
use zdocker_host::store::{ContainerRecord, NewContainer, Records, State, Store};
use zdocker_net::attach;
use zdocker_net::model::{Bandwidth, Network};
use zdocker_net::names::{Id, Name};

use crate::scene::{bytes, ports, wish};

/// Of the ports that they publish, one each.
const FIRST_PORT: u16 = 10_000;

/// How many, and like which.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the records are kept
    #[arg(long)]
    state: PathBuf,
    /// A container that is recorded and that all others are like
    #[arg(long)]
    like: String,
    /// Networks that are recorded, over which they are spread
    #[arg(long, value_delimiter = ',')]
    networks: Vec<String>,
    #[arg(long, default_value_t = 1000)]
    count: u16,
}

/// Records them as running; they do as long as this process, which ends with its input.
pub(crate) fn hold(arguments: &Arguments) -> Result<()> {
    let mut store = Store::open(&arguments.state)?;
    let (me, boot) = (ProcessId::own()?, zdocker_host::process::boot_id()?);
    let ids = store.write(|records| {
        let like = records.find_containers(&arguments.like)?.pop();
        let like = like.with_context(|| format!("no container {}", arguments.like))?;
        let mut networks = Vec::new();
        for name in &arguments.networks {
            let found = records.find_networks(name)?.pop();
            networks.push(found.with_context(|| format!("no network {name}"))?.network);
        }
        (0..arguments.count)
            .map(|number| {
                let network = &networks[usize::from(number) % networks.len()];
                record(records, number, (&like, network), (me, &boot))
            })
            .collect::<Result<Vec<Id>>>()
    })?;
    for id in ids {
        let folder = arguments.state.join("containers").join(id.as_str()).join("etc");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("hosts"), "127.0.0.1\tlocalhost\n")?;
    }
    println!("recorded");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn record(
    records: &Records,
    number: u16,
    (like, network): (&ContainerRecord, &Network),
    (me, boot): (ProcessId, &str),
) -> Result<Id> {
    let id = Id::new(bytes(number.into(), 4));
    let name: Name = format!("c{number}").parse()?;
    let named = |name: &Name| format!("\"name\":\"{name}\"");
    let spec = like.spec.replace(like.id.as_str(), id.as_str());
    let spec = spec.replace(&named(&like.name), &named(&name));
    let container = NewContainer {
        id: &id,
        name: &name,
        spec: &spec,
        joins: None,
        created: 0,
    };
    records.insert_container(&container, me, boot)?;
    let wish = wish(network, Bandwidth::default())?;
    let mut endpoint = attach::endpoint(network, &id, &wish, bytes(number.into(), 5))?;
    let addresses = records.lease_addresses(network, &[], &endpoint.id, 0)?;
    attach::bear_addresses(&mut endpoint, network, addresses, &wish);
    endpoint.ports = ports(FIRST_PORT + 2 * number, 1);
    for port in &endpoint.ports {
        records.insert_port(&endpoint.id, port)?;
    }
    records.insert_endpoint(&endpoint, me, boot)?;
    records.container_started(&id, me, me, 0)?;
    records.set_endpoints_state(&id, State::Ready, None)?;
    Ok(id)
}
