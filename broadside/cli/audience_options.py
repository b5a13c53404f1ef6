"""The options that say whom a campaign is for: ``fire`` and ``audience count`` share them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from broadside.api.audience_request import AudienceRequest, TagConditions
from broadside.cli.json_file import read_json
from broadside.errors import UsageError

_Texts = list[str] | None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class AudienceOptions:
    """Conditions that a phone must all keep. One that lacks an attribute keeps no condition on it."""

    tag: Annotated[_Texts, Parameter(help="Phones with this tag; of several tags, one is enough.")] = None
    tag_all: Annotated[
        _Texts, Parameter(help="Phones with this tag; repeat the option for phones that have them all.")
    ] = None
    tag_none: Annotated[_Texts, Parameter(help="Phones without this tag.")] = None
    locale: Annotated[
        _Texts, Parameter(help="Phones in this language: pt takes pt-BR too. Repeat the option for several.")
    ] = None
    country: Annotated[_Texts, Parameter(help="Phones in this country, as in DE. Repeat it for several.")] = None
    zone: Annotated[_Texts, Parameter(help="Phones in this time zone, as in Europe/Berlin. Repeat it.")] = None
    app_version: Annotated[str | None, Parameter(help='Versions of the app, as in ">=4.2,<5".')] = None
    screen: Annotated[_Texts, Parameter(help="Phones with this screen. Repeat it for several.")] = None
    share: Annotated[float | None, Parameter(help="A part of everybody, drawn by a hash: 0.05 is one in twenty.")] = (
        None
    )
    share_salt: Annotated[
        str | None, Parameter(help="Who is drawn: the id of another campaign draws the same phones again.")
    ] = None
    rest: Annotated[bool, Parameter(help="Everybody but that share (needs --share-salt).")] = False
    audience: Annotated[
        Path | None, Parameter(help="A JSON file of conditions, also of a list of subscribers: see docs/campaigns.md.")
    ] = None

    def request(self) -> AudienceRequest | None:
        """Return the audience; None: no condition (raises ``UsageError``)."""
        given = {each.name: value for each in fields(self) if (value := getattr(self, each.name)) not in (None, False)}
        path = given.pop("audience", None)
        file = None if path is None else read_json(path, AudienceRequest, "an audience", "--audience")
        if not given:
            return file
        tags = TagConditions(any=self.tag, all=self.tag_all, none=self.tag_none)
        plain: dict[str, Any] = {
            "locales": self.locale,
            "countries": self.country,
            "zones": self.zone,
            "app_version": self.app_version,
            "screen": self.screen,
            "share": self.share,
            "share_salt": self.share_salt,
            "rest": self.rest,
            "tags": None if tags == TagConditions() else tags,
        }
        wanted = {name: value for name, value in plain.items() if value not in (None, False)}
        if file is None:
            file = AudienceRequest()
        for name in wanted:
            if getattr(file, name) not in (None, False):
                raise UsageError(f"--audience: {path} has {name} already (leave the option out, or the field)")
        try:
            return msgspec.convert({**msgspec.to_builtins(file), **msgspec.to_builtins(wanted)}, AudienceRequest)
        except msgspec.ValidationError as error:
            field = str(error).rpartition("$.")[2].strip("`").replace("_", "-")
            raise UsageError(f"--{field}: {error} (a share is above 0, and 1 at most)") from None
