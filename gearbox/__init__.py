"""Gearbox: scheduling, dependencies, retries and an audit trail on top of Gearman.

A job is a row. It moves through these statuses, and every move is one transaction with its entry in the audit:

    queue() ──> waiting ──gates open──> ready ──claimed──> running ──ended──> almost-done ──data──> complete
                  ^  │                   │                  │ │ ^               │
                  │  │ a dependency      │ its dedupe       │ │ └─found again─┐ │ no data
                  │  │ failed            │ runs             │ │               │ │
                  │  v                   v                  │ └──lost──> missing <┘
                  │ errored           duplicate             │               │
                  └──────────── retry ──────────────────────┴───────────────┴──> errored

`open_gearbox` is the way in for Python programs. The parts, from the inside out: `job` (nouns), `rules` (decisions,
pure), `steps` (what a transaction does), `store` (SQL), `core` (the shell that runs them), `methods` (the RPC surface),
`daemon` (all of it as `g-core`).
"""

from typing import TYPE_CHECKING, Any

from gearbox.errors import Code, ConfigError, GearboxError, RpcError, StoreBusy, StoreError, StoreFull

if TYPE_CHECKING:
    from gearbox.client import Gearbox, open_gearbox

__all__ = [
    "Code",
    "ConfigError",
    "Gearbox",
    "GearboxError",
    "RpcError",
    "StoreBusy",
    "StoreError",
    "StoreFull",
    "open_gearbox",
]


def __getattr__(name: str) -> Any:
    """The client, and with it trio, for those who ask for it: the interpreter that has the store to itself does not."""
    if name in ("Gearbox", "open_gearbox"):
        from gearbox import client

        return getattr(client, name)
    raise AttributeError(f"module 'gearbox' has no attribute {name!r}")
