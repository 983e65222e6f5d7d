//! The command line, as netavark takes it: options stand before or after the verb.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verb {
    /// A network as Podman is to record it.
    Create,
    /// Plug the container whose namespace is at this path into its networks.
    Setup(OsString),
    /// The reverse.
    Teardown(OsString),
    /// Change the name servers that a network's own server asks.
    Update {
        /// The network.
        network: String,
        /// The name servers.
        servers: Vec<String>,
    },
    /// Put back what somebody flushed.
    Reload,
    /// Say what this is, as JSON.
    Version,
    /// The same in a line.
    VersionLine,
    /// Say how it is called.
    Help,
}

/// The options, given or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// Where state is kept.
    pub(super) config: Option<PathBuf>,
    /// Whether Podman runs without privileges.
    pub(super) rootless: bool,
    /// The program that serves names.
    pub(super) aardvark: Option<PathBuf>,
    /// Where programs that serve other drivers are looked for.
    pub(super) plugin_directories: Vec<PathBuf>,
    /// Which firewall is wanted.
    pub(super) firewall: Option<String>,
    /// Where the input is, if not on standard input.
    pub(super) file: Option<PathBuf>,
}

/// How it is called.
pub(super) const HELP: &str = "\
Usage: netavark [OPTIONS] COMMAND

Commands:
  setup NETNS          Plug a container into the networks that the input names
  teardown NETNS       The reverse
  create               Complete and check the definition of a network
  update NETWORK --network-dns-servers ADDRESS..
                       Change the name servers of a network
  firewall-reload      Put rules and elements back that somebody flushed
  version              Show the version as JSON

Options:
  -f, --file FILE                  Read the input from FILE instead of standard input
  -c, --config DIR                 Keep state below DIR
  -r, --rootless BOOL              Whether Podman runs without privileges
  -a, --aardvark-binary FILE       The program that serves names
      --plugin-directory DIR       Where programs for other drivers are; may be given several times
      --firewall-driver DRIVER     nftables, iptables, firewalld (all three: nftables) or none [env: NETAVARK_FW]
  -h, --help                       Show this
  -V, --version                    Show the version";

/// Reads a command line without the program's name.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<(Verb, Options), String> {
    let mut words = Words {
        rest: arguments.collect::<Vec<_>>().into_iter(),
    };
    let (mut options, mut servers, mut plain) = (Options::default(), Vec::new(), Vec::new());
    while let Some(word) = words.rest.next() {
        let Some((name, value)) = split(&word) else {
            plain.push(word);
            continue;
        };
        let mut value = || words.value(name, value.clone());
        match name {
            "-h" | "--help" => return Ok((Verb::Help, options)),
            "-V" | "--version" => return Ok((Verb::VersionLine, options)),
            "-c" | "--config" => options.config = Some(value()?.into()),
            "-r" | "--rootless" => options.rootless = truth(&value()?)?,
            "-a" | "--aardvark-binary" => options.aardvark = Some(value()?.into()),
            "--plugin-directory" => options.plugin_directories.push(value()?.into()),
            "--firewall-driver" => options.firewall = Some(text(value()?)?),
            "-f" | "--file" => options.file = Some(value()?.into()),
            "--network-dns-servers" => servers.push(text(value()?)?),
            _ => return Err(format!("unexpected argument {}", word.display())),
        }
    }
    Ok((verb(plain, servers)?, options))
}

fn verb(words: Vec<OsString>, servers: Vec<String>) -> Result<Verb, String> {
    let mut words = words.into_iter();
    let name = words.next().ok_or("a command is missing")?;
    let operand = words.next();
    if let Some(surplus) = words.next() {
        return Err(format!("unexpected argument {}", surplus.display()));
    }
    let needed = |what: &str| match operand.clone() {
        Some(operand) if !operand.is_empty() => Ok(operand),
        _ => Err(format!("{} needs {what}", name.display())),
    };
    let verb = match name.to_str().unwrap_or_default() {
        "setup" => Verb::Setup(needed("the path of a network namespace")?),
        "teardown" => Verb::Teardown(needed("the path of a network namespace")?),
        "update" if servers.is_empty() => return Err("update needs --network-dns-servers".to_owned()),
        "update" => Verb::Update {
            network: text(needed("a network")?)?,
            servers,
        },
        "create" => Verb::Create,
        // Netavark's waits for firewalld, which would flush its rules; ours are in a table that firewalld leaves alone.
        "firewall-reload" | "firewalld-reload" | "nftables-reload" => Verb::Reload,
        "version" => Verb::Version,
        "help" => Verb::Help,
        "dhcp-proxy" => return Err("dhcp-proxy is not supported yet".to_owned()),
        _ => return Err(format!("unrecognized command {}", name.display())),
    };
    let takes_none = !matches!(
        verb,
        Verb::Setup(_) | Verb::Teardown(_) | Verb::Update { .. } | Verb::Help
    );
    match operand {
        Some(surplus) if takes_none => Err(format!("unexpected argument {}", surplus.display())),
        _ => Ok(verb),
    }
}

/// An option's name, and its value if it is in the same word; nothing if the word is no option.
fn split(word: &OsStr) -> Option<(&str, Option<OsString>)> {
    let bytes = word.as_bytes();
    let owned = |value: &[u8]| OsString::from_vec(value.to_vec());
    if bytes.starts_with(b"--") && bytes.len() > 2 {
        let end = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
        let value = bytes.get(end + 1..).filter(|_| end < bytes.len()).map(owned);
        return Some((std::str::from_utf8(&bytes[..end]).ok()?, value));
    }
    if bytes.starts_with(b"-") && bytes.len() > 1 {
        let name = std::str::from_utf8(bytes.get(..2)?).ok()?;
        let value = bytes.get(2..).filter(|value| !value.is_empty());
        let value = value.map(|value| value.strip_prefix(b"=").unwrap_or(value));
        return Some((name, value.map(owned)));
    }
    None
}

/// The words that are not read yet.
struct Words {
    rest: std::vec::IntoIter<OsString>,
}

impl Words {
    fn value(&mut self, name: &str, joined: Option<OsString>) -> Result<OsString, String> {
        let value = joined.or_else(|| self.rest.next());
        value.ok_or_else(|| format!("a value is required for {name}"))
    }
}

fn text(word: OsString) -> Result<String, String> {
    word.into_string()
        .map_err(|word| format!("invalid UTF-8 in {}", word.display()))
}

fn truth(word: &OsStr) -> Result<bool, String> {
    match word.to_str() {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        _ => Err(format!("--rootless is true or false, not {}", word.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(Verb, Options), String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_stand_before_and_after_the_verb() {
        let expected = Options {
            config: Some("/run/n".into()),
            rootless: true,
            aardvark: Some("/a".into()),
            plugin_directories: vec!["/p".into(), "/q".into()],
            firewall: Some("none".to_owned()),
            file: Some("/in".into()),
        };
        for line in [
            "--config /run/n --rootless=true -a /a --plugin-directory /p --plugin-directory=/q --firewall-driver none \
             -f /in setup /ns",
            "setup /ns -c/run/n -r=true --aardvark-binary=/a --file /in --plugin-directory /p --plugin-directory /q \
             --firewall-driver=none",
        ] {
            let (verb, options) = read(line).unwrap();
            assert_eq!((verb, options), (Verb::Setup("/ns".into()), expected.clone()), "{line}");
        }
    }

    #[test]
    fn paths_need_not_be_text() {
        let path = OsString::from_vec(b"/tmp/\xff".to_vec());
        let (verb, options) = parse(["--config".into(), path.clone(), "version".into()].into_iter()).unwrap();
        assert_eq!((verb, options.config), (Verb::Version, Some(path.into())));
    }

    #[test]
    fn verbs() {
        for (line, expected) in [
            ("teardown /ns", Ok(Verb::Teardown("/ns".into()))),
            ("create", Ok(Verb::Create)),
            ("firewall-reload", Ok(Verb::Reload)),
            ("version", Ok(Verb::Version)),
            ("-V", Ok(Verb::VersionLine)),
            ("setup --help", Ok(Verb::Help)),
            (
                "update n --network-dns-servers 1.1.1.1 --network-dns-servers=9.9.9.9",
                Ok(Verb::Update {
                    network: "n".to_owned(),
                    servers: vec!["1.1.1.1".to_owned(), "9.9.9.9".to_owned()],
                }),
            ),
            ("", Err("a command is missing")),
            ("setup", Err("setup needs the path")),
            ("setup /a /b", Err("unexpected argument /b")),
            ("version x", Err("unexpected argument x")),
            ("update n", Err("--network-dns-servers")),
            ("-c", Err("a value is required for -c")),
            ("--rootless maybe version", Err("true or false")),
            ("--banana version", Err("--banana")),
            ("dance", Err("dance")),
        ] {
            match (read(line), expected) {
                (Ok((verb, _)), Ok(expected)) => assert_eq!(verb, expected, "{line}"),
                (Err(error), Err(words)) => assert!(error.contains(words), "{line}: {error}"),
                (other, expected) => panic!("{line}: {other:?} instead of {expected:?}"),
            }
        }
    }
}
