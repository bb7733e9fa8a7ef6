"""What the broker asks its shell to do, in this order."""

from __future__ import annotations

from typing import NamedTuple

from abraxas_py.protocol.packets import Packet
from abraxas_py.protocol.wire import Line

__all__ = ["Close", "Effect", "Send", "Stop"]


class Send(NamedTuple):
    """Send a message to peers: encoded once, however many they are. A peer that is named twice gets it twice."""

    message: Packet | Line
    to: tuple[int, ...]


class Close(NamedTuple):
    """Close a peer's connection, once what was sent to it before has left."""

    peer: int


class Stop(NamedTuple):
    """Stop the server: at once, or (`drain`) when the jobs that run have ended, taking no connections meanwhile."""

    drain: bool


Effect = Send | Close | Stop
