-- The tables of schema/sqlite in the words of MySQL. Instants are integer microseconds since 1970, UTC, in columns that
-- end in `_us` where the original had a DATETIME; that name stays for people, computed and to the second.
-- MySQL has no partial indexes, so a finished job costs an entry in each: there are as few as can be.

CREATE TABLE IF NOT EXISTS gearbox_meta (
    name VARCHAR(64) PRIMARY KEY,
    value VARCHAR(255) NOT NULL
) ENGINE = InnoDB {charset};

-- One row for each open store: the number of its last batch tells whether a commit was made that nobody heard of.
CREATE TABLE IF NOT EXISTS gearbox_writers (
    id CHAR(32) PRIMARY KEY,
    batch BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
) ENGINE = InnoDB {charset};

-- Gives ids for new jobs, which refer to each other before any of them is stored. Nothing stays in it but its counter.
CREATE TABLE IF NOT EXISTS gearbox_ids (
    id BIGINT AUTO_INCREMENT PRIMARY KEY
) ENGINE = InnoDB {charset};

CREATE TABLE IF NOT EXISTS gearbox_jobs (
    id BIGINT PRIMARY KEY,
    method_name VARCHAR(255) NOT NULL,
    arguments LONGTEXT,
    priority ENUM('high', 'normal', 'low') NOT NULL DEFAULT 'normal',
    created_us BIGINT NOT NULL,
    updated_us BIGINT NOT NULL,
    status ENUM('ready', 'waiting', 'running', 'almost-done', 'errored', 'complete', 'invalid', 'missing', 'duplicate')
        NOT NULL DEFAULT 'ready',
    dedupe VARCHAR(255) NOT NULL,
    has_dedupe TINYINT NOT NULL DEFAULT 0,
    after_date_us BIGINT,
    after_id BIGINT,
    before_id BIGINT,
    completed_us BIGINT,
    retries INT UNSIGNED NOT NULL DEFAULT 0,
    max_retries INT UNSIGNED NOT NULL DEFAULT 0,
    retry_delay DOUBLE NOT NULL DEFAULT 1,
    progress_status DOUBLE,
    progress_updated_us BIGINT,
    result_data LONGTEXT,
    runner_instance VARCHAR(64),
    ready_at BIGINT,
    claimed_at BIGINT,
    see_other BIGINT,
    epoch INT UNSIGNED NOT NULL DEFAULT 0,
    next_at BIGINT,
    released TINYINT NOT NULL DEFAULT 0,
    events INT UNSIGNED NOT NULL DEFAULT 0,
    backoff ENUM('fixed', 'exponential') NOT NULL DEFAULT 'fixed',
    retry_delay_max DOUBLE NOT NULL DEFAULT 3600,
    timeout DOUBLE,
    expires BIGINT,
    opens_at BIGINT,
    lease_at BIGINT,
    stops_at BIGINT,
    held TINYINT,
    retry_of BIGINT,
    schedule VARCHAR(255),
    submit_token VARCHAR(300),
    run_key BINARY(32) AS (IF(has_dedupe = 1 AND status IN ('running', 'almost-done', 'missing'),
        UNHEX(SHA2(dedupe, 256)), NULL)) VIRTUAL,
    created DATETIME AS (TIMESTAMPADD(SECOND, created_us DIV 1000000, '1970-01-01 00:00:00')) VIRTUAL,
    updated DATETIME AS (TIMESTAMPADD(SECOND, updated_us DIV 1000000, '1970-01-01 00:00:00')) VIRTUAL,
    after_date DATETIME AS (TIMESTAMPADD(SECOND, after_date_us DIV 1000000, '1970-01-01 00:00:00')) VIRTUAL,
    completed DATETIME AS (TIMESTAMPADD(SECOND, completed_us DIV 1000000, '1970-01-01 00:00:00')) VIRTUAL,
    progress_updated DATETIME AS (TIMESTAMPADD(SECOND, progress_updated_us DIV 1000000, '1970-01-01 00:00:00')) VIRTUAL,
    KEY by_status (status),
    KEY due (next_at),
    UNIQUE KEY one_active (run_key),
    KEY after_id (after_id),
    KEY before_id (before_id, status),
    KEY see_other (see_other),
    KEY method_name (method_name),
    KEY dedupe (dedupe),
    KEY held (held, method_name),
    UNIQUE KEY retry_of (retry_of),
    UNIQUE KEY token (submit_token),
    FOREIGN KEY (after_id) REFERENCES gearbox_jobs (id) ON DELETE RESTRICT,
    FOREIGN KEY (see_other) REFERENCES gearbox_jobs (id) ON DELETE RESTRICT,
    FOREIGN KEY (retry_of) REFERENCES gearbox_jobs (id) ON DELETE RESTRICT
    -- None for before_id: a member may be written before its target, and MySQL does not put a check off to the commit.
) ENGINE = InnoDB {charset};

CREATE TABLE IF NOT EXISTS gearbox_attempts (
    job_id BIGINT NOT NULL,
    epoch INT UNSIGNED NOT NULL,
    owner VARCHAR(64) NOT NULL,
    claimed_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    outcome ENUM('complete', 'errored', 'worker_failed', 'no_worker', 'missing', 'released', 'refused', 'cancelled',
        'timed_out'),
    worker LONGTEXT,
    error LONGTEXT,
    server VARCHAR(300), -- the Gearman server that it was given to; NULL: the broker in the core's own process
    PRIMARY KEY (job_id, epoch),
    FOREIGN KEY (job_id) REFERENCES gearbox_jobs (id) ON DELETE CASCADE
) ENGINE = InnoDB {charset};

CREATE TABLE IF NOT EXISTS gearbox_events (
    job_id BIGINT NOT NULL,
    seq INT UNSIGNED NOT NULL,
    at BIGINT NOT NULL,
    from_status ENUM('ready', 'waiting', 'running', 'almost-done', 'errored', 'complete', 'invalid', 'missing',
        'duplicate'),
    to_status ENUM('ready', 'waiting', 'running', 'almost-done', 'errored', 'complete', 'invalid', 'missing',
        'duplicate') NOT NULL,
    epoch INT UNSIGNED NOT NULL,
    why TEXT NOT NULL,
    who TEXT NOT NULL,
    PRIMARY KEY (job_id, seq),
    FOREIGN KEY (job_id) REFERENCES gearbox_jobs (id) ON DELETE CASCADE
) ENGINE = InnoDB {charset};

CREATE TABLE IF NOT EXISTS gearbox_methods (
    method_name VARCHAR(255) PRIMARY KEY,
    earliest BIGINT NOT NULL,
    latest BIGINT NOT NULL
) ENGINE = InnoDB {charset};

CREATE TABLE IF NOT EXISTS gearbox_counts (
    method_name VARCHAR(255) NOT NULL,
    status ENUM('ready', 'waiting', 'running', 'almost-done', 'errored', 'complete', 'invalid', 'missing', 'duplicate')
        NOT NULL,
    jobs BIGINT NOT NULL,
    PRIMARY KEY (method_name, status)
) ENGINE = InnoDB {charset};

CREATE TABLE IF NOT EXISTS gearbox_controls (
    method_name VARCHAR(255) PRIMARY KEY,
    is_paused TINYINT NOT NULL DEFAULT 0,
    concurrency BIGINT,
    updated_us BIGINT NOT NULL,
    who TEXT NOT NULL
) ENGINE = InnoDB {charset};

CREATE TABLE IF NOT EXISTS gearbox_schedules (
    name VARCHAR(255) PRIMARY KEY,
    cron VARCHAR(255) NOT NULL,
    timezone VARCHAR(255) NOT NULL,
    overlap ENUM('skip', 'queue', 'allow') NOT NULL,
    missed ENUM('skip', 'once', 'all') NOT NULL,
    template LONGTEXT NOT NULL,
    created_us BIGINT NOT NULL,
    who TEXT NOT NULL,
    next_at BIGINT NOT NULL,
    last_at BIGINT,
    last_job BIGINT,
    waiting INT NOT NULL DEFAULT 0,
    KEY due (next_at),
    KEY last_job (last_job),
    FOREIGN KEY (last_job) REFERENCES gearbox_jobs (id) ON DELETE SET NULL
) ENGINE = InnoDB {charset};

CREATE TABLE IF NOT EXISTS gearbox_measures (
    method_name VARCHAR(255) NOT NULL,
    measure VARCHAR(16) NOT NULL,
    bucket BIGINT NOT NULL,
    jobs BIGINT NOT NULL,
    total DOUBLE NOT NULL,
    squares DOUBLE NOT NULL,
    PRIMARY KEY (method_name, measure, bucket)
) ENGINE = InnoDB {charset};

-- What operators did.
CREATE TABLE IF NOT EXISTS gearbox_actions (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    action VARCHAR(255) NOT NULL,
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    jobs BIGINT
) ENGINE = InnoDB {charset};

