//! What Podman is told to do.
//!
//! Only such as has one outcome with netavark: of a container on several networks, all but one are internal, as Podman
//! plugs it into them in no order; and containers are taken away one by one, as netavark's commands get in each other's
//! way.

/// All that Podman is told to do, and what is looked at.
pub(super) struct Scenario {
    /// The networks that are looked at.
    pub(super) networks: &'static [&'static str],
    /// The names that every container asks for.
    pub(super) names: &'static [&'static str],
    /// The host's ports that are published at some time.
    pub(super) published: &'static [u16],
    pub(super) stages: &'static [Stage],
    /// Takes everything away again.
    pub(super) end: &'static [&'static str],
}

/// A part of a scenario; after each, everything is measured.
pub(super) struct Stage {
    pub(super) name: &'static str,
    /// Command lines, done in turn.
    pub(super) commands: &'static [&'static str],
    /// The containers that run then.
    pub(super) containers: &'static [&'static str],
}

/// The scenario of a Podman that root runs.
pub(super) const ROOT: Scenario = Scenario {
    networks: &[
        "podman", "front", "back", "inside", "dual", "lone", "other", "chosen", "wire",
    ],
    names: &[
        "web", "www", "app", "db", "data", "vault", "vault2", "six", "six2", "lone1", "lone2", "other1", "old",
        "chosen1",
    ],
    published: &[8080, 8081, 8082, 8083, 8084, 8085, 8086, 8087, 9000, 9001],
    stages: STAGES,
    end: END,
};

const STAGES: &[Stage] = &[
    Stage {
        name: "run",
        commands: &[
            "network create --subnet 10.20.0.0/24 --label tier=front front",
            "network create --subnet 10.21.0.0/24 --gateway 10.21.0.254 --ip-range 10.21.0.128/25 -o mtu=1400 back",
            "network create --internal --subnet 10.22.0.0/24 inside",
            "network create --ipv6 --subnet 10.23.0.0/24 --subnet fd00:23::/64 dual",
            "network create -o isolate=true --subnet 10.24.0.0/24 lone",
            "network create -o isolate=true --subnet 10.25.0.0/24 other",
            "network create --disable-dns chosen",
            "network create -d macvlan -o parent=eth0 --subnet 203.0.113.0/24 --gateway 203.0.113.2 \
             --ip-range 203.0.113.128/25 wire",
            "run -d --name web --network front:ip=10.20.0.10,mac=02:00:00:00:00:0a,alias=www -p 8080:7000 -p 8080:7000/udp \
             -p 127.0.0.1:8081:7000 -p 9000-9001:7000-7001 IMAGE sleep infinity",
            "run -d --name app --network front -p 203.0.113.1:8082:7000 IMAGE sleep infinity",
            "run -d --name db --network back:interface_name=eth0 --network inside:interface_name=eth1 IMAGE sleep infinity",
            "run -d --name vault --network inside -p 8083:7000 IMAGE sleep infinity",
            "run -d --name vault2 --network inside IMAGE sleep infinity",
            "run -d --name six --network dual:ip=10.23.0.10,ip=fd00:23::10 -p 8084:7000 -p [2001:db8::1]:8085:7000 \
             IMAGE sleep infinity",
            "run -d --name six2 --network dual IMAGE sleep infinity",
            "run -d --name lone1 --network lone -p 8086:7000 IMAGE sleep infinity",
            "run -d --name lone2 --network lone IMAGE sleep infinity",
            "run -d --name other1 --network other IMAGE sleep infinity",
            "run -d --name old -p 8087:7000 IMAGE sleep infinity",
            "run -d --name chosen1 --network chosen IMAGE sleep infinity",
            "run -d --name wired --network wire IMAGE sleep infinity",
        ],
        containers: &[
            "web", "app", "db", "vault", "vault2", "six", "six2", "lone1", "lone2", "other1", "old", "chosen1", "wired",
        ],
    },
    Stage {
        name: "connect",
        commands: &[
            "network connect --alias data --ip 10.22.0.150 inside web",
            "network disconnect inside db",
            "network disconnect front app",
            "network connect --ip 10.21.0.160 back app",
            "rm -f -t 0 six2",
            "rm -f -t 0 lone2",
            "rm -f -t 0 chosen1",
        ],
        containers: &["web", "app", "db", "vault", "vault2", "six"],
    },
    Stage {
        name: "restart",
        commands: &[
            "stop -t 0 app",
            "stop -t 0 web",
            "stop -t 0 vault2",
            "rm vault2",
            "start app",
            "start web",
            "network reload --all",
        ],
        containers: &["web", "app", "db", "vault", "six", "lone1", "other1"],
    },
];

const END: &[&str] = &[
    "rm -f -t 0 web",
    "rm -f -t 0 app",
    "rm -f -t 0 db",
    "rm -f -t 0 vault",
    "rm -f -t 0 six",
    "rm -f -t 0 lone1",
    "rm -f -t 0 other1",
    "rm -f -t 0 old",
    "rm -f -t 0 wired",
    "network rm front back inside dual lone other chosen wire",
];
