"""Clients that are programs of their own: h2load in C, and net/http in Go."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import jwt

from benchmarks.transport.meter import BODY, Row, peak
from benchmarks.transport.sinks import Files

TOKEN = "0123456789abcdef" * 4
_SOURCE = Path(__file__).parent / "go"


def h2load(row: Row, port: int, directory: Path, core: str, seconds: float) -> Row:
    """The load generator: no outcomes, no bookkeeping, the same request again and again."""
    body = directory / "push.json"
    body.write_bytes(b"x" * BODY)
    n = int(60_000 * seconds)
    headers = [f"authorization: bearer {'j' * 190}", "apns-topic: com.example.news", "apns-push-type: alert"]
    headers += ["apns-priority: 10", "apns-expiration: 1800000000", "apns-collapse-id: aaaaaaaaaaaah"]
    headers += ["apns-id: 00000000-0000-0007-0000-0000000003eb"]
    fields = [word for header in headers for word in ("-H", header)]
    url = f"https://localhost:{port}/3/device/{TOKEN}"
    command = ["taskset", "-c", core, "h2load", "-n", str(n), "-c", str(row.connections), "-m", str(row.streams)]
    begun = time.perf_counter()
    process = subprocess.Popen([*command, "-d", str(body), *fields, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = ""
    # It prints its figures at its end, so reading waits for it; memory is sampled at each line before.
    for line in process.stdout:
        said += line
        row.rss_mb = max(row.rss_mb, peak(process.pid))
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    wall = time.perf_counter() - begun
    passed = re.search(r"(\d+) 2xx", said)
    row.pushes = int(passed[1]) if passed else 0
    row.pushes_per_second = round(row.pushes / wall, 1)
    row.cpu_us_per_push = round((usage.ru_utime + usage.ru_stime) / max(1, row.pushes) * 1e6, 2)
    return row


def go(row: Row, port: int, files: Files, core: str, seconds: float) -> Row:
    """What sideshow/apns2 does for each push, on the library that it is built on."""
    if shutil.which("go") is None:
        row.note = "go is not installed"
        return row
    program = files.directory / "go-net-http"
    if not program.exists():
        built = subprocess.run(["go", "build", "-o", str(program), "."], cwd=_SOURCE, check=False)
        if built.returncode:
            row.note = "go build failed"
            return row
    claims = {"iss": "TEAM123456", "iat": int(time.time())}
    order = {
        "origin": f"https://localhost:{port}",
        "ca": str(files.ca),
        "bearer": jwt.encode(claims, files.apns_key.read_text(), "ES256", headers={"kid": "ABCDE12345"}),
        "token": TOKEN,
        "text": "x" * (BODY - 54),
        "streams": row.streams,
        "seconds": seconds,
    }
    command = ["taskset", "-c", core, str(program)]
    done = subprocess.run(command, input=json.dumps(order), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        row.note = f"failed with exit code {done.returncode}"
        return row
    figures = json.loads(done.stdout)
    row.pushes = figures["pushes"]
    row.pushes_per_second = round(row.pushes / figures["seconds"], 1)
    row.cpu_us_per_push = round(figures["cpu"] / max(1, row.pushes) * 1e6, 2)
    row.rss_mb = round(figures["rss_mb"], 1)
    if figures["connections"] != row.connections:
        row.note = f"net/http opened {figures['connections']} connections"
    return row
