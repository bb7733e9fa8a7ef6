"""A TCP proxy on loopback that can be told to cut a connection at a certain statement."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Proxy:
    """Passes bytes on to a port, until `cut` has come true once."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._before = self._after = b""
        self.cuts = 0
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_before(self, text: bytes) -> None:
        """The next statement with this text does not reach the server; its connection is lost."""
        self._before = text

    def cut_after(self, text: bytes) -> None:
        """The next statement with this text is done by the server, but its answer and the connection are lost."""
        self._after = text

    def close(self) -> None:
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                self._sockets += [client, server]
                state = {"is_cut": False}
                threading.Thread(target=self._forth, args=(client, server, state), daemon=True).start()
                threading.Thread(target=self._back, args=(client, server, state), daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket, state: dict[str, bool]) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                if self._before and self._before in data:
                    self._before = b""
                    self.cuts += 1
                    break
                if self._after and self._after in data:
                    self._after = b""
                    state["is_cut"] = True
                server.sendall(data)
        _close(client, server)

    def _back(self, client: socket.socket, server: socket.socket, state: dict[str, bool]) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                if state["is_cut"]:
                    self.cuts += 1
                    break
                client.sendall(data)
        _close(client, server)


def _close(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
