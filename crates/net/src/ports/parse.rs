//! Published and exposed ports as they are written on a command line.

use std::net::IpAddr;
use std::str::FromStr;

use super::{ContainerPorts, PortRange, PortRequest, Protocol};

/// Why a text does not say which ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid port {text:?}: {reason} (want {form})")]
pub struct PortError {
    text: String,
    reason: Reason,
    form: &'static str,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Reason {
    #[error("the protocol must be tcp or udp, or sctp")]
    Protocol,
    #[error("no port of the container is given")]
    NoContainerPort,
    #[error("a port is a number from 1 to 65535, or two with a hyphen, the lower one first")]
    Port,
    #[error("the host address {0:?} is not an IP address")]
    Address(String),
    #[error("the bracket is not closed")]
    Bracket,
    #[error("a ':' must follow the address")]
    NoColon,
    #[error("the ranges of the host ({0}) and of the container ({1}) must be of the same length")]
    Lengths(PortRange, PortRange),
    #[error("{0:?} is none of the fields")]
    Field(String),
    #[error("field {0:?} is given twice")]
    FieldTwice(&'static str),
    #[error("the mode must be host or ingress")]
    Mode,
}

const REQUEST: &str = "[IP:][HOSTPORT[-HOSTPORT]:]PORT[-PORT][/tcp|udp|sctp], \
                       or published=HOSTPORT,target=PORT,protocol=tcp,host_ip=IP; IPv6 addresses in brackets";
const EXPOSED: &str = "PORT[-PORT][/tcp|udp|sctp]";
pub(super) const SELECTOR: &str = "PORT[-PORT][/tcp|udp|sctp], or what it was published as, or published=HOSTPORT";

impl Reason {
    pub(super) fn of(self, text: &str, form: &'static str) -> PortError {
        PortError {
            text: text.to_owned(),
            reason: self,
            form,
        }
    }
}

/// What a text names; each part may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) host_ip: Option<IpAddr>,
    pub(super) host: Option<PortRange>,
    pub(super) container: Option<PortRange>,
    pub(super) protocol: Option<Protocol>,
}

impl Parts {
    pub(super) fn parse(text: &str) -> Result<Self, Reason> {
        if text.contains('=') {
            Parts::parse_fields(text)
        } else {
            Parts::parse_line(text)
        }
    }

    /// `[IP:][HOST:]CONTAINER[/PROTOCOL]`
    fn parse_line(text: &str) -> Result<Self, Reason> {
        let (rest, protocol) = split_protocol(text)?;
        let (host_ip, ports) = split_address(rest)?;
        let (host, container) = ports.split_once(':').unwrap_or(("", ports));
        if container.is_empty() {
            return Err(Reason::NoContainerPort);
        }
        Ok(Parts {
            host_ip,
            host: host_range(host)?,
            container: Some(range(container)?),
            protocol,
        })
    }

    /// `published=8080,target=80,...`
    fn parse_fields(text: &str) -> Result<Self, Reason> {
        let mut parts = Parts::default();
        let mut given = Vec::new();
        for field in text.split(',') {
            let (key, value) = field.split_once('=').ok_or_else(|| Reason::Field(field.to_owned()))?;
            let key = match key {
                "published" => {
                    parts.host = host_range(value)?;
                    "published"
                }
                "target" => {
                    parts.container = Some(range(value)?);
                    "target"
                }
                "protocol" => {
                    parts.protocol = Some(protocol(value)?);
                    "protocol"
                }
                "host_ip" => {
                    let bare = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
                    parts.host_ip = Some(address(bare.unwrap_or(value))?);
                    "host_ip"
                }
                // They differ only in a swarm.
                "mode" if matches!(value, "host" | "ingress") => "mode",
                "mode" => return Err(Reason::Mode),
                _ => return Err(Reason::Field(key.to_owned())),
            };
            if given.contains(&key) {
                return Err(Reason::FieldTwice(key));
            }
            given.push(key);
        }
        Ok(parts)
    }

    pub(super) fn request(self) -> Result<PortRequest, Reason> {
        let container = self.container.ok_or(Reason::NoContainerPort)?;
        let protocol = self.protocol.unwrap_or(Protocol::Tcp);
        let lengths = || Reason::Lengths(self.host.unwrap_or(container), container);
        PortRequest::new(self.host_ip, self.host, container, protocol).ok_or_else(lengths)
    }
}

fn split_protocol(text: &str) -> Result<(&str, Option<Protocol>), Reason> {
    match text.rsplit_once('/') {
        None => Ok((text, None)),
        Some((rest, name)) => Ok((rest, Some(protocol(name)?))),
    }
}

fn protocol(name: &str) -> Result<Protocol, Reason> {
    let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let named = all.into_iter().find(|one| name.eq_ignore_ascii_case(&one.to_string()));
    named.ok_or(Reason::Protocol)
}

/// Cuts a leading `IP:` off. As with Docker, the last two colons separate ports, so an IPv6 address needs no brackets.
fn split_address(text: &str) -> Result<(Option<IpAddr>, &str), Reason> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inner, rest) = rest.split_once(']').ok_or(Reason::Bracket)?;
        let ports = rest.strip_prefix(':').ok_or(Reason::NoColon)?;
        if ports.matches(':').count() > 1 {
            return Err(Reason::Port);
        }
        return Ok((Some(address(inner)?), ports));
    }
    let Some(second_last) = text.rmatch_indices(':').nth(1).map(|(place, _)| place) else {
        return Ok((None, text));
    };
    let (before, ports) = (&text[..second_last], &text[second_last + 1..]);
    if before.is_empty() {
        return Ok((None, ports));
    }
    Ok((Some(address(before)?), ports))
}

fn address(text: &str) -> Result<IpAddr, Reason> {
    text.parse().map_err(|_| Reason::Address(text.to_owned()))
}

/// Docker reads a host port of 0 as "any".
fn host_range(text: &str) -> Result<Option<PortRange>, Reason> {
    if matches!(text, "" | "0") {
        return Ok(None);
    }
    range(text).map(Some)
}

fn range(text: &str) -> Result<PortRange, Reason> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(Reason::Port),
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    PortRange::new(port(first)?, port(last)?).ok_or(Reason::Port)
}

impl FromStr for PortRequest {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let request = Parts::parse(text).and_then(Parts::request);
        request.map_err(|reason| reason.of(text, REQUEST))
    }
}

impl TryFrom<String> for PortRequest {
    type Error = PortError;

    fn try_from(text: String) -> Result<Self, PortError> {
        text.parse()
    }
}

impl FromStr for ContainerPorts {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let parse = || {
            let (rest, protocol) = split_protocol(text)?;
            Ok(ContainerPorts {
                ports: range(rest)?,
                protocol: protocol.unwrap_or(Protocol::Tcp),
            })
        };
        parse().map_err(|reason: Reason| reason.of(text, EXPOSED))
    }
}

impl TryFrom<String> for ContainerPorts {
    type Error = PortError;

    fn try_from(text: String) -> Result<Self, PortError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `expected` is what the request is shown as, or words of the error.
    fn check(text: &str, expected: Result<&str, &str>) {
        let got = text.parse::<PortRequest>().map(|request| request.to_string());
        match (got, expected) {
            (Ok(got), Ok(expected)) => assert_eq!(got, expected, "{text}"),
            (Err(error), Err(words)) => {
                let message = error.to_string();
                assert!(message.contains(words), "{text}: {message:?} has no {words:?}");
            }
            (got, expected) => panic!("{text}: {got:?}, and not {expected:?}"),
        }
    }

    #[test]
    fn every_form() {
        for (text, shown) in [
            ("80", "80/tcp"),
            ("80-90", "80-90/tcp"),
            ("8080:80", "8080:80/tcp"),
            ("8080:80/udp", "8080:80/udp"),
            ("8080:80/TCP", "8080:80/tcp"),
            ("8080:80/sctp", "8080:80/sctp"),
            ("8000-8010:80-90", "8000-8010:80-90/tcp"),
            ("8000-8010:80", "8000-8010:80/tcp"),
            ("80-80:80", "80:80/tcp"),
            ("1-65535:1-65535/udp", "1-65535:1-65535/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1:8080:80/tcp"),
            ("127.0.0.1:8000-8010:80-90", "127.0.0.1:8000-8010:80-90/tcp"),
            ("127.0.0.1::80", "127.0.0.1::80/tcp"),
            ("127.0.0.1:0:80", "127.0.0.1::80/tcp"),
            ("0:80", "80/tcp"),
            (":80", "80/tcp"),
            ("::80", "80/tcp"),
            ("[::1]:8080:80", "[::1]:8080:80/tcp"),
            ("::1:8080:80", "[::1]:8080:80/tcp"),
            ("[fd00::1]::53/udp", "[fd00::1]::53/udp"),
            ("[::]:80", "[::]::80/tcp"),
            (":8080:80", "8080:80/tcp"),
            ("published=8080,target=80", "8080:80/tcp"),
            ("target=80", "80/tcp"),
            ("published=0,target=80", "80/tcp"),
            (
                "published=8080,target=80,protocol=udp,mode=host,host_ip=127.0.0.1",
                "127.0.0.1:8080:80/udp",
            ),
            (
                "mode=ingress,host_ip=[::1],target=80-81,published=90-91",
                "[::1]:90-91:80-81/tcp",
            ),
        ] {
            check(text, Ok(shown));
            check(shown, Ok(shown));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("", "no port of the container"),
            ("8080:", "no port of the container"),
            ("published=8080", "no port of the container"),
            ("0", "from 1 to 65535"),
            ("65536", "from 1 to 65535"),
            ("-1:80", "from 1 to 65535"),
            ("80-", "from 1 to 65535"),
            ("90-80", "the lower one first"),
            ("0-3:80-83", "from 1 to 65535"),
            ("+80", "from 1 to 65535"),
            ("x:80", "from 1 to 65535"),
            ("80/", "tcp or udp"),
            ("80/icmp", "tcp or udp"),
            ("1.2.3:1:80", "\"1.2.3\" is not an IP address"),
            ("1:2:3:4", "\"1:2\" is not an IP address"),
            ("[::1]8080:80", "must follow the address"),
            ("[::1:80", "not closed"),
            ("[::1]:1:2:3", "from 1 to 65535"),
            ("8000-8010:80-81", "(8000-8010) and of the container (80-81)"),
            ("8000:80-81", "same length"),
            ("published=8080,target=80,host=x", "\"host\" is none of the fields"),
            ("target=80,80", "\"80\" is none of the fields"),
            ("target=80,target=81", "\"target\" is given twice"),
            ("target=80,mode=vip", "host or ingress"),
        ] {
            check(text, Err(words));
        }
    }

    #[test]
    fn exposed_ports() {
        for (text, shown) in [
            ("80", Some("80/tcp")),
            ("80-82/UDP", Some("80-82/udp")),
            ("8080:80", None),
            ("", None),
        ] {
            let got = text.parse::<ContainerPorts>().ok().map(|ports| ports.to_string());
            assert_eq!(got.as_deref(), shown, "{text}");
        }
    }

    fn any_range() -> impl Strategy<Value = PortRange> {
        (1..=u16::MAX, 1..=u16::MAX).prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap())
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<PortRequest>();
            let _ = text.parse::<ContainerPorts>();
        }

        #[test]
        fn nearly_right_texts_do_not_panic(text in "[0-9:\\[\\]./=,a-z-]{0,24}") {
            let _ = text.parse::<PortRequest>();
        }

        #[test]
        fn what_is_shown_is_read_again(
            host_ip in any::<Option<IpAddr>>(),
            container in any_range(),
            first in proptest::option::of(1..=u16::MAX),
            protocol in prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]),
        ) {
            let last = |first: u16| first.checked_add(container.span());
            let host = first.and_then(|first| PortRange::new(first, last(first)?));
            let request = PortRequest::new(host_ip, host, container, protocol).unwrap();
            prop_assert_eq!(request.to_string().parse::<PortRequest>().unwrap(), request);
            prop_assert_eq!(request.wanted().count(), usize::from(container.span()) + 1);
        }
    }
}
