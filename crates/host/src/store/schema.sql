-- What zdocker knows. Uniqueness is a constraint here and not only in the code: one owner for each name, subnet, address
-- and published port, whoever writes.

-- Facts of this installation: the random part of its IPv6 prefix.
CREATE TABLE facts (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Networks are made real and taken away by one process at a time, under a file lock: one that is half done while somebody
-- holds the lock is a dead process's. `boot` is the boot for which the network was made real.
CREATE TABLE networks (
    id    TEXT PRIMARY KEY,
    name  TEXT NOT NULL UNIQUE,
    spec  TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'removing')),
    boot  TEXT
) STRICT;
CREATE INDEX networks_half_done ON networks (state) WHERE state <> 'ready';

CREATE TABLE subnets (
    network TEXT NOT NULL REFERENCES networks ON DELETE CASCADE,
    subnet  TEXT NOT NULL UNIQUE,
    cursor  BLOB NOT NULL,
    PRIMARY KEY (network, subnet)
) STRICT;

-- A row for each block of addresses that was ever needed. Numbers are 16 bytes, the highest first.
CREATE TABLE blocks (
    subnet TEXT NOT NULL REFERENCES subnets (subnet) ON DELETE CASCADE,
    number BLOB NOT NULL,
    bitmap BLOB NOT NULL,
    PRIMARY KEY (subnet, number)
) STRICT, WITHOUT ROWID;

-- `holder` is an endpoint, or NULL for the gateway.
CREATE TABLE leases (
    subnet  TEXT NOT NULL REFERENCES subnets (subnet) ON DELETE CASCADE,
    address TEXT NOT NULL,
    holder  TEXT REFERENCES endpoints DEFERRABLE INITIALLY DEFERRED,
    since   INTEGER NOT NULL,
    PRIMARY KEY (subnet, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_by_holder ON leases (holder);

-- `state` and `owner_*` keep concurrent commands apart: no lock is held across kernel work, but whoever meets the half-done
-- record of a dead process finishes or undoes it. `container` is no reference: other engines plug in containers that only
-- they know.
CREATE TABLE endpoints (
    id          TEXT PRIMARY KEY,
    network     TEXT NOT NULL REFERENCES networks ON DELETE RESTRICT,
    container   TEXT NOT NULL,
    spec        TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('creating', 'ready', 'removing')),
    owner_pid   INTEGER,
    owner_start INTEGER,
    boot        TEXT
) STRICT;
CREATE INDEX endpoints_by_network ON endpoints (network);
CREATE INDEX endpoints_by_container ON endpoints (container);
CREATE INDEX endpoints_half_done ON endpoints (state) WHERE state <> 'ready';

-- `address` is one of the host's, '0.0.0.0' or '::' for all of a family, '*' for all.
CREATE TABLE ports (
    protocol TEXT NOT NULL,
    port     INTEGER NOT NULL,
    address  TEXT NOT NULL,
    endpoint TEXT NOT NULL REFERENCES endpoints ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (protocol, port, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX ports_by_endpoint ON ports (endpoint);
CREATE TRIGGER ports_overlap BEFORE INSERT ON ports
WHEN EXISTS (
    SELECT 1 FROM ports AS other
    WHERE other.protocol = NEW.protocol AND other.port = NEW.port
      AND (other.address = '*' OR NEW.address = '*' OR other.address = NEW.address
           OR (instr(other.address, ':') > 0) = (instr(NEW.address, ':') > 0)
              AND (other.address IN ('0.0.0.0', '::') OR NEW.address IN ('0.0.0.0', '::')))
)
BEGIN
    SELECT RAISE(ABORT, 'published port is taken');
END;

CREATE TABLE containers (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    spec        TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('creating', 'running', 'exited', 'removing')),
    owner_pid   INTEGER,
    owner_start INTEGER,
    boot        TEXT,
    pid         INTEGER,
    pid_start   INTEGER,
    created     INTEGER NOT NULL,
    started     INTEGER,
    finished    INTEGER,
    exit_status INTEGER,
    joins       TEXT -- the container whose network namespace it shares
) STRICT;
CREATE INDEX containers_by_joined ON containers (joins) WHERE joins IS NOT NULL;
CREATE INDEX containers_unsettled ON containers (state) WHERE state <> 'exited';
