"""The Gearman server's mind: one synchronous state machine, `(peer, message, now) -> effects`, without any I/O."""

from abraxas_py.broker.broker import Broker
from abraxas_py.broker.effects import Close, Effect, Send, Stop
from abraxas_py.broker.model import Options, Origin, Right

__all__ = ["Broker", "Close", "Effect", "Options", "Origin", "Right", "Send", "Stop"]
