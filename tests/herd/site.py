"""A newsroom's site that saturates, and phones that open a push after drawn delays: real requests over loopback."""

from __future__ import annotations

import heapq
import http.client
import json
import random
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

WINDOW = 3.0
"""Seconds over which the site counts its load: what comes by chance in less it bears."""


class NewsroomSite:
    """``GET /story`` is an open; above ``bears`` a second the answers are late 503s. ``GET /health`` says the load."""

    def __init__(self, bears: float) -> None:
        self.bears = bears
        self.opens = 0
        self.refused = 0
        self.peak = 0.0
        self.silent = False
        """Answers /health by 404: nobody tells the load."""
        self._times: deque[float] = deque()
        self._lock = threading.Lock()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # else each answer is two packets, and the second waits 40 ms for the client

            def do_GET(self) -> None:
                if self.path == "/health":
                    body = json.dumps({"load": round(site.load(), 3)}).encode()
                    self._answer(404 if site.silent else 200, body)
                    return
                load = site.opened()
                if load > 1:
                    time.sleep(0.5)
                self._answer(503 if load > 1 else 200, b"news")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _sum(self, now: float) -> float:
        while self._times and self._times[0] < now - WINDOW:
            self._times.popleft()
        return len(self._times) / WINDOW / self.bears

    def load(self) -> float:
        with self._lock:
            return self._sum(time.monotonic())

    def opened(self) -> float:
        with self._lock:
            now = time.monotonic()
            self._times.append(now)
            load = self._sum(now)
            self.opens += 1
            self.refused += load > 1
            self.peak = max(self.peak, load)
            return load

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Phones:
    """Reads the twins' ledgers as they grow, and opens ``share`` of what was accepted, after ``median`` seconds."""

    def __init__(self, site: NewsroomSite, ledgers: Path, *, share: float, median: float, seed: int) -> None:
        self._site = site
        self._ledgers = ledgers
        self._share, self._median = share, median
        self._draw = random.Random(seed)
        self._read: dict[Path, int] = {path: path.stat().st_size for path in ledgers.glob("*.ledger")}
        self.accepted = 0
        self._due: list[float] = []
        self._lock = threading.Lock()
        self._ending = False
        self._read_at = time.monotonic()
        self._threads = [threading.Thread(target=run) for run in (self._look, *[self._open] * 4)]
        for thread in self._threads:
            thread.start()

    def _look(self) -> None:
        while not self._ending:
            for path in self._ledgers.glob("*.ledger"):
                with path.open("rb") as file:
                    file.seek(self._read.get(path, 0))
                    fresh = file.read()
                self._read[path] = self._read.get(path, 0) + fresh.rfind(b"\n") + 1
                now = time.monotonic()
                for _ in range(fresh.count(b"\n")):
                    self.accepted, self._read_at = self.accepted + 1, now
                    if self._draw.random() < self._share:
                        with self._lock:
                            heapq.heappush(self._due, now + self._draw.lognormvariate(0, 0.6) * self._median)
            time.sleep(0.05)

    def _open(self) -> None:
        line = http.client.HTTPConnection(self._site.url.removeprefix("http://"), timeout=10)
        while not self._ending or self._due:
            with self._lock:
                due = heapq.heappop(self._due) if self._due and self._due[0] <= time.monotonic() else None
            if due is None:
                time.sleep(0.02)
                continue
            line.request("GET", "/story")
            line.getresponse().read()
        line.close()

    def end(self) -> None:
        """Once everybody has opened what the ledgers still bring."""
        while time.monotonic() < self._read_at + 2:
            time.sleep(0.1)
        self._ending = True
        for thread in self._threads:
            thread.join(60)
