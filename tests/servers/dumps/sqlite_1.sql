BEGIN TRANSACTION;
CREATE TABLE gearbox_attempts (
    job_id INTEGER NOT NULL REFERENCES gearbox_jobs (id) ON DELETE CASCADE,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    outcome TEXT CHECK (outcome IN (
        'complete', 'errored', 'worker_failed', 'no_worker', 'missing', 'released', 'refused', 'cancelled',
        'timed_out')),
    worker TEXT,
    error TEXT,
    PRIMARY KEY (job_id, epoch)
) WITHOUT ROWID;
INSERT INTO "gearbox_attempts" VALUES(1,1,'core',1800000000000000,NULL,1800000000000000,'complete',NULL,NULL);
INSERT INTO "gearbox_attempts" VALUES(2,1,'core',1800000000000000,NULL,1800000000000000,'errored',NULL,'"no"');
INSERT INTO "gearbox_attempts" VALUES(6,1,'core',1800000000000000,NULL,1800000000000000,'errored',NULL,'"no"');
INSERT INTO "gearbox_attempts" VALUES(7,1,'core',1800000000000000,NULL,1800000000000000,'cancelled',NULL,'{"code":-28499,"message":"cancelled: no"}');
INSERT INTO "gearbox_attempts" VALUES(8,1,'core',1800000000000000,1800000000000000,NULL,NULL,'host:1',NULL);
INSERT INTO "gearbox_attempts" VALUES(10,1,'core',1800000000000000,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_attempts" VALUES(11,1,'core',1800000000000000,1800000000000000,NULL,NULL,'host:1',NULL);
INSERT INTO "gearbox_attempts" VALUES(13,1,'core',1800000000000000,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_attempts" VALUES(14,1,'core',1800000000000000,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_attempts" VALUES(15,1,'core',1800000000000000,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE gearbox_controls (
    method_name TEXT PRIMARY KEY,
    is_paused INTEGER NOT NULL DEFAULT 0,
    concurrency INTEGER,
    updated INTEGER NOT NULL,
    who TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "gearbox_controls" VALUES('c::d',0,1,1800000000000000,'core');
CREATE TABLE gearbox_counts (
    method_name TEXT NOT NULL,
    status TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (method_name, status)
) WITHOUT ROWID;
INSERT INTO "gearbox_counts" VALUES('a::b','almost-done',1);
INSERT INTO "gearbox_counts" VALUES('a::b','complete',1);
INSERT INTO "gearbox_counts" VALUES('a::b','duplicate',1);
INSERT INTO "gearbox_counts" VALUES('a::b','errored',1);
INSERT INTO "gearbox_counts" VALUES('a::b','invalid',1);
INSERT INTO "gearbox_counts" VALUES('a::b','missing',1);
INSERT INTO "gearbox_counts" VALUES('a::b','ready',1);
INSERT INTO "gearbox_counts" VALUES('a::b','running',2);
INSERT INTO "gearbox_counts" VALUES('a::b','waiting',4);
INSERT INTO "gearbox_counts" VALUES('c::d','ready',1);
INSERT INTO "gearbox_counts" VALUES('c::d','running',1);
INSERT INTO "gearbox_counts" VALUES('gearbox\core::noopwait','running',1);
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
INSERT INTO "gearbox_events" VALUES(1,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(1,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO "gearbox_events" VALUES(1,3,1800000000000000,'running','complete',1,'worker''s data','core');
INSERT INTO "gearbox_events" VALUES(2,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(2,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO "gearbox_events" VALUES(2,3,1800000000000000,'running','waiting',1,'worker''s error: retry','core');
INSERT INTO "gearbox_events" VALUES(3,1,1800000000000000,NULL,'waiting',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(4,1,1800000000000000,NULL,'waiting',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(5,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(6,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(6,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO "gearbox_events" VALUES(6,3,1800000000000000,'running','errored',1,'worker''s error','core');
INSERT INTO "gearbox_events" VALUES(7,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(7,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO "gearbox_events" VALUES(7,3,1800000000000000,'running','invalid',1,'cancelled: no','core');
INSERT INTO "gearbox_events" VALUES(8,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(8,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO "gearbox_events" VALUES(9,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(9,2,1800000000000000,'ready','duplicate',0,'dedupe: 8 runs','core');
INSERT INTO "gearbox_events" VALUES(10,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(10,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO "gearbox_events" VALUES(10,3,1800000000000000,'running','almost-done',1,'ended, data to come','core');
INSERT INTO "gearbox_events" VALUES(11,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(11,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO "gearbox_events" VALUES(11,3,1800000000000000,'running','missing',1,'connection lost','core');
INSERT INTO "gearbox_events" VALUES(12,1,1800000000000000,NULL,'waiting',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(13,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(13,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO "gearbox_events" VALUES(14,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(14,2,1800000000000000,'ready','running',1,'noopwait','core');
INSERT INTO "gearbox_events" VALUES(15,1,1800000000000000,NULL,'ready',0,'queued','core');
INSERT INTO "gearbox_events" VALUES(15,2,1800000000000000,'ready','running',1,'claimed','core');
INSERT INTO "gearbox_events" VALUES(16,1,1800000000000000,NULL,'ready',0,'queued','core');
CREATE TABLE gearbox_jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice
    method_name TEXT NOT NULL,
    arguments TEXT,
    priority TEXT NOT NULL DEFAULT 'normal' CHECK (priority IN ('high', 'normal', 'low')),
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'ready' CHECK (status IN (
        'ready', 'waiting', 'running', 'almost-done', 'errored', 'complete', 'invalid', 'missing', 'duplicate')),
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
    backoff TEXT NOT NULL DEFAULT 'fixed' CHECK (backoff IN ('fixed', 'exponential')),
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
INSERT INTO "gearbox_jobs" VALUES(1,'a::b','["é", 1]','normal',1800000000000000,1800000000000000,'complete','D',1,NULL,NULL,NULL,1800000000000000,0,0,1.0,NULL,NULL,'"result"','core',1800000000000000,1800000000000000,NULL,1,NULL,0,3,'fixed',3600.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(2,'a::b',NULL,'normal',1800000000000000,1800000000000000,'waiting','8658d31a-836c-4e73-8c4c-17c4b81c1a77',0,NULL,NULL,NULL,NULL,1,2,5.0,NULL,NULL,'"no"','core',1800000000000000,1800000000000000,NULL,1,1800000005000000,0,3,'fixed',3600.0,NULL,NULL,1800000005000000,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(3,'a::b',NULL,'normal',1800000000000000,1800000000000000,'waiting','2c0aff18-45da-40c7-94e6-6184af6a49e1',0,NULL,2,NULL,NULL,0,0,1.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,1,'fixed',3600.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(4,'a::b',NULL,'normal',1800000000000000,1800000000000000,'waiting','4a455a89-3d3b-4773-ba3b-63f13680938e',0,1800001000000000,NULL,NULL,NULL,0,0,1.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,1800001000000000,0,1,'fixed',3600.0,NULL,NULL,1800001000000000,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(5,'a::b',NULL,'normal',1800000000000000,1800000000000000,'ready','9bfa3398-b9f4-4489-9882-5cb2741c9374',0,NULL,NULL,NULL,NULL,0,0,1.0,NULL,NULL,NULL,NULL,1800000000000000,NULL,NULL,0,NULL,0,1,'fixed',3600.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(6,'a::b',NULL,'normal',1800000000000000,1800000000000000,'errored','09260ace-7631-4f07-b2cc-db513631ea4c',0,NULL,NULL,NULL,1800000000000000,0,0,1.0,NULL,NULL,'"no"','core',1800000000000000,1800000000000000,NULL,1,NULL,0,3,'fixed',3600.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(7,'a::b',NULL,'normal',1800000000000000,1800000000000000,'invalid','afcc305a-e626-4eff-a207-25c42f24b2ee',0,NULL,NULL,NULL,1800000000000000,0,0,1.0,NULL,NULL,'{"code":-28499,"message":"cancelled: no"}','core',1800000000000000,1800000000000000,NULL,1,NULL,0,3,'fixed',3600.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(8,'a::b',NULL,'normal',1800000000000000,1800000000000000,'running','E',1,NULL,NULL,NULL,NULL,0,0,1.0,NULL,NULL,NULL,'core',1800000000000000,1800000000000000,NULL,1,1800000050000000,0,2,'fixed',3600.0,50.0,NULL,NULL,NULL,1800000050000000,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(9,'a::b',NULL,'normal',1800000000000000,1800000000000000,'duplicate','E',1,NULL,NULL,NULL,1800000000000000,0,0,1.0,NULL,NULL,NULL,NULL,1800000000000000,NULL,8,0,NULL,0,2,'fixed',3600.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(10,'a::b',NULL,'normal',1800000000000000,1800000000000000,'almost-done','5948f166-5d70-4597-a7eb-dfee9da059f8',0,NULL,NULL,NULL,NULL,0,0,1.0,NULL,NULL,NULL,'core',1800000000000000,1800000000000000,NULL,1,1800000030000000,0,3,'fixed',3600.0,NULL,NULL,NULL,1800000030000000,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(11,'a::b',NULL,'normal',1800000000000000,1800000000000000,'missing','88808504-208d-4922-aeef-c81be8fc4114',0,NULL,NULL,NULL,NULL,0,0,1.0,NULL,NULL,NULL,'core',1800000000000000,1800000000000000,NULL,1,1800000060000000,0,3,'fixed',3600.0,NULL,NULL,NULL,1800000060000000,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(12,'a::b',NULL,'normal',1800000000000000,1800000000000000,'waiting','65dc094b-b12d-45a5-b3b6-494c318d8037',0,1800001000000000,NULL,NULL,NULL,0,0,1.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,1800001000000000,0,1,'fixed',3600.0,NULL,NULL,1800001000000000,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(13,'a::b',NULL,'normal',1800000000000000,1800000000000000,'running','5d8cd016-b021-41e5-bfaf-d87194f90acf',0,NULL,NULL,12,NULL,0,0,1.0,NULL,NULL,NULL,'core',1800000000000000,1800000000000000,NULL,1,NULL,0,2,'fixed',3600.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(14,'gearbox\core::noopwait',NULL,'normal',1800000000000000,1800000000000000,'running','20469863-b719-4b00-8954-6693ade66c9f',0,NULL,NULL,NULL,NULL,0,0,1.0,NULL,NULL,NULL,'core',1800000000000000,1800000000000000,NULL,1,NULL,0,2,'fixed',3600.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(15,'c::d',NULL,'normal',1800000000000000,1800000000000000,'running','f0050eea-4698-4cbb-bd63-e35125d802dd',0,NULL,NULL,NULL,NULL,0,0,1.0,NULL,NULL,NULL,'core',1800000000000000,1800000000000000,NULL,1,NULL,0,2,'fixed',3600.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "gearbox_jobs" VALUES(16,'c::d',NULL,'normal',1800000000000000,1800000000000000,'ready','4562179b-a15f-4618-8059-795e910a6a13',0,NULL,NULL,NULL,NULL,0,0,1.0,NULL,NULL,NULL,NULL,1800000000000000,NULL,NULL,0,NULL,0,1,'fixed',3600.0,NULL,NULL,NULL,NULL,NULL,1,NULL,NULL,NULL);
CREATE TABLE gearbox_measures (
    method_name TEXT NOT NULL,
    measure TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    jobs INTEGER NOT NULL,
    total REAL NOT NULL,
    squares REAL NOT NULL,
    PRIMARY KEY (method_name, measure, bucket)
) WITHOUT ROWID;
INSERT INTO "gearbox_measures" VALUES('a::b','completion',0,1,0.0,0.0);
INSERT INTO "gearbox_measures" VALUES('a::b','retries',0,2,0.0,0.0);
INSERT INTO "gearbox_measures" VALUES('a::b','run',0,1,0.0,0.0);
INSERT INTO "gearbox_measures" VALUES('a::b','wait',0,1,0.0,0.0);
CREATE TABLE gearbox_meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "gearbox_meta" VALUES('database','6614f629');
CREATE TABLE gearbox_methods (
    method_name TEXT PRIMARY KEY,
    earliest INTEGER NOT NULL,
    latest INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO "gearbox_methods" VALUES('a::b',1800000000000000,1800000000000000);
INSERT INTO "gearbox_methods" VALUES('c::d',1800000000000000,1800000000000000);
INSERT INTO "gearbox_methods" VALUES('gearbox\core::noopwait',1800000000000000,1800000000000000);
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
CREATE TRIGGER gearbox_events_are_final BEFORE UPDATE ON gearbox_events
BEGIN
    SELECT RAISE(ABORT, 'the audit is append-only');
END;
CREATE INDEX gearbox_schedules_due ON gearbox_schedules (next_at);
CREATE INDEX gearbox_schedules_last_job ON gearbox_schedules (last_job) WHERE last_job IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('gearbox_jobs',16);
COMMIT;
PRAGMA user_version = 1;
