"""Which descriptors can be read from or written to: epoll where there is one, else what `selectors` has.

`select.epoll` is used as it is. What `selectors` lays around it costs as much as the reading of a small packet: an
object for each descriptor that is ready, made anew each time.
"""

from __future__ import annotations

import select
import selectors
from typing import Protocol

__all__ = ["READ", "WRITE", "Poller", "open_poller"]

READ = 1  # as epoll's EPOLLIN; its EPOLLERR and EPOLLHUP are neither of the two, and come unasked
WRITE = 4  # as epoll's EPOLLOUT


class Poller(Protocol):
    """The part of `select.epoll` that a server needs."""

    def fileno(self) -> int: ...
    def register(self, fd: int, eventmask: int, /) -> None: ...
    def modify(self, fd: int, eventmask: int, /) -> None: ...
    def unregister(self, fd: int, /) -> None: ...
    def poll(self, timeout: float, /) -> list[tuple[int, int]]: ...


def open_poller() -> Poller:
    """The best one of this system."""
    return select.epoll() if hasattr(select, "epoll") else Selected()


class Selected:
    """A poller on `selectors`, for systems without epoll."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def fileno(self) -> int:
        """The descriptor that is readable when anything is ready."""
        return self._selector.fileno()  # type: ignore[no-any-return, attr-defined, unused-ignore]

    def register(self, fd: int, eventmask: int) -> None:
        """Watch a descriptor."""
        self._selector.register(fd, _events(eventmask))

    def modify(self, fd: int, eventmask: int) -> None:
        """Watch it for something else."""
        self._selector.modify(fd, _events(eventmask))

    def unregister(self, fd: int) -> None:
        """Watch it no more."""
        self._selector.unregister(fd)

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        """What is ready within `timeout` seconds: descriptors with masks."""
        return [(key.fd, _mask(events)) for key, events in self._selector.select(timeout)]


def _events(mask: int) -> int:
    return (selectors.EVENT_READ if mask & READ else 0) | (selectors.EVENT_WRITE if mask & WRITE else 0)


def _mask(events: int) -> int:
    return (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0)
