"""The harness itself: what a page may never do fails its test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.visit import Visit, axe

BREACHES = {
    "console.error('oh')": "console: oh",
    "setTimeout(() => { throw new Error('oh') })": "script: ",
    "fetch('/v1/campaigns').then((answer) => answer.text())": "answer: 401",
    "{ const image = new Image(); image.src = 'https://127.0.0.2:9/'; }": "another host: https://127.0.0.2:9/",
    "document.body.insertAdjacentHTML('beforeend', `<p style='color: red'>oh`)": "CSP: style-src-attr",
    "document.head.append(Object.assign(document.createElement('script'), {text: 'alert(1)'}))": "CSP: script-src",
}


@pytest.mark.parametrize("breach", BREACHES)
def test_what_a_page_may_never_do_fails_its_test(visit: Callable[..., Visit], breach: str) -> None:
    visitor = visit()
    page = visitor.page("/login")
    assert visitor.wrong == []
    page.evaluate(f"() => {{ {breach} }}")
    page.wait_for_timeout(200)
    found, visitor.wrong = visitor.wrong, []
    assert any(BREACHES[breach] in each for each in found), found


def test_axe_objects_to_what_not_everybody_can_use(visit: Callable[..., Visit]) -> None:
    page = visit().page("/login")
    assert axe(page) == []
    page.evaluate("document.querySelector('label').remove()")
    assert any("label (critical)" in each for each in axe(page))
