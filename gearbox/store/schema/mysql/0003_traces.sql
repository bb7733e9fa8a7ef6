-- The traceparent of whoever queued the job.
ALTER TABLE gearbox_jobs ADD COLUMN traceparent VARCHAR(55);
