-- The Gearman server that an attempt was given to; NULL: the broker in the core's own process, which ends with it.
ALTER TABLE gearbox_attempts ADD COLUMN server TEXT;
