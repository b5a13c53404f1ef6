"""The preview of a message: what each platform's renderer, the one that the workers use, makes of it."""

from __future__ import annotations

from broadside.api.preview_report import ChannelPreview, TextPreview
from broadside.api.text_rules import warnings
from campaigns import personal
from campaigns.message import Message
from campaigns.presentation import Presentation
from campaigns.text_choice import in_words
from transports import registry
from transports.contract import Transport
from transports.errors import PayloadError


def preview(transport: Transport, platform: str, message: Message, campaign: int, expires_at: int) -> ChannelPreview:
    """Render all texts of a message for one channel, awake and asleep. ``expires_at``: ms UTC."""
    found: list[TextPreview] = []
    objections: dict[str, str] = {}
    for presentation in Presentation:
        try:
            rendered = transport.preview(message, campaign, expires_at, presentation)
        except PayloadError as error:
            objections[presentation.value] = str(error)
            continue
        for each in rendered:
            shown = personal.with_defaults(in_words(message, platform, each.locale))
            found.append(
                TextPreview(
                    locale=each.locale,
                    presentation=presentation.value,
                    fields=dict(each.fields),
                    body=each.body.decode(),
                    bytes=each.size,
                    limit=each.limit,
                    apps=each.apps,
                    warnings=warnings(shown.title, shown.body),
                )
            )
    return ChannelPreview(platform=platform, device=registry.load(platform).device, texts=found, objections=objections)
