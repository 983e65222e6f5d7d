//! Published ports in one line.

use std::net::IpAddr;

use zdocker_net::model::Endpoint;
use zdocker_net::ports::Protocol;
use zdocker_net::publish::reached_at;

/// Published ports that follow each other on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    container_port: u16,
    protocol: Protocol,
    ip: IpAddr,
    host_port: u16,
    /// How many, less one.
    span: u16,
}

/// Published ports as Docker writes them: `0.0.0.0:8080->80/tcp, 0.0.0.0:9000-9010->9000-9010/tcp`.
pub(crate) fn render(endpoints: &[Endpoint]) -> String {
    let texts: Vec<String> = runs(endpoints).iter().map(show).collect();
    texts.join(", ")
}

fn runs(endpoints: &[Endpoint]) -> Vec<Run> {
    let mut single: Vec<Run> = Vec::new();
    for endpoint in endpoints {
        for port in &endpoint.ports {
            single.extend(reached_at(endpoint, port).iter().map(|at| Run {
                container_port: port.container_port,
                protocol: port.protocol,
                ip: at.ip(),
                host_port: at.port(),
                span: 0,
            }));
        }
    }
    single.sort_unstable_by_key(|run| (run.ip, run.protocol, run.host_port, run.container_port));
    let mut runs: Vec<Run> = Vec::new();
    for next in single {
        match runs.last_mut() {
            Some(run) if run.goes_on_with(&next) => run.span += 1,
            _ => runs.push(next),
        }
    }
    runs.sort_unstable();
    runs
}

impl Run {
    fn goes_on_with(&self, next: &Run) -> bool {
        let follows = |first: u16, port: u16| u32::from(first) + u32::from(self.span) + 1 == u32::from(port);
        (self.ip, self.protocol) == (next.ip, next.protocol)
            && follows(self.host_port, next.host_port)
            && follows(self.container_port, next.container_port)
    }
}

fn show(run: &Run) -> String {
    let range = |first: u16| match run.span {
        0 => first.to_string(),
        span => format!("{first}-{}", first + span),
    };
    let ip = match run.ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    format!(
        "{ip}:{}->{}/{}",
        range(run.host_port),
        range(run.container_port),
        run.protocol
    )
}
