//! `tuning`: settings of the interface that a plug-in before it made, and kernel variables of the container's network.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use zdocker_net::op::NamespacePath;
use zdocker_net::tuning::Tuning;

use super::error::{CniError, Code};
use super::fields::Fields;
use super::request::Request;
use super::result::CniResult;
use super::version::Version;
use super::{Verbs, refuse_differences, state};

pub(super) const VERBS: Verbs = Verbs {
    del,
    ..Verbs::stateless(add, check)
};

/// Where what was before is kept if the configuration says nothing (`dataDir`).
const DIRECTORY: &str = "/run/cni/tuning";

/// The administrator's list of kernel variables that may be set, a regular expression a line, if there is one.
const ALLOWED: &str = "/etc/cni/tuning/allowlist.conf";

fn add(request: &Request) -> Result<CniResult, CniError> {
    let mut result = request.required_previous()?;
    let tuning = wanted(request)?;
    refuse_forbidden(&tuning)?;
    let (namespace, interface) = (request.namespace()?, request.interface()?);
    let mut engine = state::open(request)?;
    let seen = engine.tuning(&namespace, interface, &[])?;
    let before = tuning.before(&seen);
    let kept = before != Tuning::default();
    if kept {
        write_backup(request, &before)?;
    }
    let tuned = engine.tune(&request.container_id(), &namespace, interface, &tuning);
    if let Err(error) = tuned {
        // What had been set is set no more, or `DEL` does it.
        let _ = engine.tune(&request.container_id(), &namespace, interface, &before);
        return Err(error.into());
    }
    let own = result.interfaces.iter_mut();
    for own in own.filter(|own| own.name == interface.as_str() && own.sandbox == namespace.0) {
        own.mac = tuning.mac.map_or(std::mem::take(&mut own.mac), |mac| mac.to_string());
        if request.version >= Version::V110 {
            own.mtu = tuning.mtu.map_or(own.mtu, u64::from);
        }
    }
    Ok(result)
}

fn del(request: &Request) -> Result<(), CniError> {
    let path = backup_path(request)?;
    let Some(before) = read_backup(&path)? else {
        return Ok(());
    };
    if let Some(namespace) = request.netns.clone().map(NamespacePath) {
        let mut engine = state::open(request)?;
        // Where namespace or interface is gone, there is nothing to put back.
        if engine.tuning(&namespace, request.interface()?, &[]).is_ok() {
            engine.tune(&request.container_id(), &namespace, request.interface()?, &before)?;
        }
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
        _ => Ok(()),
    }
}

fn check(request: &Request) -> Result<(), CniError> {
    let wanted = wanted(request)?;
    let keys: Vec<String> = wanted.sysctls.iter().map(|(key, _)| key.clone()).collect();
    let seen = state::open(request)?.tuning(&request.namespace()?, request.interface()?, &keys)?;
    let mut lines = Vec::new();
    let mut compare = |what: &str, wanted: Option<String>, seen: Option<String>| {
        if let Some(wanted) = wanted.filter(|wanted| seen.as_ref() != Some(wanted)) {
            lines.push(format!(
                "{what} is {} and not {wanted}",
                seen.as_deref().unwrap_or("unset")
            ));
        }
    };
    let text = |value: Option<bool>| value.map(|value| value.to_string());
    let number = |value: Option<u32>| value.map(|value| value.to_string());
    let mac = |tuning: &Tuning| tuning.mac.map(|mac| mac.to_string());
    compare("mac", mac(&wanted), mac(&seen));
    compare("mtu", number(wanted.mtu), number(seen.mtu));
    compare("promisc", text(wanted.promiscuous), text(seen.promiscuous));
    compare("allmulti", text(wanted.all_multicast), text(seen.all_multicast));
    compare("txQLen", number(wanted.queue_length), number(seen.queue_length));
    for (key, value) in &wanted.sysctls {
        let has = seen.sysctls.iter().find(|(other, _)| other == key);
        compare(key, Some(words(value)), has.map(|(_, has)| words(has)));
    }
    refuse_differences("the interface", &lines)
}

/// The words of a kernel variable's value: it is shown with other spaces than it was written with.
fn words(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is asked for: by the user of this attachment, by the runtime, or by the configuration, in this order.
fn wanted(request: &Request) -> Result<Tuning, CniError> {
    let (config, args) = (request.fields(), request.cni_args()?);
    let mut tuning = read(&args, request)?;
    let configured = read(&config, request)?;
    let macs = [tuning.mac, request.runtime()?.parsed("mac")?, from_arguments(request)?];
    tuning.mac = macs.into_iter().flatten().next().or(configured.mac);
    tuning.mtu = tuning.mtu.or(configured.mtu);
    tuning.promiscuous = tuning.promiscuous.or(configured.promiscuous);
    tuning.all_multicast = tuning.all_multicast.or(configured.all_multicast);
    tuning.queue_length = tuning.queue_length.or(configured.queue_length);
    let asked = std::mem::take(&mut tuning.sysctls);
    let others = configured.sysctls.into_iter();
    tuning.sysctls = others
        .filter(|(key, _)| asked.iter().all(|(other, _)| other != key))
        .collect();
    tuning.sysctls.extend(asked);
    Ok(tuning)
}

/// The Ethernet address of `CNI_ARGS`.
fn from_arguments(request: &Request) -> Result<Option<zdocker_net::names::MacAddress>, CniError> {
    let mac = request.args.get("MAC").map(|text| text.parse());
    mac.transpose()
        .map_err(|error| CniError::environment("CNI_ARGS", error))
}

fn read(fields: &Fields, request: &Request) -> Result<Tuning, CniError> {
    let number = |key| Ok::<_, CniError>(fields.number(key, u32::MAX.into())?.map(|number| number as u32));
    let variables = fields.value("sysctl").and_then(Value::as_object);
    if fields.value("sysctl").is_some() && variables.is_none() {
        return Err(fields.error("sysctl", "want an object"));
    }
    let mut sysctls = Vec::new();
    for (key, value) in variables.into_iter().flatten() {
        let text = value
            .as_str()
            .ok_or_else(|| fields.error("sysctl", format!("{key:?}: want a string")))?;
        let path = path_form(key).replace("IFNAME", request.interface()?.as_str());
        if !path.starts_with("net/") || path.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
            return Err(fields.error("sysctl", format!("{key:?} is none of the network's (net.*)")));
        }
        sysctls.push((path, text.to_owned()));
    }
    Ok(Tuning {
        mac: fields.parsed("mac")?,
        mtu: number("mtu")?.filter(|mtu| *mtu > 0),
        // The reference plug-in takes `false` for nothing said.
        promiscuous: fields.flag("promisc")?.then_some(true),
        all_multicast: fields.maybe_flag("allmulti")?,
        queue_length: number("txQLen")?,
        sysctls,
    })
}

/// A kernel variable's path: of dots and slashes the first separates, as for sysctl(8).
fn path_form(key: &str) -> String {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    match key.find(['.', '/']) {
        Some(place) if key[place..].starts_with('.') => key.chars().map(swap).collect(),
        _ => key.to_owned(),
    }
}

/// Refuses kernel variables that the administrator's list has not.
fn refuse_forbidden(tuning: &Tuning) -> Result<(), CniError> {
    let list = match fs::read_to_string(ALLOWED) {
        Ok(list) => list,
        // Without a list all may be set.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read", Path::new(ALLOWED))(error)),
    };
    for (key, _) in &tuning.sysctls {
        let dotted = key.replace('/', ".");
        let mut admitted = false;
        for line in list.lines().map(str::trim).filter(|line| !line.is_empty()) {
            admitted |= super::pattern::matches(line, &dotted).ok_or_else(|| {
                let reason = format!("{ALLOWED}: the expression {line:?} is not understood");
                CniError::config("sysctl", reason)
            })?;
        }
        if !admitted {
            return Err(CniError::config(
                "sysctl",
                format!("{dotted:?} is not allowed by {ALLOWED}"),
            ));
        }
    }
    Ok(())
}

fn backup_path(request: &Request) -> Result<PathBuf, CniError> {
    let directory = request.fields().text("dataDir")?.filter(|text| !text.is_empty());
    let file = format!("{}_{}.json", request.container, request.interface()?);
    Ok(PathBuf::from(directory.unwrap_or(DIRECTORY)).join(file))
}

/// Keeps what was before, for `DEL`; what an earlier `ADD` kept is older, and stays.
fn write_backup(request: &Request, before: &Tuning) -> Result<(), CniError> {
    let path = backup_path(request)?;
    if path.exists() {
        return Ok(());
    }
    let mut json = json!({});
    let entries = [
        ("mac", before.mac.map(|mac| mac.to_string().into())),
        ("mtu", before.mtu.map(Value::from)),
        ("promisc", before.promiscuous.map(Value::from)),
        ("allmulti", before.all_multicast.map(Value::from)),
        ("txQLen", before.queue_length.map(Value::from)),
    ];
    for (key, value) in entries {
        if let Some(value) = value {
            json[key] = value;
        }
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed("create", directory))?;
    }
    // Never half of it, whenever we die.
    let whole = path.with_extension("new");
    fs::write(&whole, json.to_string()).map_err(failed("write", &whole))?;
    fs::rename(&whole, &path).map_err(failed("write", &path))
}

/// What was before; `None` if nothing was kept.
fn read_backup(path: &Path) -> Result<Option<Tuning>, CniError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(failed("read", path))?,
    };
    let json: Value = serde_json::from_str(&text).map_err(|error| failed("read", path)(error.into()))?;
    let fields = Fields::of(&json, "")?;
    let number = |key| Ok::<_, CniError>(fields.number(key, u32::MAX.into())?.map(|number| number as u32));
    Ok(Some(Tuning {
        mac: fields.parsed("mac")?,
        mtu: number("mtu")?,
        promiscuous: fields.maybe_flag("promisc")?,
        all_multicast: fields.maybe_flag("allmulti")?,
        queue_length: number("txQLen")?,
        sysctls: Vec::new(),
    }))
}

fn failed(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> CniError {
    move |error| CniError::new(Code::Io, format!("cannot {doing} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_decides() {
        for (key, path) in [
            ("net.ipv4.conf.eth0.arp_filter", "net/ipv4/conf/eth0/arp_filter"),
            ("net/ipv4/conf/eth0.1/arp_filter", "net/ipv4/conf/eth0.1/arp_filter"),
            ("net.ipv4.conf.eth0/1.arp_filter", "net/ipv4/conf/eth0.1/arp_filter"),
            ("net", "net"),
        ] {
            assert_eq!(path_form(key), path);
        }
    }
}
