"""A wire that can be cut: a TCP proxy on loopback, in threads, for connections between processes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Wire:
    """Everything that connects to ``port`` gets through to ``target``, until it is cut: then nothing arrives any more,
    and nobody is told, as when a cable is pulled. Healed, what was connected is gone and new connections get through.
    """

    def __init__(self, target: int) -> None:
        self.delay = 0.0
        """Seconds before what has arrived is passed on."""
        self._target = target
        self._whole = threading.Event()
        self._whole.set()
        self._links: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._whole.clear()

    def heal(self) -> None:
        stale, self._links = self._links, set()
        for link in stale:
            _shut(link)
        self._whole.set()

    def close(self) -> None:
        _shut(self._listener)
        self.heal()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        self._whole.wait()
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            _shut(near)
            return
        self._links |= {near, far}
        back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
        back.start()
        self._pump(near, far)
        back.join()
        self._links -= {near, far}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._whole.wait()
                if self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
        _shut(source)
        _shut(sink)


def _shut(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
    link.close()
