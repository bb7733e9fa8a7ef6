"""What becomes of plain background jobs that fail: tried again, later and later, and at last put on the dead list.

Gearman's own answer, without a policy, is that a failed job is gone, and that one whose worker was lost is given out
again without end.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import inf

__all__ = ["Policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """How often the background jobs of some functions are tried again; recurring ones are not, they come again anyway.

    WORK_FAIL, WORK_EXCEPTION, a lost worker and a passed time limit count alike.
    """

    functions: str  # their name, which may hold * and ?
    retries: int = 0  # after these, a job that failed again is dead
    retry_delay: float = 1.0  # seconds before the first
    backoff: float = 2.0  # by which each further delay is longer
    max_delay: float = 3600.0

    def fits(self, function: bytes) -> bool:
        """Whether this is for a function."""
        return fnmatchcase(function.decode("utf-8", "surrogateescape"), self.functions)

    def delay(self, retry: int) -> float:
        """Seconds before a retry, counted from 1.

        >>> [Policy("f", retries=9, retry_delay=10, max_delay=60).delay(n) for n in (1, 2, 3, 4, 5000)]
        [10.0, 20.0, 40.0, 60, 60]
        """
        try:
            growth = float(self.backoff) ** (retry - 1)  # a whole number would grow beyond all floats
        except OverflowError:
            growth = inf
        return min(self.retry_delay * growth, self.max_delay) if self.retry_delay else 0.0
