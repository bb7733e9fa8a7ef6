-- For searches: what ended badly is rare, the others are found by their method or dedupe. Entries never change but
-- those of the first, which a job enters once.
CREATE INDEX gearbox_jobs_failed ON gearbox_jobs (status, id) WHERE status IN ('errored', 'invalid', 'duplicate');
CREATE INDEX gearbox_jobs_method ON gearbox_jobs (method_name);
CREATE INDEX gearbox_jobs_named ON gearbox_jobs (dedupe) WHERE has_dedupe = 1;

-- What operators did: cancelled, retried, paused, ... The events of the jobs tell what became of each.
CREATE TABLE gearbox_actions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    action TEXT NOT NULL, -- the RPC method
    target TEXT NOT NULL, -- a job's id, a method, a recurring entry, a search
    reason TEXT NOT NULL,
    jobs INTEGER -- how many jobs it changed, where it was about several
);
