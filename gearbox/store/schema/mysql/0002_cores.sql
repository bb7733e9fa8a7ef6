-- The cores that work on this database. One that is dead stays so: its program has a new id when it comes back.
CREATE TABLE IF NOT EXISTS gearbox_cores (
    core_id VARCHAR(64) PRIMARY KEY,
    name VARCHAR(255) NOT NULL,
    state ENUM('alive', 'dead') NOT NULL,
    beats BIGINT NOT NULL,
    began_at BIGINT NOT NULL,
    beat_at BIGINT NOT NULL
) ENGINE = InnoDB {charset};
