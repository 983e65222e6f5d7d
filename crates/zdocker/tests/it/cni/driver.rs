//! A container runtime's side of CNI, as SPEC.md describes it: executing plug-ins, singly and in lists.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Map, Value, json};

use super::shapes;
use crate::harness::{Host, NetNs, Output, Snapshot, skipped};

/// Where Debian has the reference plug-ins.
const REFERENCE: &str = "/usr/lib/cni";

/// The names that zdocker is called by as a plug-in.
pub(crate) const NAMES: [&str; 11] = [
    "bandwidth",
    "bridge",
    "firewall",
    "host-local",
    "ipvlan",
    "loopback",
    "macvlan",
    "portmap",
    "ptp",
    "tuning",
    "zdocker-net",
];

/// Whose plug-ins a runtime executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plugins {
    /// Those of the CNI project, as Debian has them: what they do shows that the tests are right.
    Reference,
    /// Links to zdocker.
    Ours,
}

/// A CNI runtime on a host of its own.
pub(super) struct Runtime {
    pub(super) host: Host,
    pub(super) plugins: Plugins,
    /// The only directory that plug-ins are looked for in.
    directory: PathBuf,
    /// The results of every ADD that no DEL has followed.
    results: Mutex<BTreeMap<Attachment, Value>>,
}

/// What identifies a container's interface on a network (SPEC.md, "Lifecycle & Ordering").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Attachment {
    network: String,
    container: String,
    interface: String,
}

/// What a plug-in says when it fails (SPEC.md, "Error").
#[derive(Debug)]
pub(super) struct Failure {
    /// As the specification numbers them; 100 and above are a plug-in's own.
    pub(super) code: u64,
    /// All that it printed.
    pub(super) printed: Value,
}

/// A network namespace that stands for a container.
pub(super) struct Sandbox {
    /// The container's id.
    pub(super) id: String,
    /// The file that names the namespace, on the host.
    pub(super) path: String,
    /// The namespace itself.
    pub(super) net: NetNs,
}

/// What a runtime asks for beside the configuration.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    container: &'a str,
    /// What `CNI_NETNS` is; the variable is not set without.
    namespace: Option<&'a str>,
    interface: &'a str,
    /// What `CNI_ARGS` is.
    args: &'a str,
    /// What the runtime has for plug-ins that declare the capability.
    capabilities: Value,
}

impl<'a> Call<'a> {
    /// For the interface `eth0` of a container.
    pub(super) fn new(sandbox: &'a Sandbox) -> Self {
        Call {
            container: &sandbox.id,
            namespace: Some(&sandbox.path),
            interface: "eth0",
            args: "",
            capabilities: json!({}),
        }
    }

    /// For a container whose namespace is gone, or is not told.
    pub(super) fn without_namespace(container: &'a str, namespace: Option<&'a str>) -> Self {
        Call {
            container,
            namespace,
            interface: "eth0",
            args: "",
            capabilities: json!({}),
        }
    }

    pub(super) fn interface(self, interface: &'a str) -> Self {
        Call { interface, ..self }
    }

    pub(super) fn args(self, args: &'a str) -> Self {
        Call { args, ..self }
    }

    pub(super) fn capabilities(self, capabilities: Value) -> Self {
        Call { capabilities, ..self }
    }
}

impl Runtime {
    /// One that executes the reference plug-ins; none where they are not installed, which it says.
    pub(super) fn reference() -> Option<Self> {
        Runtime::reference_directory().map(|_| Runtime::new(Plugins::Reference))
    }

    /// The directory of the reference plug-ins; none where they are not installed, which it says.
    pub(super) fn reference_directory() -> Option<&'static Path> {
        let directory = Path::new(REFERENCE);
        let is_there = directory.join("bridge").exists();
        if !is_there {
            skipped("the reference plug-ins (containernetworking-plugins) are not installed");
        }
        is_there.then_some(directory)
    }

    /// One that executes zdocker.
    pub(super) fn ours() -> Self {
        Runtime::new(Plugins::Ours)
    }

    /// One that has the reference plug-ins make interfaces and give addresses, and zdocker do the rest.
    pub(super) fn mixed() -> Option<Self> {
        Runtime::reference()?;
        let runtime = Runtime::new(Plugins::Ours);
        for name in ["bridge", "host-local", "ptp"] {
            let link = runtime.directory.join(name);
            fs::remove_file(&link).unwrap();
            symlink(Path::new(REFERENCE).join(name), link).unwrap();
        }
        Some(runtime)
    }

    fn new(plugins: Plugins) -> Self {
        let host = Host::new();
        // What plug-ins keep is below these; `ip netns` makes the first a mount of its own at its first use.
        for place in ["/run", "/var/lib"] {
            host.program("mount", &["-t", "tmpfs", "tmpfs", place]).ok();
        }
        host.program("ip", &["netns", "add", "first"]).ok();
        host.program("ip", &["netns", "del", "first"]).ok();
        let directory = match plugins {
            Plugins::Reference => REFERENCE.into(),
            Plugins::Ours => link_plugins(&host.scratch()),
        };
        Runtime {
            host,
            plugins,
            directory,
            results: Mutex::default(),
        }
    }

    /// Whether the plug-ins are zdocker.
    pub(super) fn is_ours(&self) -> bool {
        self.plugins == Plugins::Ours
    }

    /// The directory of the plug-ins.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A new namespace for a container.
    pub(super) fn sandbox(&self, name: &str) -> Sandbox {
        self.host.program("ip", &["netns", "add", name]).ok();
        let path = format!("/run/netns/{name}");
        Sandbox {
            id: format!("container-{name}"),
            net: NetNs::open(self.seen(&path).to_str().unwrap()),
            path,
        }
    }

    /// Ends a container's namespace, with all that is in it.
    pub(super) fn end(&self, sandbox: Sandbox) {
        let name = Path::new(&sandbox.path)
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        drop(sandbox);
        self.host.program("ip", &["netns", "del", &name]).ok();
    }

    /// How the test itself names a file of the host.
    pub(super) fn seen(&self, path: &str) -> PathBuf {
        let proc = self.host.proc();
        proc.parent().unwrap().join(path.trim_start_matches('/'))
    }

    /// The links, addresses, routes and, if zdocker made them, firewall objects of the host: what must be as before
    /// when all is taken down.
    pub(super) fn assert_as_before(&self, before: &Snapshot) {
        if self.is_ours() {
            return before.assert_same(&self.host);
        }
        // The reference plug-ins leave chains and files, and a bridge, in place.
        let now = Snapshot::take(&self.host);
        for kind in ["link", "route"] {
            let lasting = |line: &&str| !line.contains("cni");
            let lines = |snapshot: &Snapshot| -> Vec<String> {
                let lines = snapshot.lines(kind).into_iter().filter(lasting);
                lines.map(str::to_owned).collect()
            };
            assert_eq!(lines(before), lines(&now));
        }
    }

    /// Executes one plug-in as it is told, and returns all that it says.
    pub(super) fn execute(&self, plugin: &str, environment: &[(&str, &str)], input: &str) -> Output {
        let program = self.directory.join(plugin);
        let mut command = self.host.command(program.to_str().unwrap(), &[]);
        command.env("CNI_PATH", &self.directory);
        command.envs(environment.iter().copied());
        // A runtime always writes something, be it an empty line.
        self.host.finish(command, if input.is_empty() { "\n" } else { input })
    }

    /// Executes one plug-in for `call`.
    pub(super) fn single(&self, verb: &str, config: &Value, call: &Call) -> Result<Option<Value>, Failure> {
        let environment = environment(verb, call);
        let plugin = config["type"].as_str().unwrap();
        outcome(&self.execute(plugin, &environment, &config.to_string()))
    }

    /// Adds a container to a network: each plug-in of the list in turn, each with the result of the one before it.
    /// Returns the last one's.
    pub(super) fn try_add(&self, list: &Value, call: &Call) -> Result<Value, Failure> {
        let mut result: Option<Value> = None;
        for plugin in list["plugins"].as_array().unwrap() {
            let config = execution_config(list, plugin, call, result.as_ref());
            let answer = self.single("ADD", &config, call)?.expect("ADD prints a result");
            shapes::check(&answer, version(list), call.namespace.unwrap_or_default());
            result = Some(answer);
        }
        let result = result.unwrap();
        self.cached().insert(attachment(list, call), result.clone());
        Ok(result)
    }

    /// Adds a container to a network, which must succeed.
    #[track_caller]
    pub(super) fn add(&self, list: &Value, call: &Call) -> Value {
        self.try_add(list, call).unwrap_or_else(|e| panic!("ADD: {e:?}"))
    }

    /// Takes a container from a network: each plug-in in reverse order with the result that the list had.
    pub(super) fn try_del(&self, list: &Value, call: &Call) -> Result<(), Failure> {
        let key = attachment(list, call);
        let result = self.cached().get(&key).cloned();
        // From 0.4.0 on; "if there was a known previous ADD action".
        let result = result.filter(|_| version(list) != "0.3.1");
        for plugin in list["plugins"].as_array().unwrap().iter().rev() {
            let config = execution_config(list, plugin, call, result.as_ref());
            let answer = self.single("DEL", &config, call)?;
            assert!(answer.is_none(), "DEL prints nothing: {answer:?}");
        }
        self.cached().remove(&key);
        Ok(())
    }

    /// Takes a container from a network, which must succeed.
    #[track_caller]
    pub(super) fn del(&self, list: &Value, call: &Call) {
        self.try_del(list, call).unwrap_or_else(|e| panic!("DEL: {e:?}"));
    }

    /// Forgets what the ADD of `call` resulted in, as a runtime does that lost its files.
    pub(super) fn forget(&self, list: &Value, call: &Call) {
        self.cached().remove(&attachment(list, call));
    }

    /// Checks a container on a network: each plug-in in order, with the result that the list had.
    pub(super) fn check(&self, list: &Value, call: &Call) -> Result<(), Failure> {
        let result = self.cached().get(&attachment(list, call)).cloned();
        let result = result.expect("a runtime checks only what it has added");
        for plugin in list["plugins"].as_array().unwrap() {
            let config = execution_config(list, plugin, call, Some(&result));
            let answer = self.single("CHECK", &config, call)?;
            assert!(answer.is_none(), "CHECK prints nothing: {answer:?}");
        }
        Ok(())
    }

    /// Tells each plug-in which containers and interfaces of a network there are, and forgets all others.
    pub(super) fn gc(&self, list: &Value, valid: &[(&str, &str)]) -> Result<(), Failure> {
        let valid_attachments: Vec<Value> = valid
            .iter()
            .map(|(container, interface)| json!({ "containerID": container, "ifname": interface }))
            .collect();
        for plugin in list["plugins"].as_array().unwrap() {
            let mut config = base_config(list, plugin);
            config.insert("cni.dev/valid-attachments".to_owned(), valid_attachments.clone().into());
            let answer = self.verb("GC", Value::Object(config))?;
            assert!(answer.is_none(), "GC prints nothing: {answer:?}");
        }
        let network = list["name"].as_str().unwrap();
        let is_valid = |key: &Attachment| {
            let named = (key.container.as_str(), key.interface.as_str());
            key.network != network || valid.contains(&named)
        };
        self.cached().retain(|key, _| is_valid(key));
        Ok(())
    }

    /// Asks each plug-in of a list whether it can add containers.
    pub(super) fn status(&self, list: &Value) -> Result<(), Failure> {
        for plugin in list["plugins"].as_array().unwrap() {
            let answer = self.verb("STATUS", Value::Object(base_config(list, plugin)))?;
            assert!(answer.is_none(), "STATUS prints nothing: {answer:?}");
        }
        Ok(())
    }

    /// Executes a verb that is about no container.
    fn verb(&self, verb: &str, config: Value) -> Result<Option<Value>, Failure> {
        let plugin = config["type"].as_str().unwrap();
        outcome(&self.execute(plugin, &[("CNI_COMMAND", verb)], &config.to_string()))
    }

    fn cached(&self) -> std::sync::MutexGuard<'_, BTreeMap<Attachment, Value>> {
        self.results.lock().unwrap()
    }
}

/// Makes a directory of links to zdocker in `place`.
pub(super) fn link_plugins(place: &Path) -> PathBuf {
    let directory = place.join("cni-plugins");
    fs::create_dir_all(&directory).unwrap();
    for name in NAMES {
        symlink(env!("CARGO_BIN_EXE_zdocker"), directory.join(name)).unwrap();
    }
    directory
}

/// The variables that a plug-in is told about a container by.
pub(super) fn environment<'a>(verb: &'a str, call: &Call<'a>) -> Vec<(&'a str, &'a str)> {
    let mut environment = vec![
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", call.container),
        ("CNI_IFNAME", call.interface),
    ];
    environment.extend(call.namespace.map(|path| ("CNI_NETNS", path)));
    if !call.args.is_empty() {
        environment.push(("CNI_ARGS", call.args));
    }
    environment
}

/// What an execution came to: what was printed on success, nothing if that is empty.
pub(super) fn outcome(output: &Output) -> Result<Option<Value>, Failure> {
    if output.status == 0 {
        return Ok((!output.text().is_empty()).then(|| output.json()));
    }
    let printed = output.json();
    let code = printed["code"].as_u64();
    assert!(
        printed["msg"].as_str().is_some_and(|text| !text.is_empty()) && output.status < 128,
        "a failure says what it is: {output:?}"
    );
    Err(Failure {
        code: code.unwrap_or_else(|| panic!("a failure has a number: {output:?}")),
        printed,
    })
}

/// The specification's version that a list is written in.
pub(super) fn version(list: &Value) -> &str {
    list["cniVersion"].as_str().unwrap()
}

fn attachment(list: &Value, call: &Call) -> Attachment {
    Attachment {
        network: list["name"].as_str().unwrap().to_owned(),
        container: call.container.to_owned(),
        interface: call.interface.to_owned(),
    }
}

/// A plug-in's part of a list, with the list's name and version, as it is executed with (SPEC.md, "Deriving execution
/// configuration from plugin configuration").
fn base_config(list: &Value, plugin: &Value) -> Map<String, Value> {
    let mut config = plugin.as_object().unwrap().clone();
    for key in ["cniVersion", "name"] {
        config.insert(key.to_owned(), list[key].clone());
    }
    config.remove("capabilities");
    config
}

/// The same with what the runtime has for the capabilities that the plug-in declares, and the result so far.
pub(super) fn execution_config(list: &Value, plugin: &Value, call: &Call, result: Option<&Value>) -> Value {
    let mut config = base_config(list, plugin);
    let wanted = |name: &String| plugin["capabilities"][name] == json!(true);
    let offered = call.capabilities.as_object().unwrap().clone();
    let runtime_config: Map<String, Value> = offered.into_iter().filter(|(name, _)| wanted(name)).collect();
    if !runtime_config.is_empty() {
        config.insert("runtimeConfig".to_owned(), runtime_config.into());
    }
    if let Some(result) = result {
        config.insert("prevResult".to_owned(), result.clone());
    }
    config.into()
}
