-- Times are integer microseconds since 1970, UTC. JSON stays text. The names of the original's columns are kept.

CREATE TABLE gearbox_meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE gearbox_jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
    method_name TEXT NOT NULL,
    arguments TEXT,
    priority TEXT NOT NULL DEFAULT 'normal',
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'ready', -- no CHECK ... IN: SQLite would make a table of the list for every row
    dedupe TEXT NOT NULL,
    has_dedupe INTEGER NOT NULL DEFAULT 0,
    after_date INTEGER,
    after_id INTEGER REFERENCES gearbox_jobs (id) ON DELETE RESTRICT,
    before_id INTEGER REFERENCES gearbox_jobs (id) ON DELETE RESTRICT,
    completed INTEGER,
    retries INTEGER NOT NULL DEFAULT 0,
    max_retries INTEGER NOT NULL DEFAULT 0,
    retry_delay REAL NOT NULL DEFAULT 1,
    progress_status REAL,
    progress_updated INTEGER,
    result_data TEXT,
    runner_instance TEXT,
    ready_at INTEGER,
    claimed_at INTEGER,
    see_other INTEGER REFERENCES gearbox_jobs (id) ON DELETE RESTRICT,
    epoch INTEGER NOT NULL DEFAULT 0,
    next_at INTEGER,
    released INTEGER NOT NULL DEFAULT 0,
    events INTEGER NOT NULL DEFAULT 0,
    backoff TEXT NOT NULL DEFAULT 'fixed',
    retry_delay_max REAL NOT NULL DEFAULT 3600,
    timeout REAL,
    expires INTEGER,
    opens_at INTEGER, -- next_at is the earliest of expires and these three, of those that count in the status
    lease_at INTEGER,
    stops_at INTEGER,
    held INTEGER, -- rank of the priority of a ready job that its method's pause or limit holds back
    retry_of INTEGER REFERENCES gearbox_jobs (id) ON DELETE RESTRICT,
    schedule TEXT,
    submit_token TEXT
);

-- Every index is partial, so that a finished job costs nothing but its row.
CREATE INDEX gearbox_jobs_current ON gearbox_jobs (status, id)
    WHERE status IN ('ready', 'waiting', 'running', 'almost-done', 'missing');
CREATE INDEX gearbox_jobs_due ON gearbox_jobs (next_at) WHERE next_at IS NOT NULL;
CREATE UNIQUE INDEX gearbox_jobs_dedupe ON gearbox_jobs (dedupe)
    WHERE has_dedupe = 1 AND status IN ('running', 'almost-done', 'missing');
CREATE INDEX gearbox_jobs_after ON gearbox_jobs (after_id) WHERE after_id IS NOT NULL;
CREATE INDEX gearbox_jobs_before ON gearbox_jobs (before_id, status) WHERE before_id IS NOT NULL;
CREATE INDEX gearbox_jobs_see_other ON gearbox_jobs (see_other) WHERE see_other IS NOT NULL;
CREATE INDEX gearbox_jobs_held ON gearbox_jobs (method_name, held, id) WHERE held IS NOT NULL;
CREATE UNIQUE INDEX gearbox_jobs_retry_of ON gearbox_jobs (retry_of) WHERE retry_of IS NOT NULL;
CREATE UNIQUE INDEX gearbox_jobs_token ON gearbox_jobs (submit_token) WHERE submit_token IS NOT NULL;

CREATE TABLE gearbox_attempts (
    job_id INTEGER NOT NULL REFERENCES gearbox_jobs (id) ON DELETE CASCADE,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    outcome TEXT,
    worker TEXT,
    error TEXT,
    PRIMARY KEY (job_id, epoch)
) WITHOUT ROWID;

CREATE TABLE gearbox_events (
    job_id INTEGER NOT NULL REFERENCES gearbox_jobs (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL, -- 1, 2, 3, ... without a gap
    at INTEGER NOT NULL,
    from_status TEXT, -- NULL for the first
    to_status TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    why TEXT NOT NULL,
    who TEXT NOT NULL,
    PRIMARY KEY (job_id, seq)
) WITHOUT ROWID;

CREATE TRIGGER gearbox_events_are_final BEFORE UPDATE ON gearbox_events
BEGIN
    SELECT RAISE(ABORT, 'the audit is append-only');
END;

-- What `stats` shows, kept by the transactions that change the jobs: no count over history.
CREATE TABLE gearbox_methods (
    method_name TEXT PRIMARY KEY,
    earliest INTEGER NOT NULL,
    latest INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE gearbox_counts (
    method_name TEXT NOT NULL,
    status TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (method_name, status)
) WITHOUT ROWID;

-- What operators have set for a method. A row for those only that something was set for.
CREATE TABLE gearbox_controls (
    method_name TEXT PRIMARY KEY,
    is_paused INTEGER NOT NULL DEFAULT 0,
    concurrency INTEGER,
    updated INTEGER NOT NULL,
    who TEXT NOT NULL
) WITHOUT ROWID;

-- Recurring jobs: what to queue (params of queue, as JSON), and when next.
CREATE TABLE gearbox_schedules (
    name TEXT PRIMARY KEY,
    cron TEXT NOT NULL,
    timezone TEXT NOT NULL,
    overlap TEXT NOT NULL CHECK (overlap IN ('skip', 'queue', 'allow')),
    missed TEXT NOT NULL CHECK (missed IN ('skip', 'once', 'all')),
    template TEXT NOT NULL,
    created INTEGER NOT NULL,
    who TEXT NOT NULL,
    next_at INTEGER NOT NULL,
    last_at INTEGER,
    last_job INTEGER REFERENCES gearbox_jobs (id) ON DELETE SET NULL,
    waiting INTEGER NOT NULL DEFAULT 0 -- runs that are due, but wait for the one before them to end
) WITHOUT ROWID;
CREATE INDEX gearbox_schedules_due ON gearbox_schedules (next_at);
CREATE INDEX gearbox_schedules_last_job ON gearbox_schedules (last_job) WHERE last_job IS NOT NULL;

-- A histogram for each measure ('completion', 'wait', 'run' in seconds; 'retries').
CREATE TABLE gearbox_measures (
    method_name TEXT NOT NULL,
    measure TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    jobs INTEGER NOT NULL,
    total REAL NOT NULL,
    squares REAL NOT NULL,
    PRIMARY KEY (method_name, measure, bucket)
) WITHOUT ROWID;
