"""The trace that a job belongs to, as the W3C's Trace Context writes it; pure.

Gearbox makes no spans of its own. It keeps the `traceparent` of whoever queued a job and hands it to whoever runs it,
so that what a job does stands in its client's trace, whatever lies between: a date, a pool, a restart.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["ENVIRONMENT", "META", "trace_of"]

META = "traceparent"  # its key in `_meta`, and the name of the header
ENVIRONMENT = "TRACEPARENT"  # by which commands and their callers know it
LONGEST = 512  # characters of a version that is not known yet; a header may be cut off by others at about as many
# version - id of the trace - id of the caller's span - flags; a later version may have more behind it
FORM = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def trace_of(value: Any) -> str | None:
    """A `traceparent` in the version that is known, 00; None for what is none, which is to be ignored.

    >>> trace_of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    >>> trace_of("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-adds")
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    >>> trace_of("00-00000000000000000000000000000000-00f067aa0ba902b7-01")
    """
    if not isinstance(value, str) or len(value) > LONGEST:
        return None
    found = FORM.fullmatch(value)
    if found is None or (found[1] == "00" and found[5] is not None):
        return None
    return f"00-{found[2]}-{found[3]}-{found[4]}"
