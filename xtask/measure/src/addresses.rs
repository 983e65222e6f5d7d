//! Leasing and releasing addresses, a transaction each.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use zdocker_host::process::ProcessId;
use zdocker_host::store::{AddressError, State, Store};
use zdocker_net::attach;
use zdocker_net::attach::choice::EndpointRequest;
use zdocker_net::ipam::BLOCK_BYTES;
use zdocker_net::names::Id;
use zdocker_net::subnet::Subnet;

use crate::{nanoseconds, scene, timed};

/// The subnet, and how often.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the records are kept
    #[arg(long)]
    state: PathBuf,
    #[arg(long)]
    subnet: Subnet,
    /// Addresses that are in use before, beside the gateway's
    #[arg(long, default_value_t = 0)]
    used: usize,
    #[arg(long)]
    count: usize,
}

/// In nanoseconds, and in bytes.
#[derive(Default, Serialize)]
pub(crate) struct Measured {
    lease: Vec<u64>,
    release: Vec<u64>,
    /// Of all bitmaps of the subnet, while one more address than `used` is leased for the first time.
    bitmap_bytes: usize,
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Measured> {
    let subnet = arguments.subnet;
    let mut store = Store::open(&arguments.state)?;
    let network = scene::network(0, &[subnet])?;
    let wishes = attach::wishes(&[(&network, &EndpointRequest::default())], &[])?;
    let me = ProcessId::own()?;
    // One endpoint holds what was leased before, another what comes and goes.
    let (resident, guest) = (Id::new([1; 32]), Id::new([2; 32]));
    store.write(|records| -> Result<()> {
        records.insert_network(&network, State::Ready)?;
        for random in [[1; 32], [2; 32]] {
            for wish in &wishes {
                records.insert_endpoint(&attach::endpoint(&network, &guest, wish, random)?, me, "none")?;
            }
        }
        for _ in 0..arguments.used {
            records.lease_addresses(&network, &[], &resident, 0)?;
        }
        Ok(())
    })?;
    let mut measured = Measured::default();
    // The first time finds nothing in the processor's caches and does not count.
    for number in 0..=arguments.count {
        let lease = timed(|| {
            let leased = store.write(|records| records.lease_addresses(&network, &[], &guest, 0));
            Ok(leased.map_err(|error: AddressError| error)?)
        })?;
        if number == 0 {
            measured.bitmap_bytes = store.read(|records| records.usage(&subnet))?.blocks.len() * BLOCK_BYTES;
        }
        let release = timed(|| Ok(store.write(|records| records.release_addresses(&guest))?))?;
        if number > 0 {
            measured.lease.push(nanoseconds(lease.1));
            measured.release.push(nanoseconds(release.1));
        }
    }
    Ok(measured)
}
