"""Choosing things, keys, and two people on one page, in a real browser."""

from collections.abc import Iterator

import pytest

FEATURE = "toy/1-t/0"


@pytest.fixture
def other(site) -> Iterator["Reader"]:  # noqa: F821
    """Somebody else, in a browser of their own."""
    from tests.browser.chrome import browser
    from tests.browser.reader import Reader

    with browser() as driver:
        yield Reader(driver, site)


def test_features_are_chosen_by_keys_and_tagged_at_once(reader):
    reader.open("search?snapshot=000002&sort=id&descending=false")
    reader.driver.execute_script("localStorage.clear()")
    reader.keys("jxjx")
    reader.find(".atlas-tray", "2 chosen")
    reader.click(".atlas-tray a", "2 chosen")
    reader.see("Do with all of them")
    assert "ids=toy/" in reader.url
    reader.fill("Your name", "Ada")
    reader.fill("Tag for all", "chosen by keys")
    reader.press("Tag them")
    reader.settle()
    reader.open("search?tag=chosen+by+keys&snapshot=000002")
    reader.see("2 features")
    reader.click(".atlas-tray button", "clear")
    assert not reader.driver.find_elements("css selector", ".atlas-tray")


def test_rows_of_a_table_are_gone_through_by_keys_too(reader):
    reader.open("search?snapshot=000002&sort=id&descending=false&view=table")
    reader.driver.execute_script("localStorage.clear()")
    reader.keys("jx")
    reader.find(".atlas-tray", "1 chosen")
    reader.keys("j")
    reader.keys("\ue007")
    reader.see("Heads that write it")
    reader.click(".atlas-tray button", "clear")


def test_enter_opens_what_the_keys_stand_on_and_slash_searches(reader):
    reader.open("search?snapshot=000002&sort=id&descending=false")
    reader.keys("/")
    assert reader.driver.switch_to.active_element.get_attribute("type") == "search"
    reader.driver.execute_script("document.activeElement.blur()")
    reader.keys("j")
    reader.keys("\ue007")
    reader.see("Heads that write it")


def test_two_people_on_one_feature_see_each_other_and_lose_nothing(reader, other):
    page = "feature?id=toy/1-t/2&snapshot=000002"
    for one, name in ((reader, "Ada"), (other, "Bob")):
        one.open(page)
        one.fill("Your name", name)
    reader.fill("New label", "Ada's label")
    reader.press("Label")
    reader.see("Ada's label")
    other.fill("New comment", "Bob's comment")
    other.press("Comment")
    other.see("Bob's comment")
    other.see("Ada's label")  # at the next action
    reader.fill("New tag", "ada's tag")
    reader.press("Tag")
    reader.see("Bob's comment")
    reader.see("ada's tag")
    reader.see("Ada's label")


def test_two_edits_of_one_note_meet_and_the_second_sees_the_first(reader, other):
    reader.open("feature?id=toy/1-t/1&snapshot=000002")
    reader.fill("Your name", "Ada")
    reader.fill("New comment", "first words")
    reader.press("Comment")
    reader.see("first words")
    reader.click(".note .by a", "edit, history")
    reader.see("History")
    other.open(reader.url)
    other.fill("Your name", "Bob")
    for one, words in ((reader, "Ada's words"), (other, "Bob's words")):
        one.fill("Text", words)
    reader.press("Save")
    reader.see("Ada's words")
    other.press("Save")
    other.see("Ada's words")  # shown with the refusal
    other.see("Now there")
    field = other.find("textarea[aria-label='Text']")
    assert field.get_attribute("value") == "Bob's words"  # and nothing was lost
