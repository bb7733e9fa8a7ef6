"""What `g-core --check` finds in an environment."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing

import trio

from gearbox.cli.doctor import Finding, examine
from gearbox.settings import Settings


def examined(environment: Mapping[str, str]) -> list[Finding]:
    async def gather() -> list[Finding]:
        async with aclosing(examine(Settings.from_environment(environment), environment)) as found:
            return [finding async for finding in found]

    return trio.run(gather)
