"""Who can do what, who sleeps, and who is woken.

Waking is decided once, at the end of an input, for the functions that gained work or lost an expected worker
(`_gained`): `_wake` sends as many NOOPs as there are queued jobs that no worker is on its way to. A worker that does
not grab within `wakeup_timeout` counts as not on its way. PRE_SLEEP while a job waits is answered by NOOP at once. So a
job that can run while a worker sleeps that could run it always has a NOOP on its way (B7), and a herd of sleepers stays
asleep. What gearmand does too: CAN_DO of a sleeping worker does not wake it for what waits already.
"""

from __future__ import annotations

import re
from math import inf
from typing import NoReturn

from abraxas_py.broker.asking import Asking
from abraxas_py.broker.effects import Effect
from abraxas_py.broker.model import ASLEEP, AWAKE, OVERDUE, WOKEN, Function, Options, Peer
from abraxas_py.broker.timers import Timers
from abraxas_py.errors import RemoteProtocolError
from abraxas_py.protocol.packets import MAX_FUNCTION_BYTES, Type
from abraxas_py.protocol.wire import response

__all__ = ["Waking", "refuse"]

_FORBIDDEN_IN_NAMES = re.compile(rb"[\x00-\x20\x7f]")
_NUL = re.compile(rb"\x00")
_NOOP = response(Type.NOOP)


class Waking(Asking):
    """The functions, and the peers as workers."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.functions: dict[bytes, Function] = {}
        self.is_draining = False
        self._laden: dict[Function, None] = {}  # those with queued jobs, and some that had until lately
        self._timers = Timers()
        self._gained: dict[Function, None] = {}  # functions to wake sleepers for, at the end of this input

    # Functions

    def function(self, name: bytes) -> Function:
        """The function of that name; a new one is made known. Raises RemoteProtocolError for a bad name."""
        function = self.functions.get(name)
        if function is None:
            if not name:
                raise RemoteProtocolError("INVALID_FUNCTION_NAME", "The function's name is empty")
            if len(name) > MAX_FUNCTION_BYTES:
                raise RemoteProtocolError("ARGUMENT_TOO_LARGE", "Function name too large")
            forbidden = _NUL if self.options.legacy_names else _FORBIDDEN_IN_NAMES
            if forbidden.search(name):
                # B11: such a name would forge lines of `status` (G18).
                raise RemoteProtocolError(
                    "INVALID_FUNCTION_NAME", "Control characters or spaces in the function's name"
                )
            if len(self.functions) >= self.options.max_functions:
                raise RemoteProtocolError("NOT_ALLOWED", "The server knows too many functions already")
            function = self._add_function(name)
        return function

    def _add_function(self, name: bytes) -> Function:
        function = self.functions[name] = Function(name)
        function.policy = next((policy for policy in self.options.policies if policy.fits(name)), None)
        return function

    def drop(self, function: Function) -> bool:
        """Make a function unknown; False where it has workers or jobs."""
        if function.workers or function.total:
            return False
        del self.functions[function.name]
        self._laden.pop(function, None)
        return True

    def learn(self, peer: Peer, function: Function, limit: float) -> None:
        """A worker can do a function, for `limit` seconds a job; saying it again changes the limit only.

        Raises RemoteProtocolError where it may not.
        """
        if not peer.may_work:
            refuse()
        if function.name.startswith(self.options.reserved) and not peer.origin.is_own:
            raise RemoteProtocolError("NOT_ALLOWED", "This function is the server's own")
        if function not in peer.abilities:
            function.workers += 1
            if peer.state is ASLEEP:
                function.sleepers[peer] = None
            elif peer.state is WOKEN:
                function.woken += 1
        peer.abilities[function] = limit

    def unlearn(self, peer: Peer, function: Function) -> None:
        """A worker takes no more jobs of a function; what it runs of it, it may finish."""
        del peer.abilities[function]
        function.workers -= 1
        function.sleepers.pop(peer, None)
        if peer.state is WOKEN:
            function.woken -= 1
            self._gained[function] = None

    def unlearn_all(self, peer: Peer) -> None:
        """A worker takes no more jobs."""
        for function in list(peer.abilities):
            self.unlearn(peer, function)

    # Sleeping and waking

    def sleep(self, peer: Peer, now: float) -> None:
        """A worker will wait for NOOP; while a job waits, that is at once."""
        self.rise(peer)
        if any(function.queued for function in peer.abilities):
            self._rouse(peer, now)
        else:
            peer.state = ASLEEP
            for function in peer.abilities:
                function.sleepers[peer] = None

    def _wake(self, function: Function, now: float) -> None:
        """NOOP to as many sleepers as there is work that nobody is on the way to; the longest asleep come first."""
        if not function.sleepers:
            return
        queued = function.queued
        if self.options.worker_wakeup == inf:
            count: float = queued - function.woken
        elif queued:
            count = self.options.worker_wakeup or inf
        else:
            return
        while count > 0 and function.sleepers:
            self._rouse(next(iter(function.sleepers)), now)
            count -= 1

    def _rouse(self, peer: Peer, now: float) -> None:
        """The only sender of NOOP."""
        for function in peer.abilities:
            function.sleepers.pop(peer, None)
            function.woken += 1
        peer.state = WOKEN
        peer.timer = self._timers.arm(now + self.options.wakeup_timeout, self._oversleep, peer)
        peer.send(_NOOP)

    def _oversleep(self, peer: Peer, now: float) -> None:
        self.rise(peer)
        peer.state = OVERDUE

    def rise(self, peer: Peer) -> None:
        """A worker shows that it is awake; what others of its functions wait for may need another one."""
        if peer.state is AWAKE:
            return
        if peer.state is ASLEEP:
            for function in peer.abilities:
                function.sleepers.pop(peer, None)
        elif peer.state is WOKEN:
            assert peer.timer is not None
            self._timers.cancel(peer.timer)
            peer.timer = None
            for function in peer.abilities:
                function.woken -= 1
                self._gained[function] = None
        elif peer.state is OVERDUE:  # what was left to it may be for those who have come to know it since
            self._gained.update(dict.fromkeys(peer.abilities))
        peer.state = AWAKE

    def _settle(self, now: float) -> list[Effect]:
        if self._gained:
            for function in self._gained:
                self._wake(function, now)
            self._gained.clear()
        effects = self._effects
        if effects:
            self._effects = []
        return effects


def refuse() -> NoReturn:
    """Raises RemoteProtocolError: the connection may not do what it asks for."""
    raise RemoteProtocolError("NOT_ALLOWED", "This is not taken from this connection")
