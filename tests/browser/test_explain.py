"""Why did this phone not get it, the certificate, and the list of drills: on the pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from broadside import cli
from broadside.api.v1 import table
from tests.browser.ring_with_pages import RingWithPages
from tests.browser.visit import Visit


def test_a_person_asks_about_one_phone_and_takes_the_certificate_along(
    visit: Callable[..., Visit], ring: RingWithPages, tmp_path: Path
) -> None:
    campaign = ring.ended(ring.fire("Explained").id).id
    with ring.client() as client:
        (row, *_) = client.call(table.SUBSCRIBERS, query=table.SubscribersQuery(limit=1)).items
        key = client.call(table.CERTIFICATE_KEY)
    page = visit("viewer").page(f"/campaigns/{campaign}")
    field = page.get_by_label(re.compile("token, also a former one"))
    field.fill(str(row.id))
    page.get_by_role("button", name="Look").click()
    found = page.locator(".explained")
    expect(found).to_have_attribute("data-fate", re.compile("delivered|dead"))
    expect(found).to_contain_text(f"Subscriber{row.id} on {row.channel}")
    assert row.token not in page.content(), "only the beginning of a token is shown"
    field.fill("a-token-that-nobody-has")
    field.press("Enter")
    expect(found).to_contain_text("nobody had this token")
    with page.expect_download() as download:
        page.get_by_role("link", name="Certificate").click()
    file, pem = tmp_path / "certificate.json", tmp_path / "key.pem"
    download.value.save_as(file)
    pem.write_text(key.public)
    assert cli.run(["verify-certificate", "--key", str(pem), str(file)]) == 0


def test_an_operator_reads_what_a_drill_needs(visit: Callable[..., Visit]) -> None:
    visitor = visit("operator")
    page = visitor.page("/operator/drills")
    expect(page.get_by_role("heading", level=1)).to_have_text("Drills")
    expect(page.locator("#drills")).to_contain_text("No drill yet.")
