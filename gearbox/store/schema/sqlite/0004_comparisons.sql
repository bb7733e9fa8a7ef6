-- The same indexes by comparisons. For every IN of more than two values SQLite makes a table, each time that it looks at
-- a row: together with those of the CHECKs that was half of what storing a job cost.
DROP INDEX gearbox_jobs_current;
DROP INDEX gearbox_jobs_dedupe;
DROP INDEX gearbox_jobs_failed;
CREATE INDEX gearbox_jobs_current ON gearbox_jobs (status, id)
    WHERE status = 'ready' OR status = 'waiting' OR status = 'running' OR status = 'almost-done' OR status = 'missing';
CREATE UNIQUE INDEX gearbox_jobs_dedupe ON gearbox_jobs (dedupe)
    WHERE has_dedupe = 1 AND (status = 'running' OR status = 'almost-done' OR status = 'missing');
CREATE INDEX gearbox_jobs_failed ON gearbox_jobs (status, id)
    WHERE status = 'errored' OR status = 'invalid' OR status = 'duplicate';
