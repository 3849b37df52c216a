"""Hostile text in a real browser: it is seen, and nothing of it runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.test_hostile import ALL, EVIL
from tests.web.test_hostile import store as store  # noqa: PLC0414  (the fixture)

PAGES = (
    "", "search", "feature?id=toy/1-t/0", "head?id=toy/L1H1", "heads", "sae?id=toy/1-t", "notes",
    "collections", "review", "studies", "basket?ids=toy/1-t/0,toy/1-t/3", "search?view=table",
    "compare?a=1-t/0&b=1-t/3", "pairs?distance_min=1", "runs", "sql",
    "compare?a=L0&b=L1", "runs?id=run-1", "runs?id=run-9", "studies?study=roles",
    "sql?query=SELECT+text,token+FROM+vocab&y=token",
    "sql?query=SELECT+token+AS+%22%3Cimg+src%3Dx+onerror%3Dalert(1)%3E%22,token+FROM+vocab&y=token",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(chromium: None, store: Path) -> Iterator[str]:  # noqa: ARG001, F811
    from tests.browser.chrome import served

    with served(store) as address:
        yield address


@pytest.mark.parametrize("page", PAGES)
def test_nothing_hostile_runs(reader, page):
    reader.open(page)
    made = "img[onerror], svg[onload], .stHtml script, .ex script, .stHtml iframe"
    assert reader.driver.find_elements("css selector", made) == []
    assert reader.complaints() == []  # an alert would have stopped the driver with an error


def test_hostile_tokens_are_read_in_the_examples(reader):
    reader.open("feature?id=toy/1-t/0")
    reader.click(".ex .switch button", "whole")
    shown = reader.find(".ex.whole").text
    for evil in (EVIL[0], EVIL[1], EVIL[4], EVIL[5]):
        assert evil in shown


def test_hostile_titles_are_read_in_lists_to_choose_from(reader):
    reader.open("head?id=toy/L1H1")
    reader.click("summary", "Claim a role")
    field = reader.find("input[aria-label*='Evidence: features']")
    field.click()
    assert reader.find("[role=option]", EVIL[0])
    assert ALL.split()[0] in reader.text
