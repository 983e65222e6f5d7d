//! A bridge and a veth pair alone: what the kernel takes for each, one message with nothing around it.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use zdocker_host::Kernel;
use zdocker_net::names::{InterfaceName, MacAddress};
use zdocker_net::op::{NamespacePath, Op};

use crate::{nanoseconds, scene, taken_down, timed};

/// How often, and with how much quiet before each time.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where namespaces are pinned
    #[arg(long)]
    run: PathBuf,
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
    /// One end in the bridge and up, the other in a new namespace.
    veth: Vec<u64>,
    delete: Vec<u64>,
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Times> {
    fs::create_dir_all(&arguments.run)?;
    let (name, mac): (InterfaceName, _) = ("limit0".parse()?, MacAddress::local([2; 6]));
    let path = NamespacePath(arguments.run.join("limit").display().to_string());
    let namespace = [Op::CreateNamespace { path: path.clone() }];
    let veth = [Op::CreateVeth {
        host: "limit1".parse()?,
        bridge: Some(name.clone()),
        namespace: path.clone(),
        peer: "eth0".parse()?,
        mac,
        mtu: 1500,
        hairpin: false,
        isolated: false,
    }];
    let bridge = [Op::CreateBridge {
        name: name.clone(),
        mac,
        mtu: 1500,
    }];
    let delete = [Op::DeleteLink { name }];
    let mut kernel = Kernel::new();
    let mut times = Times::default();
    let pause = || sleep(Duration::from_millis(arguments.pause));
    for _ in 0..arguments.count {
        pause();
        times
            .create
            .push(nanoseconds(timed(|| scene::apply(&mut kernel, &bridge))?.1));
        scene::apply(&mut kernel, &namespace)?;
        pause();
        times
            .veth
            .push(nanoseconds(timed(|| scene::apply(&mut kernel, &veth))?.1));
        scene::remove(&mut kernel, &[Op::DeleteNamespace { path: path.clone() }])?;
        taken_down::wait(&mut kernel, "limit1")?;
        pause();
        times
            .delete
            .push(nanoseconds(timed(|| scene::remove(&mut kernel, &delete))?.1));
    }
    Ok(times)
}
