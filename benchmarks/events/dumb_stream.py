"""A dumb event stream: passes the bytes that one listener of a node gets on to clients of its own, at the same moments.

    BROADSIDE_KEY=KEY python -m benchmarks.events.dumb_stream HOST PORT

It prints its port. It reads no request, and writes to one client after another.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading


def main() -> None:
    """Run until the node ends the stream."""
    clients: list[socket.socket] = []
    with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as node, socket.create_server(("", 0)) as server:
        head = f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {os.environ['BROADSIDE_KEY']}\r\n"
        node.sendall(f"{head}\r\n".encode())
        print(server.getsockname()[1], flush=True)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    client.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
                    clients.append(client)

        threading.Thread(target=accept, daemon=True).start()
        while part := node.recv(1 << 16):
            for client in list(clients):
                try:
                    client.sendall(part)
                except OSError:
                    clients.remove(client)


if __name__ == "__main__":
    main()
