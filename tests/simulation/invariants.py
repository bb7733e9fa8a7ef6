"""What must hold of the tables at any commit, as questions in SQL: each finds the rows that break it."""

from __future__ import annotations

from gearbox.job import ACTIVE
from gearbox.store.rows import listed

__all__ = ["ALWAYS", "COUNTS"]

ALWAYS = {
    # every attempt has its row and, unless it is the current one of an active job, exactly one outcome; S4 is the last
    "S3 attempts": f"""
        SELECT j.id FROM gearbox_jobs j LEFT JOIN gearbox_attempts a ON a.job_id = j.id
        GROUP BY j.id HAVING count(a.epoch) <> j.epoch OR (j.epoch > 0 AND max(a.epoch) <> j.epoch)
            OR sum(a.outcome IS NULL AND a.epoch IS NOT NULL) <> (j.status IN ({listed(ACTIVE)}))
            OR sum(a.outcome IS NULL AND a.epoch < j.epoch) > 0""",
    # events are gapless, and the last one tells the status
    "S3 events": """
        SELECT j.id FROM gearbox_jobs j JOIN gearbox_events e ON e.job_id = j.id
        GROUP BY j.id HAVING count(*) <> j.events OR max(e.seq) <> j.events OR min(e.seq) <> 1""",
    "S3 last event": """
        SELECT j.id FROM gearbox_jobs j JOIN gearbox_events e ON e.job_id = j.id AND e.seq = j.events
        WHERE e.to_status <> j.status""",
    "S3 chain of events": """
        SELECT a.job_id FROM gearbox_events a JOIN gearbox_events b ON b.job_id = a.job_id AND b.seq = a.seq + 1
        WHERE b.from_status <> a.to_status""",
    "S6 dedupe": f"""
        SELECT dedupe FROM gearbox_jobs WHERE has_dedupe AND status IN ({listed(ACTIVE)})
        GROUP BY dedupe HAVING count(*) > 1""",
    "S9 retries": """
        SELECT j.id FROM gearbox_jobs j JOIN gearbox_attempts a ON a.job_id = j.id AND a.outcome <> 'released'
        GROUP BY j.id HAVING count(*) > j.max_retries + 1""",
    "S14 references": "PRAGMA foreign_key_check",
}

# The counts by method and status are what the rows say, as long as none was pruned.
COUNTS = """
SELECT method_name, status, jobs FROM gearbox_counts WHERE jobs <> 0
EXCEPT SELECT method_name, status, count(*) FROM gearbox_jobs GROUP BY method_name, status
"""
