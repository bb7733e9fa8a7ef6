-- The Gearman server that an attempt was given to; NULL: the broker in the core's own process, which ends with it.
ALTER TABLE gearbox_attempts ADD COLUMN server TEXT;

-- The cores that work on this database, where there may be several. One that is dead stays so: its program has a new id
-- when it comes back.
CREATE TABLE gearbox_cores (
    core_id TEXT PRIMARY KEY,
    name TEXT NOT NULL, -- of host and process, for people
    state TEXT NOT NULL CHECK (state IN ('alive', 'dead')),
    beats INTEGER NOT NULL, -- that this number stands still is what others judge by, not any instant
    began_at INTEGER NOT NULL,
    beat_at INTEGER NOT NULL -- for people
) WITHOUT ROWID;
