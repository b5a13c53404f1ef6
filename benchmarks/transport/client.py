"""One row of the table, in a process of its own: ``python -m benchmarks.transport.client '{"client": …}'``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import trio

from benchmarks.transport import others, ours
from benchmarks.transport.meter import Meter, Row
from benchmarks.transport.sinks import Files


def main() -> None:
    order = json.loads(sys.argv[1])
    port, files = order.pop("port"), Files(Path(order.pop("directory")))
    seconds, pushes = order.pop("seconds"), order.pop("limit", None)
    row = Row(**order.pop("row"))
    meter = Meter(row, seconds, pushes)
    match row.client:
        case "apns" | "fcm" | "huawei" | "rustore" | "webpush":
            trio.run(ours.transport, row.client, port, files, meter)
        case "engine":
            ours.engine(meter)
        case "encryption":
            ours.encryption(meter)
        case "httpx":
            others.httpx(port, files, meter)
        case "aioapns":
            others.aioapns(port, files, meter)
    print(row.text())


if __name__ == "__main__":
    main()
