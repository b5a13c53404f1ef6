"""A forecast, and how far a campaign has come, in words."""

from __future__ import annotations

from broadside.api.campaign_report import CampaignReport
from broadside.api.forecast_records import Forecast, Reach


def about(seconds: float) -> str:
    """Write a duration as roughly as it is known: ``14 s``, ``2 min``, ``1 h 20 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(round(minutes / 10) * 10, 60)
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def speed(rate: float) -> str:
    """Write a rate: ``13,000 a second``."""
    return f"{rate:,.0f} a second" if rate >= 10 else f"{rate * 60:,.0f} a minute"


def bytes_a_second(octets: float) -> str:
    """Write bytes a second: ``1.2 GB/s``."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if octets >= one:
            return f"{octets / one:.3g} {unit}/s"
    return f"{octets:.0f} bytes/s"


def forecast_lines(found: Forecast) -> list[str]:
    """A forecast for a terminal."""
    later = f", and {found.held:,} more when they may get it" if found.held else ""
    took = "nobody knows how long" if found.seconds is None else f"about {about(found.seconds)}"
    lines = [f"{found.phones - found.held:,} phones at once: {took}{later}", found.sentence]
    for name, each in found.channels.items():
        seconds = "?" if each.seconds is None else about(each.seconds)
        lines.append(f"  {name}: {each.phones:,} phones, {seconds}, {speed(each.rate)}; {each.sentence}")
    lines += [each for each in (found.longer, servers(found), *found.careful) if each]
    return lines


def servers(found: Forecast) -> str:
    """What the newsroom's own servers must bear."""
    if not found.opens:
        return ""
    said = f"Your own servers: up to {found.opens:,.0f} opens a second, if one phone in twenty opens it"
    return f"{said}; {bytes_a_second(found.image_bytes)} for a picture of 100 KB."


def reach_lines(report: CampaignReport) -> list[str]:
    """How far a campaign has come, for a terminal."""
    found = report.reach
    if found is None or not found.accepted:
        return []
    lines = [f"reached   {percentiles(found)}"]
    if len(found.parts) > 1:
        for part in found.parts:
            times = "/".join("-" if each is None else f"{each:.3g}" for each in (part.p50, part.p90, part.p99))
            rate = f", {part.rate:,.0f} pushes/s now" if part.rate else ""
            lines.append(f"          {part.channel} on {part.node}: {part.accepted:,}, {times} s{rate}")
    return lines


def percentiles(found: Reach) -> str:
    """``half after 3.1 s, nine of ten after 8 s, 99 of 100 after 12 s``."""
    words = (("half", found.p50), ("nine of ten", found.p90), ("99 of 100", found.p99))
    return ", ".join(f"{word} after {value:.3g} s" for word, value in words if value is not None) or "not half yet"
