//! A bridge alone: what the kernel takes for it, and nothing of ours around it.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use zdocker_host::Kernel;
use zdocker_net::names::MacAddress;
use zdocker_net::op::Op;

use crate::{nanoseconds, scene, timed};

/// How often, and with how much quiet before each time.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    count: usize,
    /// In milliseconds
    #[arg(long, default_value_t = 0)]
    pause: u64,
}

/// In nanoseconds.
#[derive(Default, Serialize)]
pub(crate) struct Times {
    create: Vec<u64>,
    delete: Vec<u64>,
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Times> {
    let name: zdocker_net::names::InterfaceName = "limit0".parse()?;
    let mut kernel = Kernel::new();
    let create = [Op::CreateBridge {
        name: name.clone(),
        mac: MacAddress::local([2; 6]),
        mtu: 1500,
    }];
    let delete = [Op::DeleteLink { name }];
    let mut times = Times::default();
    for _ in 0..arguments.count {
        sleep(Duration::from_millis(arguments.pause));
        times
            .create
            .push(nanoseconds(timed(|| scene::apply(&mut kernel, &create))?.1));
        sleep(Duration::from_millis(arguments.pause));
        times
            .delete
            .push(nanoseconds(timed(|| scene::remove(&mut kernel, &delete))?.1));
    }
    Ok(times)
}
