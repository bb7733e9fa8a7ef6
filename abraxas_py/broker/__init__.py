"""The Gearman server's mind: one synchronous state machine, `(peer, message, now) -> effects`, without any I/O."""

from abraxas_py.broker.broker import Broker
from abraxas_py.broker.effects import Amend, Close, Effect, Load, Persist, Record, Remove, Stop, Store
from abraxas_py.broker.model import Options, Origin, Right
from abraxas_py.broker.policy import Policy

__all__ = [
    "Amend",
    "Broker",
    "Close",
    "Effect",
    "Load",
    "Options",
    "Origin",
    "Persist",
    "Policy",
    "Record",
    "Remove",
    "Right",
    "Stop",
    "Store",
]
