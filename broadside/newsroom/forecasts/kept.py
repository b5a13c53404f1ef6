"""The forecast that a campaign keeps from Fire, and how it compares with the fact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from broadside.api.forecast_records import Forecast
from broadside.api.forecast_text import about

KEPT = "forecast"
"""The entry of a campaign's policy with its forecast at Fire, as JSON."""
EQUAL = 0.05
"""Share of the forecast by which the fact may differ and still be as foreseen."""
_DECODER = msgspec.json.Decoder(Forecast)


def kept_forecast(policy: Mapping[str, Any]) -> Forecast | None:
    """What was foreseen at Fire; None: nothing, or another version wrote it otherwise."""
    try:
        return _DECODER.decode(policy[KEPT]) if KEPT in policy else None
    except (msgspec.DecodeError, TypeError):
        return None


def compared(forecast: Forecast | None, took: float | None) -> str:
    """Say how the forecast and the fact compare. ``took``: seconds in which something could be sent."""
    if forecast is None or took is None:
        return ""
    if forecast.seconds is None:
        return f"Nobody could foresee how long it would take. It took {_exactly(took)}."
    share = took / forecast.seconds - 1 if forecast.seconds else 0.0
    how = "as foreseen" if abs(share) <= EQUAL else f"{abs(share):.0%} {'longer' if share > 0 else 'shorter'}"
    return f"Foreseen were {about(forecast.seconds)}. It took {_exactly(took)}, {how}."


def _exactly(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else about(seconds)
