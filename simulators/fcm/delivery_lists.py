"""Google's delivery data (fcmdata v1beta1), as a twin plays it: by Android app, day and analytics label.

Source: firebase.google.com/docs/reference/fcmdata/rest/v1beta1/projects.androidApps.deliveryData/list.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qs

from simulators.answers import Rejection
from simulators.delivery_counts import DeliveryCounts

PATH: Final = re.compile(
    r"/v1beta1/projects/([a-z0-9][a-z0-9\-]{0,62})/androidApps/(\d+:\d+:android:[0-9a-f]+)/deliveryData(?:\?(.*))?"
)
_USUAL, _MOST = 1_000, 10_000


def page(counts: DeliveryCounts, app: str, query: str) -> dict[str, Any] | Rejection:
    """One page of the list. ``query``: of the URL."""
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    size, start = given.get("pageSize", str(_USUAL)), given.get("pageToken", "0")
    if not size.isdecimal() or not start.isdecimal() or set(given) - {"pageSize", "pageToken"}:
        return Rejection(400, "INVALID_ARGUMENT", f"Invalid query: {query[:200]}", "pageSize")
    if (status := counts.refusal()) is not None:
        return Rejection(status, "", "scripted")
    first, most = int(start), min(int(size) or _USUAL, _MOST)
    everything = counts.all()
    found: dict[str, Any] = {"androidDeliveryData": [_entry(counts, app, *each) for each in everything[first:][:most]]}
    if first + most < len(everything):
        found["nextPageToken"] = str(first + most)
    return found


def _entry(counts: DeliveryCounts, app: str, day: Any, label: str, accepted: int) -> dict[str, Any]:
    rule = counts.rule
    outcomes = {
        "delivered": 100 * rule.delivered,
        "pending": 100 * rule.waiting,
        "droppedDeviceInactive": 75 * rule.discarded,
        "droppedTooManyPendingMessages": 25 * rule.discarded,
    }
    named = {"analyticsLabel": label} if label else {}
    data = {"countMessagesAccepted": str(accepted), "messageOutcomePercents": outcomes}
    return {"appId": app, "date": {"year": day.year, "month": day.month, "day": day.day}, **named, "data": data}
