//! Attaching and detaching, with more or less already there.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use zdocker_net::model::Bandwidth;

use crate::nanoseconds;
use crate::scene::{Scene, Took, ports};

/// A Linux bridge takes at most 1,023 ports (`BR_MAX_PORTS`, net/bridge/br_private.h); half as many is a large network.
const ENDPOINTS_PER_BRIDGE: usize = 500;

/// Of the ports that the measured endpoints publish; those of others are below.
const FIRST_PORT: u16 = 30_001;

/// Of an endpoint that is limited, in bits a second.
const RATE: u64 = 100_000_000;

/// What is there, and what is attached.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the records are kept
    #[arg(long)]
    state: PathBuf,
    /// Where namespaces are pinned
    #[arg(long)]
    run: PathBuf,
    /// Ports that another endpoint has published
    #[arg(long, default_value_t = 0)]
    published: u16,
    /// Other endpoints
    #[arg(long, default_value_t = 0)]
    others: usize,
    /// Ports of the endpoint that is attached and detached
    #[arg(long, default_value_t = 0)]
    ports: u16,
    /// IPv6 as well as IPv4
    #[arg(long)]
    ipv6: bool,
    /// The measured endpoint is limited in what it receives and sends
    #[arg(long)]
    limited: bool,
    #[arg(long)]
    count: usize,
    /// Quiet before each attaching and each detaching in milliseconds, after the kernel has cleaned up; none attaches
    /// and detaches at once, over and over
    #[arg(long, conflicts_with = "in_a_row")]
    pause: Option<u64>,
    /// Attach all without a pause, then detach all
    #[arg(long)]
    in_a_row: bool,
}

/// In nanoseconds.
#[derive(Default, Serialize)]
pub(crate) struct Times {
    /// The plan made and carried out.
    attach: Vec<u64>,
    detach: Vec<u64>,
    /// The same with the transactions around it.
    attach_recorded: Vec<u64>,
    detach_recorded: Vec<u64>,
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Times> {
    let networks = arguments.others.div_ceil(ENDPOINTS_PER_BRIDGE).max(1);
    let mut scene = Scene::new(&arguments.state, &arguments.run, networks.try_into()?, arguments.ipv6)?;
    let mut others = Vec::new();
    for number in 0..arguments.others {
        others.push(scene.attach(number % networks, &[])?.0);
    }
    if arguments.published > 0 {
        others.push(scene.attach(0, &ports(10_000, arguments.published))?.0);
    }
    if arguments.limited {
        scene.bandwidth = Bandwidth {
            receive: Some(RATE),
            send: Some(RATE),
            ..Default::default()
        };
    }
    let times = if arguments.in_a_row {
        all_in_a_row(&mut scene, arguments)?
    } else {
        one_by_one(&mut scene, arguments)?
    };
    for other in others {
        scene.detach(&other)?;
    }
    scene.wait_for_detached()?;
    Ok(times)
}

/// Each is detached before the next one is attached.
fn one_by_one(scene: &mut Scene, arguments: &Arguments) -> Result<Times> {
    let own = ports(FIRST_PORT, arguments.ports);
    let mut times = Times::default();
    // The first time finds nothing in the processor's caches and does not count.
    for number in 0..=arguments.count {
        quiet(scene, arguments)?;
        let (attached, attach) = scene.attach(0, &own)?;
        sleep(Duration::from_millis(arguments.pause.unwrap_or_default()));
        let detach = scene.detach(&attached)?;
        if number > 0 {
            times.add(attach, detach);
        }
    }
    Ok(times)
}

/// What a second one finds in the processor's caches, and nothing that the kernel cleans up meanwhile.
fn all_in_a_row(scene: &mut Scene, arguments: &Arguments) -> Result<Times> {
    let mut attached = Vec::new();
    for number in 0..=arguments.count {
        let first = FIRST_PORT + u16::try_from(2 * number)? * arguments.ports;
        attached.push(scene.attach(0, &ports(first, arguments.ports))?);
    }
    let mut times = Times::default();
    for (number, (attached, attach)) in attached.iter().enumerate() {
        let detach = scene.detach(attached)?;
        if number > 0 {
            times.add(*attach, detach);
        }
    }
    Ok(times)
}

/// Waits for the kernel, and then a little: not all of its cleaning can be seen.
fn quiet(scene: &mut Scene, arguments: &Arguments) -> Result<()> {
    let Some(pause) = arguments.pause else { return Ok(()) };
    if arguments.others == 0 && arguments.published == 0 {
        scene.wait_for_detached()?;
    }
    sleep(Duration::from_millis(pause));
    Ok(())
}

impl Times {
    fn add(&mut self, attach: Took, detach: Took) {
        self.attach.push(nanoseconds(attach.kernel));
        self.detach.push(nanoseconds(detach.kernel));
        self.attach_recorded.push(nanoseconds(attach.kernel + attach.records));
        self.detach_recorded.push(nanoseconds(detach.kernel + detach.records));
    }
}
