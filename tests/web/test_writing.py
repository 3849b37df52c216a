"""Writing notes on pages: forms, votes, claims with evidence, refusals that keep the words."""

import pytest

from atlas.api import Atlas
from atlas.note_types import Collection, Comment, HumanLabel, RoleClaim, SavedQuery, Tag
from tests.web.conftest import page, seen

FEATURE, HEAD = "toy/1-t/0", "toy/L1H1"


def field(test, label):
    """The one field of that label."""
    (found,) = [
        one
        for kind in ("text_input", "text_area", "selectbox", "multiselect", "slider")
        for one in getattr(test, kind)
        if one.label == label
    ]
    return found


def press(test, label, seconds=20):
    (found,) = [one for one in test.button if one.label == label]
    return found.click().run(timeout=seconds)


def signed(test, name="ada"):
    field(test, "Your name").input(name)
    return test


def test_a_label_is_written_shown_and_voted_on(own):
    test = signed(page(own, "feature", id=FEATURE))
    field(test, "New label").input("board by induction")
    html = seen(press(test, "Label"))
    assert "board by induction" in html
    (note,) = Atlas.open(own).notes.every(HumanLabel)
    assert (note.author, note.content.target, note.content.side) == ("ada", FEATURE, "title")
    field(test, "Why (may be left out)").input("seen it")
    html = seen(press(test, "Agree"))
    assert "<li>ada agrees: seen it</li>" in html
    press(test, "Take my vote back")
    (judged,) = Atlas.open(own).notes.judged(HumanLabel)
    assert judged.votes == ()


def test_a_person_stands_for_the_title_of_a_machine_and_others_vote_on_it(own):
    test = signed(page(own, "feature", id=FEATURE))
    html = seen(press(test, "Confirm the machine's title"))
    (note,) = Atlas.open(own).notes.every(HumanLabel)
    assert note.content.text == "predicts “ board” by induction"
    assert "0 agree, 0 dispute" in "".join(one.proto.popover.label for one in test.get("popover"))
    assert "ada" in html
    assert "Confirm the machine's title" not in [one.label for one in test.button]


def test_without_a_name_nothing_is_written_and_the_words_stay(own):
    test = page(own, "feature", id=FEATURE)
    field(test, "New comment").input("a thought")
    test = press(test, "Comment")
    assert "No name given" in seen(test)
    assert field(test, "New comment").value == "a thought"
    test = press(signed(test), "Comment")
    assert [note.content.text for note in Atlas.open(own).notes.every(Comment)] == ["a thought"]
    assert field(test, "New comment").value == ""


def test_a_refused_note_is_a_message_beside_the_page(own):
    test = signed(page(own, "feature", id=FEATURE))
    field(test, "New tag").input("two\nlines")
    html = seen(press(test, "Tag"))
    assert "Tag must be one line" in html
    assert "Provenance" in html
    assert Atlas.open(own).notes.every(Tag) == ()


def test_a_claim_is_made_with_two_pieces_of_evidence(own):
    test = signed(page(own, "head", id=HEAD))
    field(test, "Role").select("induction")
    field(test, "In your words").input("copies what followed")
    field(test, "Evidence: features that show it").set_value([FEATURE, "1-t/3"])
    test.run(timeout=20)
    field(test, "What of feature 0").select("top/1")
    test.run(timeout=20)
    for one in test.text_input:
        if one.label == "What it shows":
            one.input(f"shown by {one.placeholder}")
    html = seen(press(test, "Claim this role"))
    (note,) = Atlas.open(own).notes.every(RoleClaim)
    first, second = note.content.evidence
    assert (first.kind, first.target, first.ref) == ("example", FEATURE, "top/1")
    assert (second.kind, second.target) == ("target", "toy/1-t/3")
    assert (first.sentence, first.snapshot) == ("shown by 0", "000001")
    assert "copies what followed" in html
    assert "shown by 3" in html
    assert ">induction</span>" in seen(page(own, "heads"))


def test_an_id_that_is_none_cannot_be_evidence(own):
    test = signed(page(own, "head", id=HEAD))
    field(test, "Evidence: features that show it").set_value(["the moon"])
    test.run(timeout=20)
    html = seen(press(test, "Claim this role"))
    assert "Not an id" in html
    assert Atlas.open(own).notes.every(RoleClaim) == ()


def test_a_feature_is_put_in_a_collection(own):
    test = signed(page(own, "collections"))
    field(test, "New collection").input("boards")
    press(test, "Make it")
    (note,) = Atlas.open(own).notes.every(Collection)
    test = signed(page(own, "feature", id=FEATURE))
    field(test, "Collection").select(note.id)
    field(test, "Why it belongs there").input("the first")
    press(test, "Put it in")
    (note,) = Atlas.open(own).notes.every(Collection)
    assert note.content.members[0].target == FEATURE
    html = seen(page(own, "collections", id=note.id))
    assert "predicts “ board” by induction" in html
    assert "the first" in html


def test_a_note_is_edited_undone_and_taken_away_on_its_own_page(own):
    notes = Atlas.open(own).notes
    note = notes.add(Comment(FEATURE, "first"), "ada")
    test = signed(page(own, "notes", id=note.id))
    field(test, "Text").input("second")
    press(test, "Save")
    assert notes.get(note.id).content.text == "second"
    press(test, "Undo the last change")
    assert notes.get(note.id).content.text == "first"
    html = seen(press(test, "Take it away"))
    assert "taken away" in html
    assert notes.every(Comment) == ()


def test_a_note_that_changed_meanwhile_is_not_overwritten(own):
    notes = Atlas.open(own).notes
    note = notes.add(HumanLabel(FEATURE, "first"), "ada")
    test = signed(page(own, "notes", id=note.id), "bob")
    notes.edit(note.id, HumanLabel(FEATURE, "theirs"), "ada", 1)
    field(test, "Text").input("mine")
    test = press(test, "Save")
    assert "changed this human label in the meantime" in seen(test)
    assert "theirs" in seen(test)
    assert notes.get(note.id).content.text == "theirs"
    assert field(test, "Text").value == "mine"
    press(test, "Save")
    assert notes.get(note.id).content.text == "mine"


def test_a_query_is_saved_and_opened_again(own):
    test = page(own, "sql", query="SELECT $x AS x", p_x="5")
    signed(test)
    field(test, "Its name").input("five")
    press(test, "Save")
    (note,) = Atlas.open(own).notes.every(SavedQuery)
    assert note.content.parameters == {"x": 5}
    assert "sql?query=SELECT+$x+AS+x&amp;p_x=5&amp;" in seen(page(own, "sql")).replace("%24", "$")


@pytest.mark.parametrize("name", ["notes", "collections"])
def test_where_nobody_wrote_the_page_says_how_to_begin(own, name):
    assert 'class="empty"' in seen(page(own, name))
