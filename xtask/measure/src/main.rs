//! Measures zdocker's own parts within one process: plans carried out by the kernel, and the records.
//!
//! `cargo xtask bench` builds this with optimisation and calls it in throw-away namespaces of network and mounts, and
//! nothing else should. The answer is one JSON object on standard output: lists of nanoseconds, and sizes in bytes.

#![allow(clippy::print_stdout, reason = "the answer is for the program that called this one")]

mod addresses;
mod bandwidth;
mod bridge;
mod endpoints;
mod recorded;
mod scale;
mod scene;
mod taken_down;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures one thing.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Attach endpoints to a network and detach them, namespaces included
    Endpoints(endpoints::Arguments),
    /// Lease addresses and release them
    Addresses(addresses::Arguments),
    /// Create a bridge and a veth pair, and delete the bridge
    Bridge(bridge::Arguments),
    /// Record containers as running until standard input ends; the answer is one word
    Recorded(recorded::Arguments),
    /// Attach, publish and detach while more and more endpoints are there
    Scale(scale::Arguments),
    /// Send to and from an endpoint that is limited
    Bandwidth(bandwidth::Arguments),
}

fn main() -> Result<()> {
    let answer = match Arguments::parse().what {
        What::Endpoints(arguments) => serde_json::to_string(&endpoints::measure(&arguments)?),
        What::Addresses(arguments) => serde_json::to_string(&addresses::measure(&arguments)?),
        What::Bridge(arguments) => serde_json::to_string(&bridge::measure(&arguments)?),
        What::Recorded(arguments) => return recorded::hold(&arguments),
        What::Scale(arguments) => serde_json::to_string(&scale::measure(&arguments)?),
        What::Bandwidth(arguments) => serde_json::to_string(&bandwidth::measure(&arguments)?),
    };
    println!("{}", answer?);
    Ok(())
}

/// Does something and says how long it took.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    let value = work()?;
    Ok((value, start.elapsed()))
}

/// As JSON has it.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
