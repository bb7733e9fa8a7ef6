"""The file of policies for failing background jobs, TOML: a table for each name of functions, which may hold * and ?.

    [functions."mail.*"]
    retries = 5
    retry_delay = 10    # seconds
    backoff = 2         # each further delay is twice as long
    max_delay = 3600

The first table that fits decides.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from abraxas_py.broker.policy import Policy
from abraxas_py.errors import AbraxasError

__all__ = ["PolicyError", "read_policies"]

_SETTINGS = {field.name for field in fields(Policy)} - {"functions"}
_LARGEST = 2**32 - 1


class PolicyError(AbraxasError):
    """The file of policies cannot be used; the text says where and why."""


def read_policies(path: Path) -> tuple[Policy, ...]:
    """What a file says. Raises PolicyError."""
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise PolicyError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    faults = [f"{name} is not known" for name in found.keys() - {"functions"}]
    tables = found.get("functions", {})
    if not isinstance(tables, dict):
        raise PolicyError(f"{path}: functions must be tables")
    for name, table in tables.items():
        faults += [f"functions.{name}{fault}" for fault in _faults(table)]
    if faults:
        raise PolicyError(f"{path}: {'; '.join(faults)}")
    return tuple(Policy(name, **table) for name, table in tables.items())


def _faults(table: Any) -> Iterator[str]:
    if not isinstance(table, dict):
        yield " must be a table"
        return
    for name, value in table.items():
        least = 1 if name == "backoff" else 0
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name not in _SETTINGS:
            yield f".{name} is not known"
        elif not is_number or not least <= value <= _LARGEST:
            yield f".{name} must be a number from {least} to {_LARGEST}"
        elif name == "retries" and not isinstance(value, int):
            yield ".retries must be a whole number"
