//! `podman install`, `podman remove`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::steps::{self, Step};
use super::{Found, is_missing, program, text_of};
use crate::args::PodmanArgs;
use crate::output::note;

/// The name of the program that Podman calls.
const NETAVARK: &str = "netavark";

/// By this first line we know a file that we wrote.
const MARK: &str = "# Written by zdocker podman install; zdocker podman remove takes it back.";

/// The configuration that comes with Podman; all others change what it says.
const VENDOR_CONF: &str = "/usr/share/containers/containers.conf";

/// The name of the directories whose files change what the file of the same name without `.d` says
/// (containers.conf(5)).
const DROP_INS: &str = "containers.conf.d";

/// Where Podman looks for other programs when no configuration says where (containers.conf(5)).
const HELPERS: [&str; 4] = [
    "/usr/local/libexec/podman",
    "/usr/local/lib/podman",
    "/usr/libexec/podman",
    "/usr/lib/podman",
];

/// What we need to know of a configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Conf {
    engine: Engine,
    network: Network,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Engine {
    helper_binaries_dir: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Network {
    network_backend: Option<String>,
}

pub(crate) fn install(args: &PodmanArgs) -> Result<ExitCode> {
    let (directory, conf) = (std::path::absolute(&args.dir)?, std::path::absolute(&args.conf)?);
    let program = program()?;
    let link = directory.join(NETAVARK);
    let mut plan = Vec::new();
    match Found::at(&link, &program)? {
        Found::Ours => {}
        Found::Strange => bail!(
            "cannot make the link {}: something else is there; choose another directory with --dir",
            link.display()
        ),
        Found::Nothing | Found::OursElsewhere => {
            plan.extend(missing_directory(&directory));
            plan.push(Step::Link {
                target: program,
                path: link,
            });
        }
    }
    let before = text_of(&conf)?;
    if before.as_ref().is_some_and(|text| !is_ours(text)) {
        bail!(
            "cannot write {}: it is there and not ours; choose another file with --conf, or add to it: \
             network_backend = \"netavark\" below [network], and {} first in helper_binaries_dir below [engine]",
            conf.display(),
            directory.display()
        );
    }
    let text = drop_in(&directory, helpers(&conf)?)?;
    if before.as_ref() != Some(&text) {
        plan.extend(conf.parent().and_then(missing_directory));
        plan.push(Step::Write { path: conf, text });
    }
    if !plan.is_empty() {
        note(
            "zdocker: containers that Podman runs now keep the network and the firewall rules that they were given before: \
             stop them first, and start them afterwards",
        );
    }
    steps::run(&plan, args.dry_run)
}

pub(crate) fn remove(args: &PodmanArgs) -> Result<ExitCode> {
    let conf = std::path::absolute(&args.conf)?;
    let mut directory = std::path::absolute(&args.dir)?;
    let mut plan = Vec::new();
    match text_of(&conf)? {
        Some(text) if is_ours(&text) => {
            // The directory that it was installed with, whatever it is by default.
            let first = parse(&conf, &text)?.engine.helper_binaries_dir.unwrap_or_default();
            directory = first.into_iter().next().map_or(directory, PathBuf::from);
            plan.push(Step::Remove(conf));
        }
        Some(_) => note(&format!("zdocker: {} is not ours, and stays", conf.display())),
        None => {}
    }
    let link = directory.join(NETAVARK);
    if Found::at(&link, &program()?)?.is_ours() {
        plan.push(Step::Remove(link));
        if fs::read_dir(&directory).is_ok_and(|entries| entries.count() == 1) {
            plan.push(Step::RemoveDirectory(directory));
        }
    }
    steps::run(&plan, args.dry_run)
}

fn missing_directory(path: &Path) -> Option<Step> {
    (!path.is_dir()).then(|| Step::MakeDirectory(path.to_owned()))
}

fn is_ours(text: &str) -> bool {
    text.lines().next() == Some(MARK)
}

fn parse(path: &Path, text: &str) -> Result<Conf> {
    toml::from_str(text).with_context(|| format!("cannot read {}", path.display()))
}

/// The file that puts `directory` before the others.
fn drop_in(directory: &Path, helpers: Vec<String>) -> Result<String> {
    let Some(first) = directory.to_str() else {
        bail!("a configuration cannot name {}: it is not UTF-8", directory.display());
    };
    let others = helpers.into_iter().filter(|other| other != first);
    let mut list = String::new();
    for helper in std::iter::once(first.to_owned()).chain(others) {
        // What JSON writes of a text, TOML reads.
        list.push_str(&format!("  {},\n", serde_json::to_string(&helper)?));
    }
    Ok(format!(
        "{MARK}\n[network]\nnetwork_backend = \"netavark\"\n\n[engine]\nhelper_binaries_dir = [\n{list}]\n"
    ))
}

/// Where Podman looks for other programs but for what `ours` says: a later file's list takes the place of an earlier
/// one's.
///
/// # Errors
/// When a file that Podman reads after `ours` takes back what it says.
fn helpers(ours: &Path) -> Result<Vec<String>> {
    let mut list = HELPERS.map(str::to_owned).to_vec();
    for path in read_beside(ours)? {
        let Some(text) = text_of(&path)? else { continue };
        let conf = parse(&path, &text)?;
        let (dirs, backend) = (conf.engine.helper_binaries_dir, conf.network.network_backend);
        let is_later = path.parent() == ours.parent() && path.file_name() > ours.file_name();
        if is_later && (dirs.is_some() || backend.is_some_and(|name| !name.is_empty() && name != NETAVARK)) {
            bail!(
                "{} is read after {} and says otherwise; choose with --conf a name that sorts behind it",
                path.display(),
                ours.display()
            );
        }
        list = dirs.unwrap_or(list);
    }
    Ok(list)
}

/// The other files that Podman reads, in its order.
fn read_beside(ours: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = vec![PathBuf::from(VENDOR_CONF)];
    let drop_ins = ours.parent().filter(|parent| parent.ends_with(DROP_INS));
    let Some(drop_ins) = drop_ins else { return Ok(paths) };
    paths.push(drop_ins.with_file_name("containers.conf"));
    let entries = match fs::read_dir(drop_ins) {
        Ok(entries) => entries,
        Err(error) if is_missing(&error) => return Ok(paths),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", drop_ins.display())),
    };
    let mut others: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    others.retain(|path| path.extension().is_some_and(|end| end == "conf") && path != ours);
    others.sort();
    paths.extend(others);
    Ok(paths)
}
