//! What both engines are told to do.

/// A part of the scenario; after each, everything is measured.
pub(super) struct Stage {
    pub(super) name: &'static str,
    /// Command lines, done in turn.
    pub(super) commands: &'static [&'static str],
    /// The containers that run then, and that have a network of their own.
    pub(super) containers: &'static [&'static str],
}

/// The networks that are looked at.
pub(super) const NETWORKS: &[&str] = &["bridge", "host", "none", "front", "back", "inside", "dual", "quiet"];

/// The names that every container asks for.
pub(super) const NAMES: &[&str] = &[
    "web",
    "www",
    "app",
    "application",
    "db",
    "data",
    "vault",
    "vault2",
    "six",
    "six2",
    "quiet1",
    "quiet2",
    "old",
    "old2",
];

/// The host's ports that are published at some time, for `host:PORT`.
pub(super) const PUBLISHED: &[u16] = &[8080, 8081, 8082, 8083, 8084, 8085, 8086, 8087, 8088, 9000, 9001, 9100];

/// The scenario.
pub(super) const STAGES: &[Stage] = &[
    Stage {
        name: "run",
        commands: &[
            "network create --subnet 10.20.0.0/24 --gateway 10.20.0.1 --label tier=front front",
            "network create --subnet 10.21.0.0/24 --ip-range 10.21.0.128/25 --aux-address printer=10.21.0.130 \
             --gateway 10.21.0.254 -o com.docker.network.driver.mtu=1400 back",
            "network create --internal --subnet 10.22.0.0/24 inside",
            "network create --ipv6 --subnet 10.23.0.0/24 --subnet fd00:23::/64 dual",
            "network create --subnet 10.24.0.0/24 -o com.docker.network.bridge.enable_icc=false quiet",
            "run -d --name web --network front --ip 10.20.0.10 --network-alias www -p 8080:7000 -p 8080:7000/udp \
             -p 127.0.0.1:8081:7000 -p 9000-9001:7000-7001 IMAGE sleep infinity",
            "run -d --name app --network front -p 203.0.113.1:8082:7000 --hostname application IMAGE sleep infinity",
            "run -d --name db --network back IMAGE sleep infinity",
            "run -d --name vault --network inside -p 8083:7000 IMAGE sleep infinity",
            "run -d --name vault2 --network inside IMAGE sleep infinity",
            "run -d --name six --network dual --ip6 fd00:23::10 -p 8084:7000 -p [2001:db8::1]:8085:7000 \
             IMAGE sleep infinity",
            "run -d --name six2 --network dual IMAGE sleep infinity",
            "run -d --name quiet1 --network quiet -p 8086:7000 IMAGE sleep infinity",
            "run -d --name quiet2 --network quiet IMAGE sleep infinity",
            "run -d --name old -p 8087:7000 -p 0.0.0.0:8088:7000/udp IMAGE sleep infinity",
            "run -d --name old2 IMAGE sleep infinity",
            "run -d --name side --network container:web IMAGE sleep infinity",
            "run -d --name hosted --network host IMAGE sleep infinity",
            "run -d --name alone --network none IMAGE sleep infinity",
        ],
        containers: &[
            "web", "app", "db", "vault", "vault2", "six", "six2", "quiet1", "quiet2", "old", "old2", "side", "hosted",
            "alone",
        ],
    },
    Stage {
        name: "connect",
        commands: &[
            "network connect --alias data --ip 10.21.0.50 back web",
            "network connect inside db",
            "network disconnect front app",
            "network connect --ip 10.21.0.60 back app",
        ],
        containers: &["web", "app", "db", "vault", "vault2", "side"],
    },
    Stage {
        name: "restart",
        commands: &[
            "stop -t 0 app web vault2",
            "rm vault2",
            "start web",
            "start app",
            "network disconnect -f back db",
            "create --name late --network front --ip 10.20.0.30 -p 9100:7000 IMAGE sleep infinity",
            "start late",
        ],
        containers: &["web", "app", "db", "vault", "late"],
    },
];
