-- Containers can be started again: one that is `kept` outlives a start that fails.
ALTER TABLE containers ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
UPDATE containers SET kept = 1 WHERE state = 'exited';
