"""A wire to a local server that can be cut, or lose single responses."""

from __future__ import annotations

import contextlib
import socket
import threading


class Wire:
    """Forwards connections from `port` to a server on the loopback interface.

    Attributes:
        port: where clients connect.
        lose: parts of requests whose response is to be lost, each once; the server has served them by then.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._ends: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.lose: list[bytes] = []
        self.port = 0
        self.mend()

    def mend(self) -> None:
        """Accept connections (again)."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """Break all connections and refuse new ones."""
        listener, self._listener = self._listener, None
        for end in [*([listener] if listener else []), *self._ends]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._ends.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            server = socket.create_connection(("127.0.0.1", self._target))
            self._ends += [client, server]
            is_lost = threading.Event()
            arguments = (client, server, is_lost)
            threading.Thread(target=self._send, args=arguments, daemon=True).start()
            while data := server.recv(65536):
                if is_lost.is_set():
                    break
                client.sendall(data)
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _send(self, client: socket.socket, server: socket.socket, is_lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                for part in list(self.lose):
                    if part in data:
                        self.lose.remove(part)
                        is_lost.set()
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
