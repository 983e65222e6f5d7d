//! What the demonstration shows, in order.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::stage::{Place, Stage, heading};
use crate::sandbox;
use crate::state::State;

/// A page that every Debian system has below /usr/share, and words from it.
const PAGE: &str = "common-licenses/BSD";
const WORDS: &str = "Regents of the University of California";

const CREATE: &[&str] = &[
    "network",
    "create",
    "--driver",
    "bridge",
    "--subnet",
    "192.168.1.0/24",
    "mynet",
];
const SERVE: &[&str] = &["busybox", "httpd", "-f", "-v", "-p", "80", "-h", "/usr/share"];
const RUN_WEB: &[&str] = &[
    "run", "-d", "--name", "web", "--net", "mynet", "-p", "8080:80", "--rootfs", "/", "--",
];
const RUN_LOCAL: &[&str] = &[
    "run",
    "-d",
    "--name",
    "local",
    "--net",
    "mynet",
    "-p",
    "127.0.0.1:8081:80",
    "--rootfs",
    "/",
    "--",
];

/// Runs the whole demonstration inside the sandbox.
///
/// # Errors
/// At the first step that does not do what it should.
pub(super) fn run(folder: &Path, binary: &Path) -> Result<()> {
    sandbox::furnish(folder)?;
    sandbox::connect_outside()?;
    heading("A throw-away host");
    println!("It has a link `uplink` with 203.0.113.2 to an outside machine, 203.0.113.1. This machine's own network");
    println!("is not touched. zdocker keeps its records in {}.", folder.display());
    let stage = Stage::new(binary, folder);
    let before = State::observe()?;
    println!("Found before: {}.", before.summary());

    network(&stage)?;
    let address = web(&stage)?;
    reach(&stage)?;
    neighbour(&stage, &address)?;
    isolation(&stage, &address)?;
    change(&stage)?;
    mend(&stage)?;
    look_around(&stage)?;
    remove(&stage)?;
    nothing_left(&before)
}

fn with<'a>(line: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    line.iter().chain(more).copied().collect()
}

/// Puts `--dry-run` behind the verb, which has this many words.
fn dry_run<'a>(line: &[&'a str], verb: usize) -> Vec<&'a str> {
    with(&with(&line[..verb], &["--dry-run"]), &line[verb..])
}

fn network(stage: &Stage) -> Result<()> {
    heading("A network");
    stage.zdocker(
        "First the plan: what creating the network will do, and nothing is done.",
        &dry_run(CREATE, 2),
    )?;
    stage.zdocker(
        "Now for real: a bridge with the gateway's address, and the firewall's entries for it.",
        CREATE,
    )?;
    stage.zdocker("It is listed.", &["network", "ls"])?;
    Ok(())
}

/// Starts the web server and returns its address.
fn web(stage: &Stage) -> Result<String> {
    heading("A container with a published port");
    let line = with(RUN_WEB, SERVE);
    stage.zdocker(
        "The plan of a web server whose port 80 is to be this host's port 8080. Its files are this host's, read-only.",
        &dry_run(&line, 1),
    )?;
    stage.zdocker("And for real.", &line)?;
    let shown = stage.zdocker(
        "Inside it has one interface with an address of the network.",
        &["exec", "web", "ip", "-4", "-o", "addr", "show", "scope", "global"],
    )?;
    let address = shown
        .split_whitespace()
        .skip_while(|word| *word != "inet")
        .nth(1)
        .and_then(|a| a.split('/').next());
    address.map(str::to_owned).context("the container has no IPv4 address")
}

fn fetch(address: &str) -> [String; 5] {
    ["busybox", "wget", "-q", "-O-", &format!("http://{address}/{PAGE}")].map(str::to_owned)
}

fn reach(stage: &Stage) -> Result<()> {
    heading("Reaching the published port");
    let from = |words: &str, place: Place, address: &str| {
        let line = fetch(address);
        stage.expect(words, place, &line.each_ref().map(String::as_str), WORDS)
    };
    let first = fetch("127.0.0.1:8080");
    let page = stage.show_when_ready(
        "From this host, by the loopback address:",
        &first.each_ref().map(String::as_str),
    )?;
    if !page.contains(WORDS) {
        bail!("this is not the page that was asked for");
    }
    from("From this host, by its other address:", Place::Host, "203.0.113.2:8080")?;
    from("From the outside machine:", Place::Outside, "203.0.113.2:8080")
}

fn neighbour(stage: &Stage, address: &str) -> Result<()> {
    heading("A neighbour on the same network");
    let run = &["run", "--rm", "--net", "mynet", "--rootfs", "/", "--"];
    stage.show(
        "With a terminal: its own view of the network.",
        Place::Host,
        &[
            "script",
            "-qec",
            "stty cols 120 rows 30; $ZDOCKER run --rm -it --net mynet --rootfs / -- sh -c 'tty; ip addr'",
            "/dev/null",
        ],
    )?;
    stage.zdocker(
        "It reaches the web server ...",
        &with(run, &["busybox", "ping", "-c", "1", "-W", "2", address]),
    )?;
    stage.zdocker(
        "... and the outside, under this host's address.",
        &with(run, &["busybox", "ping", "-c", "1", "-W", "2", "203.0.113.1"]),
    )?;
    Ok(())
}

fn isolation(stage: &Stage, address: &str) -> Result<()> {
    heading("What must not be reachable");
    stage.zdocker(
        "Another network ...",
        &["network", "create", "--subnet", "192.168.2.0/24", "other"],
    )?;
    let run = &["run", "--rm", "--net", "other", "--rootfs", "/", "--"];
    stage.refuse(
        "... whose containers do not reach the web server's own address ...",
        Place::Host,
        &with(
            &with(&["zdocker"], run),
            &["busybox", "ping", "-c", "1", "-W", "1", address],
        ),
    )?;
    let published = fetch("192.168.2.1:8080");
    stage.zdocker(
        "... but do reach its published port.",
        &with(run, &published.each_ref().map(String::as_str)),
    )?;
    sandbox::ip("-n outside route add 192.168.1.0/24 via 203.0.113.2")?;
    stage.refuse(
        "The outside machine does not reach the container's address, though it knows the way there.",
        Place::Outside,
        &["busybox", "ping", "-c", "1", "-W", "1", address],
    )?;
    stage.zdocker("A port published on 127.0.0.1 ...", &with(RUN_LOCAL, SERVE))?;
    let local = fetch("127.0.0.1:8081");
    stage.show_when_ready(
        "... is reachable from this host ...",
        &local.each_ref().map(String::as_str),
    )?;
    stage.refuse(
        "... and from nowhere else.",
        Place::Outside,
        &["busybox", "nc", "-w", "1", "203.0.113.2", "8081"],
    )
}

/// Changes what a running container has.
fn change(stage: &Stage) -> Result<()> {
    heading("Changing a container while it runs");
    stage.zdocker(
        "The web server joins the other network, where it is to be known as `shop` as well. First the plan.",
        &[
            "network",
            "connect",
            "--dry-run",
            "--alias",
            "shop",
            "--ip",
            "192.168.2.80",
            "other",
            "web",
        ],
    )?;
    stage.zdocker(
        "And for real.",
        &[
            "network",
            "connect",
            "--alias",
            "shop",
            "--ip",
            "192.168.2.80",
            "other",
            "web",
        ],
    )?;
    let shop = fetch("shop");
    let run = &["run", "--rm", "--net", "other", "--rootfs", "/", "--"];
    stage.zdocker(
        "Its new neighbours reach it by that name.",
        &with(run, &shop.each_ref().map(String::as_str)),
    )?;
    stage.zdocker(
        "It gets one more published port, and goes on meanwhile.",
        &["update", "--publish-add", "8090:80", "web"],
    )?;
    let [loopback, outside] = ["[::1]:8090", "203.0.113.2:8090"].map(fetch);
    stage.expect(
        "From this host, by the IPv6 loopback address:",
        Place::Host,
        &loopback.each_ref().map(String::as_str),
        WORDS,
    )?;
    stage.expect(
        "From the outside machine:",
        Place::Outside,
        &outside.each_ref().map(String::as_str),
        WORDS,
    )?;
    stage.zdocker(
        "What it has now, by a template of Docker's kind:",
        &[
            "inspect",
            "--format",
            "{{range $name, $n := .NetworkSettings.Networks}}{{$name}} {{$n.IPAddress}} {{$n.Aliases}}{{println}}{{end}}",
            "web",
        ],
    )?;
    stage.zdocker(
        "It leaves the other network.",
        &["network", "disconnect", "other", "web"],
    )?;
    Ok(())
}

/// Has somebody else damage the network, and mends it.
fn mend(stage: &Stage) -> Result<()> {
    heading("Somebody damages the network");
    sandbox::ip("link set mynet down")?;
    sandbox::ip("address flush dev mynet")?;
    println!("The bridge was set down and has lost its address.");
    let plan = stage.zdocker(
        "What is different from the records, and the steps that mend it:",
        &["network", "reload", "--all", "--dry-run"],
    )?;
    if !plan.contains("ip link set mynet up") {
        bail!("the bridge that is down is not noticed");
    }
    stage.zdocker("And for real: traffic goes on.", &["network", "reload", "--all"])?;
    let page = fetch("203.0.113.2:8080");
    stage.expect(
        "From the outside machine:",
        Place::Outside,
        &page.each_ref().map(String::as_str),
        WORDS,
    )
}

fn look_around(stage: &Stage) -> Result<()> {
    heading("Looking around");
    stage.zdocker("The containers:", &["ps"])?;
    stage.zdocker("What the web server has said:", &["logs", "web"])?;
    stage.refuse(
        "A network with containers on it is not removed by mistake:",
        Place::Host,
        &["zdocker", "network", "rm", "mynet"],
    )
}

fn remove(stage: &Stage) -> Result<()> {
    heading("Removing everything");
    stage.zdocker(
        "Stop both containers (this server does not listen to the request to end, so it is killed after a second),",
        &["stop", "--time", "1", "web", "local"],
    )?;
    stage.zdocker("remove them,", &["rm", "web", "local"])?;
    stage.zdocker("and the networks.", &["network", "rm", "mynet", "other"])?;
    Ok(())
}

fn nothing_left(before: &State) -> Result<()> {
    heading("The throw-away host, after");
    let after = State::observe()?;
    println!("Found after: {}.", after.summary());
    let extra = after.beyond(before);
    if !extra.is_empty() {
        bail!("zdocker left behind:\n  {}", extra.join("\n  "));
    }
    println!("No link, route, firewall entry, mount, process or control group is left. What stays, once for the");
    println!("whole host: IP forwarding is on.");
    Ok(())
}
