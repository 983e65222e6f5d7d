//! Attaching, publishing and detaching while more and more is there already.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::nanoseconds;
use crate::scene::{Scene, ports};

/// Of the ports that the measured endpoints publish; those of others are below.
const FIRST_PORT: u16 = 30_001;
/// Of the ports that are there.
const FIRST_OTHER_PORT: u16 = 10_000;

/// What is there, and how often is measured.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the records are kept
    #[arg(long)]
    state: PathBuf,
    /// Where namespaces are pinned
    #[arg(long)]
    run: PathBuf,
    /// Over so many bridges are the endpoints spread
    #[arg(long, default_value_t = 1)]
    bridges: u8,
    /// Endpoints that are there when it is measured, ascending
    #[arg(long, value_delimiter = ',', default_values_t = [0, 250, 500, 1000])]
    levels: Vec<usize>,
    /// Ports that another endpoint has published
    #[arg(long, default_value_t = 0)]
    published: u16,
    /// How often at each level
    #[arg(long, default_value_t = 20)]
    count: usize,
    /// Quiet before each attaching and each detaching in milliseconds
    #[arg(long, default_value_t = 40)]
    pause: u64,
}

/// At one level; in nanoseconds.
#[derive(Default, Serialize)]
pub(crate) struct Level {
    endpoints: usize,
    /// The plan made and carried out, one port published.
    attach: Vec<u64>,
    /// The same with the transactions around it.
    attach_recorded: Vec<u64>,
    detach: Vec<u64>,
    detach_recorded: Vec<u64>,
    /// One more port of an endpoint that is there.
    publish: Vec<u64>,
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Level>> {
    let mut scene = Scene::new(&arguments.state, &arguments.run, arguments.bridges, false)?;
    let bridges = usize::from(arguments.bridges);
    let (mut others, mut levels) = (Vec::new(), Vec::new());
    if arguments.published > 0 {
        others.push(scene.attach(0, &ports(FIRST_OTHER_PORT, arguments.published))?.0);
    }
    for endpoints in &arguments.levels {
        while others.len() < *endpoints {
            others.push(scene.attach(others.len() % bridges, &[])?.0);
        }
        levels.push(level(&mut scene, *endpoints, arguments)?);
    }
    for other in others {
        scene.detach(&other)?;
    }
    scene.wait_for_detached()?;
    Ok(levels)
}

fn level(scene: &mut Scene, endpoints: usize, arguments: &Arguments) -> Result<Level> {
    let mut level = Level {
        endpoints,
        ..Level::default()
    };
    let pause = || sleep(Duration::from_millis(arguments.pause));
    // The first time finds nothing in the processor's caches and does not count.
    for number in 0..=arguments.count {
        pause();
        let (attached, attach) = scene.attach(0, &ports(FIRST_PORT, 1))?;
        pause();
        let publish = scene.publish(&attached, FIRST_PORT + 2)?;
        pause();
        let detach = scene.detach(&attached)?;
        if number > 0 {
            level.attach.push(nanoseconds(attach.kernel));
            level.attach_recorded.push(nanoseconds(attach.kernel + attach.records));
            level.detach.push(nanoseconds(detach.kernel));
            level.detach_recorded.push(nanoseconds(detach.kernel + detach.records));
            level.publish.push(nanoseconds(publish));
        }
    }
    Ok(level)
}
