//! What a plug-in is asked: its environment and its standard input (CNI specification, "Section 2: Execution
//! Protocol").

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;

use serde_json::Value;
use zdocker_net::names::{Id, InterfaceName, Name};
use zdocker_net::op::NamespacePath;

use super::error::{CniError, Code};
use super::fields::Fields;
use super::result::CniResult;
use super::version::Version;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// Add a container to a network.
    Add,
    /// Take it off again.
    Del,
    /// Compare with what was done.
    Check,
    /// Take everything of a network away that is not listed.
    Gc,
    /// Tell whether containers can be added.
    Status,
    /// Tell the versions.
    Version,
}

impl Verb {
    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "ADD" => Verb::Add,
            "DEL" => Verb::Del,
            "CHECK" => Verb::Check,
            "GC" => Verb::Gc,
            "STATUS" => Verb::Status,
            "VERSION" => Verb::Version,
            _ => return None,
        })
    }

    /// Whether it is about one container.
    fn has_container(self) -> bool {
        matches!(self, Verb::Add | Verb::Del | Verb::Check)
    }

    /// The version that it came with.
    fn since(self) -> Version {
        match self {
            Verb::Add | Verb::Del | Verb::Version => Version::V010,
            Verb::Check => Version::V040,
            Verb::Gc | Verb::Status => Version::V110,
        }
    }
}

/// An environment: where tests have another than the process.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// What is to be done.
    pub(super) verb: Verb,
    /// The version of the configuration, and of the answer.
    pub(super) version: Version,
    /// The network's name.
    pub(super) network: Name,
    /// `CNI_CONTAINERID`; empty where the verb is about none.
    pub(super) container: String,
    /// `CNI_NETNS`, if given.
    pub(super) netns: Option<String>,
    /// `CNI_IFNAME`, if given.
    pub(super) ifname: Option<InterfaceName>,
    /// `CNI_ARGS`.
    pub(super) args: BTreeMap<String, String>,
    /// `CNI_PATH`.
    pub(super) path: Vec<PathBuf>,
    /// The configuration.
    pub(super) config: Value,
}

impl Request {
    /// A request with this environment and configuration.
    ///
    /// # Errors
    /// [`CniError`] when it is none.
    pub(super) fn new(verb: Verb, environment: Environment, config: &str) -> Result<Self, CniError> {
        let given = |key: &str| environment(key).filter(|value| !value.is_empty());
        let text = |key: &str| {
            let text = given(key).map(OsString::into_string).transpose();
            text.map_err(|_| CniError::environment(key, "is not UTF-8"))
        };
        require(verb, &|key| given(key).is_some())?;
        let container = text("CNI_CONTAINERID")?.unwrap_or_default();
        if verb.has_container() && container.parse::<Name>().is_err() {
            let reason = format!(
                "{container:?} is no container ID: want letters, digits, '_', '.' and '-', a letter or digit first"
            );
            return Err(CniError::environment("CNI_CONTAINERID", reason));
        }
        let ifname = text("CNI_IFNAME")?.map(|name| name.parse()).transpose();
        let config: Value = serde_json::from_str(config)
            .map_err(|error| CniError::new(Code::Decoding, format!("the configuration is no JSON: {error}")))?;
        let fields = Fields::of(&config, "").map_err(|error| CniError { code: 6, ..error })?;
        let version = fields.text("cniVersion");
        let version = Version::read(version.map_err(|error| CniError { code: 6, ..error })?)?;
        if version < verb.since() {
            let message = format!(
                "cniVersion {} has no {verb:?}, which came with {}",
                version.name(),
                verb.since().name()
            );
            return Err(CniError::new(Code::IncompatibleVersion, message));
        }
        let network = fields.text("name")?.unwrap_or_default();
        Ok(Request {
            verb,
            version,
            network: network.parse().map_err(|error| fields.error("name", error))?,
            container,
            netns: text("CNI_NETNS")?,
            ifname: ifname.map_err(|error| CniError::environment("CNI_IFNAME", error))?,
            args: arguments(&text("CNI_ARGS")?.unwrap_or_default())?,
            path: given("CNI_PATH").map_or_else(Vec::new, |path| std::env::split_paths(&path).collect()),
            config,
        })
    }

    /// The keys of the configuration.
    pub(super) fn fields(&self) -> Fields<'_> {
        // It was read as an object.
        Fields::of(&self.config, "").unwrap_or_else(|_| Fields::missing())
    }

    /// The keys of `runtimeConfig`: what the runtime fills in for the capabilities that the configuration has.
    ///
    /// # Errors
    /// When it is no object.
    pub(super) fn runtime(&self) -> Result<Fields<'_>, CniError> {
        self.fields().object("runtimeConfig")
    }

    /// The keys of `args.cni`: what a user asks of this attachment.
    ///
    /// # Errors
    /// When it is no object.
    pub(super) fn cni_args(&self) -> Result<Fields<'_>, CniError> {
        self.fields().object("args")?.object("cni")
    }

    /// What the plug-in before this one brought about, or, for `CHECK` and `DEL`, all of them together.
    ///
    /// # Errors
    /// [`Code::Decoding`] when it is no result.
    pub(super) fn previous(&self) -> Result<Option<CniResult>, CniError> {
        self.fields().value("prevResult").map(CniResult::from_json).transpose()
    }

    /// What the plug-ins before this one brought about, which cannot be done without.
    ///
    /// # Errors
    /// [`CniError`] when there is none.
    pub(super) fn required_previous(&self) -> Result<CniResult, CniError> {
        let previous = self.previous()?;
        previous.ok_or_else(|| CniError::config("prevResult", "is missing; this plug-in goes behind another in a list"))
    }

    /// How the records call the network.
    pub(super) fn network_id(&self) -> Id {
        Id::named(&["cni", self.network.as_str()])
    }

    /// How the records call the container.
    pub(super) fn container_id(&self) -> Id {
        container_id(&self.container)
    }

    /// The container's interface.
    ///
    /// # Errors
    /// When none is given.
    pub(super) fn interface(&self) -> Result<&InterfaceName, CniError> {
        let missing = || CniError::environment("CNI_IFNAME", "is missing");
        self.ifname.as_ref().ok_or_else(missing)
    }

    /// The container's namespace.
    ///
    /// # Errors
    /// When none is given.
    pub(super) fn namespace(&self) -> Result<NamespacePath, CniError> {
        let missing = || CniError::environment("CNI_NETNS", "is missing");
        self.netns.clone().map(NamespacePath).ok_or_else(missing)
    }

    /// The attachments that `GC` leaves, by container and interface. `null` is none; but who does not list them at all
    /// does not want every container's network taken away.
    ///
    /// # Errors
    /// When they are not listed as they must be.
    pub(super) fn valid_attachments(&self) -> Result<Vec<(Id, String)>, CniError> {
        let Some(key) = ATTACHMENTS.into_iter().find(|key| self.config.get(*key).is_some()) else {
            let reason =
                "is missing, and without it nothing would be kept; want a list, empty if no attachment is valid";
            return Err(CniError::config(ATTACHMENTS[0], reason));
        };
        let listed = self.fields().list(key)?.iter().map(|attachment| {
            let fields = Fields::of(attachment, key)?;
            let text = |key| fields.text(key)?.ok_or_else(|| fields.error(key, "is missing"));
            Ok((container_id(text("containerID")?), text("ifname")?.to_owned()))
        });
        listed.collect()
    }
}

/// Where `GC` has the attachments that stay: the specification's key, and the one of its first print, which some
/// runtimes write.
const ATTACHMENTS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// How the records call a container.
fn container_id(name: &str) -> Id {
    Id::named(&["cni", name])
}

/// What the runtime writes to standard input.
///
/// # Errors
/// [`Code::Io`] when it cannot be read.
pub(super) fn input(mut input: impl Read) -> Result<String, CniError> {
    let mut text = String::new();
    match input.read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(CniError::new(
            Code::Io,
            format!("cannot read the configuration from stdin: {error}"),
        )),
    }
}

/// Which verb the environment asks for.
///
/// # Errors
/// [`Code::InvalidEnvironment`].
pub(super) fn verb(environment: Environment) -> Result<Verb, CniError> {
    let text = environment("CNI_COMMAND").unwrap_or_default();
    let text = text.to_string_lossy();
    Verb::read(&text).ok_or_else(|| {
        let reason = format!("{text:?} is none of ADD, DEL, CHECK, GC, STATUS and VERSION");
        CniError::environment("CNI_COMMAND", reason)
    })
}

/// Refuses an environment that lacks what the verb needs.
fn require(verb: Verb, is_given: &dyn Fn(&str) -> bool) -> Result<(), CniError> {
    let mut wanted = vec!["CNI_PATH"];
    if verb.has_container() {
        wanted.extend(["CNI_CONTAINERID", "CNI_IFNAME"]);
    }
    if matches!(verb, Verb::Add | Verb::Check) {
        wanted.push("CNI_NETNS");
    }
    wanted.retain(|key| !is_given(key));
    if wanted.is_empty() {
        return Ok(());
    }
    let message = format!("required environment variables are missing: {}", wanted.join(", "));
    Err(CniError::new(Code::InvalidEnvironment, message))
}

/// Reads `KEY=VALUE;KEY=VALUE`.
fn arguments(text: &str) -> Result<BTreeMap<String, String>, CniError> {
    let pairs = text.split(';').filter(|pair| !pair.is_empty()).map(|pair| {
        let pair = pair.split_once('=').filter(|(key, _)| !key.is_empty());
        pair.map(|(key, value)| (key.to_owned(), value.to_owned()))
    });
    let pairs: Option<BTreeMap<String, String>> = pairs.collect();
    pairs.ok_or_else(|| CniError::environment("CNI_ARGS", format!("{text:?} is not KEY=VALUE;KEY=VALUE")))
}

#[cfg(test)]
impl Request {
    /// An `ADD` by a plug-in of this type, with `keys` in its configuration.
    pub(super) fn example(version: &str, plugin: &str, keys: &Value) -> Result<Self, CniError> {
        let mut config = serde_json::json!({"cniVersion": version, "name": "n", "type": plugin});
        let own = config.as_object_mut().unwrap();
        own.extend(keys.as_object().unwrap().clone());
        let environment = |key: &str| (key != "CNI_ARGS").then(|| "eth0".into());
        Request::new(Verb::Add, &environment, &config.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"cniVersion": "1.1.0", "name": "net", "type": "bridge"}"#;

    fn read(verb: Verb, environment: &[(&str, &str)], config: &str) -> Result<Request, CniError> {
        let find = |key: &str| Some(environment.iter().find(|(name, _)| *name == key)?.1.into());
        Request::new(verb, &find, config)
    }

    const ALL: [(&str, &str); 5] = [
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/c1"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin:/usr/lib/cni"),
        ("CNI_ARGS", "IgnoreUnknown=1;IP=10.0.0.9;"),
    ];

    #[test]
    fn a_request() {
        let request = read(Verb::Add, &ALL, CONFIG).unwrap();
        assert_eq!((request.version, request.network.as_str()), (Version::V110, "net"));
        assert_eq!(request.args["IP"], "10.0.0.9");
        assert_eq!(request.path.len(), 2);
        assert_eq!(request.network_id(), Id::named(&["cni", "net"]));
        let gc = r#"{"cniVersion": "1.1.0", "name": "n", "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]}"#;
        let request = read(Verb::Gc, &ALL[3..], gc).unwrap();
        assert_eq!(
            request.valid_attachments(),
            Ok(vec![(Id::named(&["cni", "c1"]), "eth0".to_owned())])
        );
    }

    #[test]
    fn garbage_is_collected_only_where_it_is_said_what_stays() {
        let with = |keys: &str| {
            let config = format!(r#"{{"cniVersion": "1.1.0", "name": "n"{keys}}}"#);
            read(Verb::Gc, &ALL[3..], &config).unwrap().valid_attachments()
        };
        assert_eq!(with(r#", "cni.dev/valid-attachments": null"#), Ok(Vec::new()));
        let first_print = r#", "cni.dev/attachments": [{"containerID": "c1", "ifname": "eth0"}]"#;
        assert_eq!(with(first_print).map(|valid| valid.len()), Ok(1));
        let error = with("").unwrap_err();
        assert!(
            error.code == 7 && error.message.contains("cni.dev/valid-attachments"),
            "{error:?}"
        );
    }

    fn changed(key: &str, value: &'static str) -> Vec<(&'static str, &'static str)> {
        ALL.into_iter()
            .map(|(name, old)| (name, if name == key { value } else { old }))
            .collect()
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_with_its_code() {
        let config = |version: &str, name: &str| format!(r#"{{"cniVersion": "{version}", "name": "{name}"}}"#);
        for (verb, environment, config, code, words) in [
            (Verb::Add, changed("CNI_NETNS", ""), CONFIG.to_owned(), 4, "CNI_NETNS"),
            (Verb::Del, changed("CNI_IFNAME", ""), CONFIG.to_owned(), 4, "CNI_IFNAME"),
            (
                Verb::Add,
                changed("CNI_CONTAINERID", "a/b"),
                CONFIG.to_owned(),
                4,
                "CNI_CONTAINERID",
            ),
            (
                Verb::Add,
                changed("CNI_IFNAME", "a/b"),
                CONFIG.to_owned(),
                4,
                "CNI_IFNAME",
            ),
            (
                Verb::Add,
                changed("CNI_IFNAME", "much-too-long-it-is"),
                CONFIG.to_owned(),
                4,
                "CNI_IFNAME",
            ),
            (Verb::Add, changed("CNI_ARGS", "A;B"), CONFIG.to_owned(), 4, "CNI_ARGS"),
            (Verb::Add, ALL.to_vec(), "{".to_owned(), 6, "no JSON"),
            (Verb::Add, ALL.to_vec(), "[]".to_owned(), 6, "want an object"),
            (Verb::Add, ALL.to_vec(), config("9.9.9", "n"), 1, "incompatible"),
            (Verb::Check, ALL.to_vec(), config("0.3.1", "n"), 1, "0.4.0"),
            (Verb::Gc, ALL.to_vec(), config("1.0.0", "n"), 1, "1.1.0"),
            (Verb::Add, ALL.to_vec(), config("1.0.0", ""), 7, "\"name\""),
            (Verb::Add, ALL.to_vec(), config("1.0.0", "a b"), 7, "\"name\""),
        ] {
            let error = read(verb, &environment, &config).unwrap_err();
            assert!(
                error.code == code && error.message.contains(words),
                "{words}: {error:?}"
            );
        }
        assert!(read(Verb::Del, &changed("CNI_NETNS", ""), CONFIG).is_ok());
    }
}
