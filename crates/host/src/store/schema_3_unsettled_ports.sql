-- A port that a command is adding or removing while its container runs. Who finds it, and nobody at it, takes it away: in
-- the kernel it may be or not.
ALTER TABLE ports ADD COLUMN unsettled INTEGER NOT NULL DEFAULT 0;
CREATE INDEX ports_unsettled ON ports (endpoint) WHERE unsettled = 1;
