//! What a user's Podman is told to do.
//!
//! A container that publishes ports is on one network only whenever it is looked at: of several, its ports lead to any.

use super::super::scenario::{Scenario, Stage};

/// The scenario.
pub(super) const USERS: Scenario = Scenario {
    networks: &["podman", "front", "inside", "dual"],
    names: &["web", "www", "app", "data", "vault", "six", "old"],
    published: &[8080, 8081, 8084, 8087, 9000, 9001],
    stages: STAGES,
    end: END,
};

const STAGES: &[Stage] = &[
    Stage {
        name: "run",
        commands: &[
            "network create --subnet 10.20.0.0/24 --label tier=front front",
            "network create --internal --subnet 10.22.0.0/24 inside",
            "network create --ipv6 --subnet 10.23.0.0/24 --subnet fd00:23::/64 dual",
            "run -d --name web --network front:ip=10.20.0.10,mac=02:00:00:00:00:0a,alias=www -p 8080:7000 \
             -p 8080:7000/udp -p 127.0.0.1:8081:7000 -p 9000-9001:7000-7001 IMAGE sleep infinity",
            "run -d --name app --network front IMAGE sleep infinity",
            "run -d --name vault --network inside IMAGE sleep infinity",
            "run -d --name six --network dual:ip=10.23.0.10,ip=fd00:23::10 -p 8084:7000 IMAGE sleep infinity",
            "run -d --name old --network podman -p 8087:7000 IMAGE sleep infinity",
        ],
        containers: &["web", "app", "vault", "six", "old"],
    },
    Stage {
        name: "connect",
        commands: &[
            "network connect --alias data --ip 10.22.0.150 inside app",
            "network connect --ip 10.23.0.50 dual web",
            "network disconnect front web",
            "rm -f -t 0 old",
        ],
        containers: &["web", "app", "vault", "six"],
    },
    Stage {
        name: "restart",
        commands: &[
            "stop -t 0 web",
            "stop -t 0 app",
            "start web",
            "start app",
            "network reload --all",
        ],
        containers: &["web", "app", "vault", "six"],
    },
];

const END: &[&str] = &[
    "rm -f -t 0 web",
    "rm -f -t 0 app",
    "rm -f -t 0 vault",
    "rm -f -t 0 six",
    "network rm front inside dual",
];
