"""What a researcher does, in a real browser: find, read, claim, compare, cite."""

import pytest

FEATURE, HEAD = "toy/1-t/0", "toy/L1H1"


def test_a_feature_is_found_by_a_word_and_read(reader):
    reader.open("")
    reader.search("input[aria-label='Search features']", "induction")
    assert "search?" in reader.url
    assert "text=induction" in reader.url
    assert "snapshot=000002" in reader.url
    reader.see("2 features")
    reader.click("a.title", "predicts “ board” by induction")
    reader.see("Heads that write it")
    reader.see("where the information comes from")
    reader.see("exact, residual 1.0e-06")
    assert reader.complaints() == []


def test_a_token_tells_its_values_at_once(reader):
    from selenium.webdriver import ActionChains

    reader.open(f"feature?id={FEATURE}&snapshot=000002")
    for css, words in (
        (".ex .text .here", '" mat" position 6 activation +8.0000'),
        (".ex .text .from", '" cat" position 2 gives +6.3750, most by L1H1, 4 before'),
        (".ex .one .act", "activation +8.0000 = L1H1 +8.0750 L1H0 +0.4250 bias −0.5000"),
    ):
        ActionChains(reader.driver).move_to_element(reader.find(css)).perform()
        shown = " ".join(reader.find(".atlas-tip").text.split())
        assert words in shown


def test_the_width_is_switched_without_asking_the_server(reader):
    reader.open(f"feature?id={FEATURE}&snapshot=000002")
    reader.find(".ex .one")
    before = len(reader.driver.find_elements("css selector", ".ex .one:first-of-type .text"))
    reader.driver.execute_script("window.stillHere = true")
    reader.click(".ex .switch button", "whole")
    assert reader.find(".ex.whole")
    assert reader.driver.execute_script("return window.stillHere")
    row = reader.find(".ex .one")
    assert len(row.find_elements("css selector", ".text span")) == 8
    assert before >= 1


def test_back_and_forward_go_through_the_pages(reader):
    reader.open(f"feature?id={FEATURE}&snapshot=000002")
    reader.driver.execute_script("window.stillHere = true")
    reader.click(".crumbs a", "next")
    reader.see("token after “ cat”")
    reader.click(".headbar a", "L1H0")
    reader.see("Layer 1, head 0")
    reader.driver.back()
    reader.see("Raises the logits of")
    assert "id=toy/1-t/1" in reader.url
    reader.driver.back()
    reader.see("predicts “ board” by induction")
    reader.driver.forward()
    reader.see("toy/1-t/1")
    assert reader.driver.execute_script("return window.stillHere")  # one load for all of it


def test_the_jump_box_takes_short_forms(reader):
    reader.open("runs?snapshot=000002")
    reader.search("input[aria-label='Jump to an id']", "1.1")
    reader.see("Layer 1, head 1")
    assert "head?id=toy/L1H1" in reader.url
    reader.driver.back()
    reader.see("Runs")  # and not back into the jump


def test_a_role_is_claimed_with_two_pieces_of_evidence(reader):
    reader.open(f"feature?id={FEATURE}&snapshot=000002")
    reader.click(".headbar a", "L1H1")
    reader.see("Nobody has said what this head does")
    reader.fill("Your name", "Ada")
    reader.click("summary", "Claim a role")
    reader.fill("In your words", "It copies what followed the last time.")
    reader.choose("Evidence: features that show it", "predicts")
    reader.choose("Evidence: features that show it", "near")
    reader.find("input[aria-label='What it shows'][placeholder='3']")
    fields = reader.driver.find_elements("css selector", "input[aria-label='What it shows']")
    for field, words in zip(fields, ("board again", "also mat"), strict=True):
        field.send_keys(words)
    reader.press("Claim this role")
    reader.see("It copies what followed the last time.")
    reader.see("toy/1-t/0: board again")
    reader.see("toy/1-t/3: also mat")
    reader.driver.refresh()
    reader.see("also mat")
    assert reader.find("input[aria-label='Your name']").get_attribute("value") == "Ada"


def test_what_was_chosen_on_a_head_becomes_evidence_for_a_role(reader):
    reader.open("head?id=toy/L1H0&snapshot=000002")
    reader.driver.execute_script("localStorage.clear()")
    for name in ("toy/1-t/1", "toy/1-t/2"):
        reader.click(f"input[data-pick='{name}']")
    reader.click(".atlas-tray a", "as evidence for a role")
    reader.find("input[aria-label='What it shows'][placeholder='2']")
    assert "evidence=toy/1-t/1,toy/1-t/2" in reader.url
    reader.fill("Your name", "Ada")
    reader.fill("In your words", "It looks one back.")
    reader.press("Claim this role")
    reader.see("It looks one back.")
    reader.see("toy/1-t/2 in 000002")
    reader._until(lambda: "evidence" not in reader.url, "a form without what was used")
    reader.driver.execute_script("localStorage.clear()")


def test_a_feature_leads_to_a_claim_with_itself_as_evidence(reader):
    reader.open(f"feature?id={FEATURE}&snapshot=000002")
    reader.click("h3 a", "claim a role of L1H1")
    reader.find("input[aria-label='What it shows'][placeholder='0']")


def test_two_heads_are_compared(reader):
    reader.open(f"head?id={HEAD}&snapshot=000002")
    reader.click(".crumbs a", "compare")
    reader.search("input[data-name=b]", "1.0")
    reader.see("Features of both")
    assert "a=toy/L1H1" in reader.url
    assert "b=1.0" in reader.url
    reader.see("Strongest features of 1.0")


def test_a_cookbook_query_is_run_and_its_permalink_opened_by_another(reader, site):
    from tests.browser.chrome import browser
    from tests.browser.reader import Reader

    reader.open("sql?snapshot=000002")
    reader.click("a", "Features of a head")
    reader.see("$layer")
    field = reader.find("input[data-name=p_layer]")
    field.clear()
    field.send_keys("1")
    reader.click("form.sql button", "Run")
    reader.see("snapshot 000002")
    reader.see("“ the”")
    with browser() as other:
        second = Reader(other, site)
        second.open(reader.url)
        second.see("“ the”")
        assert second.find("input[data-name=p_layer]").get_attribute("value") == "1"
        assert second.url == reader.url


def test_a_permalink_of_an_older_snapshot_shows_that_one_and_leads_to_the_newest(reader):
    reader.open(f"feature?id={FEATURE}&snapshot=000001")
    reader.see("This is snapshot 000001")
    reader.see("run-1")
    reader.click(".notice a", "this page in 000002")
    reader.see("run-2")
    assert "snapshot=000002" in reader.url
    reader.open("search?snapshot=000077")
    reader.see("No snapshot 000077")
    reader.see("this page in 000002")


def test_a_page_without_a_snapshot_gets_its_name(reader):
    reader.open(f"feature?id={FEATURE}")
    reader._until(lambda: "snapshot=000002" in reader.url, "the snapshot in the URL")


def test_a_search_is_narrowed_by_its_facets_and_filters(reader):
    reader.open("search?snapshot=000002")
    reader.click(".facet a", "L1H1")
    reader.see("head: 1")
    field = reader.find("input[data-name=head_min]")
    field.clear()
    field.send_keys("0.9")
    reader.click(".facet button", "Apply")
    reader.see("1 feature")
    assert "head_min=0.9" in reader.url
    reader.click("a.chip", "head min: 0.9")
    reader.see("4 features")


@pytest.mark.parametrize(
    "page", ["", "search", "heads", "compare", "sql", "pairs", "runs", "notes"]
)
def test_no_page_makes_the_browser_complain(reader, page):
    reader.open(f"{page}?snapshot=000002")
    assert reader.complaints() == []
