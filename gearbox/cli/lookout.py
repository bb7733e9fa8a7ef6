"""Why no answer comes: no Gearman server, nobody there who could give one, or somebody who takes long.

Gearman itself holds a call until somebody takes it, silently and without limit. So while a call is on its way, a
lookout asks the servers once a second how many workers the function has, and speaks up when there are none, or when no
server says.
"""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from math import inf

import trio

from abraxas_py import AbraxasError, open_admin
from abraxas_py.nursery import open_nursery
from gearbox.cli.wanted import Complaint

__all__ = ["NobodyThere", "looking_out", "nobody_offers", "unreachable"]

log = logging.getLogger("gearbox.client")

INTERVAL = 1.0  # seconds between questions
HINT_AFTER = 2.0  # seconds without a worker until a hint is given
SILENCE_HINT_AFTER = 6.0  # the same without a word from any server; where nobody is, that is told after 5 s
ANSWER_TIMEOUT = 5.0  # seconds for a server to answer one
SILENCE_PATIENCE = 30.0  # seconds without a word from any server, which may be starting again
SLOW_AFTER = 10.0  # seconds until it is told that a worker takes long


class NobodyThere(Exception):
    """No worker took up the function in time; the text says so and what to do."""


def unreachable(servers: Sequence[str], timeout: float) -> str:
    """What to tell when no server could be connected to."""
    return (
        f"cannot reach Gearman at {', '.join(servers)} within {timeout:g} s; "
        "start the daemon there with g-core, or name another server: GEARMAN_SERVER=host:port"
    )


def nobody_offers(method: str, offered: Sequence[str]) -> str:
    r"""What to tell when a job failed for want of a worker.

    >>> nobody_offers(r"demo\words", ["text::upper", "demo::words"])
    '=== Nobody offers demo\\words; demo::words is offered'
    """
    near = difflib.get_close_matches(method, offered, n=1)
    advice = f"{near[0]} is offered" if near else "g-client methods lists what is offered"
    return f"=== Nobody offers {method}; {advice}"


async def _count_workers(servers: Sequence[str]) -> Counter[str] | None:
    """How many workers all servers together have, by function; None if not one of them tells."""
    counts: Counter[str] | None = None
    for server in servers:
        try:
            with trio.fail_after(ANSWER_TIMEOUT):
                async with open_admin(server) as admin:
                    rows = await admin.status()
        except (AbraxasError, trio.TooSlowError):
            continue
        counts = counts or Counter()
        for row in rows:
            counts[row.function.decode(errors="replace")] += row.workers
    return counts


@asynccontextmanager
async def looking_out(
    servers: Sequence[str],
    function: str,
    hint: str,
    tell: Callable[[str], object],
    *,
    patience: float = inf,
    slow: str = "",
    kin: str = "",
    unknown: str = "",
) -> AsyncIterator[None]:
    """Look out during the block. Raises NobodyThere, with `hint`, after `patience` seconds without a worker.

    The time starts again whenever there is a worker. `tell` gets the hint once, earlier; and `slow`, if there are
    workers and the block lasts all the same. `kin` is a function of the same workers: where they are seen with that one
    alone, there is nothing to wait for. Raises Complaint, with `unknown`, then.
    """
    problem: Exception | None = None
    silence = f"=== Gearman at {', '.join(servers)} does not answer"
    told: set[str] = set()

    def tell_once(text: str) -> None:
        if text and text not in told:
            told.add(text)
            tell(text)

    async def look() -> None:
        nonlocal problem
        began = since = trio.current_time()
        while True:
            await trio.sleep(INTERVAL)
            counts = await _count_workers(servers)
            count = None if counts is None else counts[function]
            log.debug("still waiting function=%s workers=%s", function, count)
            now = trio.current_time()
            if count:
                since = now
                if now - began >= SLOW_AFTER:
                    tell_once(slow)
                continue
            if counts and counts[kin]:
                problem = Complaint(unknown)
                break
            text = silence if count is None else hint
            if now - since >= (SILENCE_HINT_AFTER if count is None else HINT_AFTER):
                tell_once(text)
            if now - since >= (max(patience, SILENCE_PATIENCE) if count is None else patience):
                problem = NobodyThere(text)
                if count is None:
                    tell_once("=== Giving up; whether the call was carried out is unknown")
                break
        nursery.cancel_scope.cancel()

    async with open_nursery() as nursery:
        nursery.start_soon(look)
        yield
        nursery.cancel_scope.cancel()
    if problem is not None:
        raise problem
