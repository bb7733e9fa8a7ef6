-- Seconds by which spans in the rows were moved, in all, because the clock was set.
INSERT IGNORE INTO gearbox_meta (name, value) VALUES ('clock', '0');
