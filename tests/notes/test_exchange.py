"""Exporting all notes and taking exports in: nothing lost, nothing twice, nothing overwritten."""

import json
from dataclasses import replace

import pytest

from atlas.errors import NotesError
from atlas.note_types import Collection, Comment, HumanLabel, Imported, Member, Tag, Vote
from tests.notes.test_notes import CLAIM, EVERY_KIND, FEATURE, HEAD


def fill(notes):
    """Every kind of note, and every kind of change."""
    for content in EVERY_KIND:
        notes.add(content, "ann")
    claim = notes.add(CLAIM, "bob")
    notes.add(Vote(claim.id, "agree", "“yes”\n\tindeed"), "cid")
    notes.edit(claim.id, replace(CLAIM, confidence=0.1 + 0.2), "ann", 1)
    notes.undo(claim.id, "bob", 2)
    gone = notes.add(Comment(HEAD, "gone"), "ann")
    notes.remove(gone.id, "ann", 1)
    return claim


def test_an_export_into_an_empty_store_exports_the_same_bytes(notes, other):
    fill(notes)
    text = notes.export()
    assert other.import_(text) == Imported(added=9, extended=0, copied=0, merged=0, known=0)
    assert other.export() == text
    assert other.on(HEAD).claims == notes.on(HEAD).claims
    for name, table in notes.as_tables().items():
        drop = ["number"] if name == "history" else []
        theirs = other.as_tables()[name].drop_columns(drop)
        mine = table.drop_columns(drop)
        assert sorted(theirs.to_pylist(), key=repr) == sorted(mine.to_pylist(), key=repr), name


def test_the_same_import_twice_changes_nothing(notes, other):
    fill(notes)
    other.import_(notes.export())
    before = other.stamp()
    assert other.import_(notes.export()).known == 9
    assert other.stamp() == before


def test_what_went_on_elsewhere_is_added_and_what_went_on_here_stays(notes, other):
    claim = notes.add(CLAIM, "ann")
    other.import_(notes.export())
    other.edit(claim.id, replace(CLAIM, words="further"), "bob", 1)
    assert notes.import_(other.export()) == Imported(0, 1, 0, 0, 0)
    assert notes.get(claim.id).content.words == "further"
    notes.edit(claim.id, replace(CLAIM, words="and further"), "ann", 2)
    assert notes.import_(other.export()) == Imported(0, 0, 0, 0, 1)
    assert notes.get(claim.id).content.words == "and further"


def test_where_both_sides_went_on_both_words_stand_side_by_side(notes, other):
    label = notes.add(HumanLabel(FEATURE, "board"), "ann")
    other.import_(notes.export())
    notes.edit(label.id, HumanLabel(FEATURE, "ours"), "ann", 1)
    other.edit(label.id, HumanLabel(FEATURE, "theirs"), "bob", 1)
    assert notes.import_(other.export()).copied == 1
    assert {one.note.content.text for one in notes.on(FEATURE).labels} == {"ours", "theirs"}
    assert notes.get(label.id).content.text == "ours"
    stamp = notes.stamp()
    assert notes.import_(other.export()).known == 1
    assert notes.stamp() == stamp


def test_their_branch_goes_on_in_its_copy(notes, other):
    label = notes.add(HumanLabel(FEATURE, "board"), "ann")
    other.import_(notes.export())
    notes.edit(label.id, HumanLabel(FEATURE, "ours"), "ann", 1)
    other.edit(label.id, HumanLabel(FEATURE, "theirs"), "bob", 1)
    notes.import_(other.export())
    other.edit(label.id, HumanLabel(FEATURE, "theirs, better"), "bob", 2)
    assert notes.import_(other.export()).extended == 1
    texts = {one.note.content.text for one in notes.on(FEATURE).labels}
    assert texts == {"ours", "theirs, better"}


def test_of_two_votes_of_one_person_the_later_holds_and_both_are_in_the_history(notes, other):
    label = notes.add(HumanLabel(FEATURE, "board"), "ann")
    other.import_(notes.export())
    vote = notes.add(Vote(label.id, "agree", "here"), "bob")
    other.add(Vote(label.id, "dispute", "there"), "bob")  # the other store's clock is later
    assert notes.import_(other.export()).merged == 1
    assert other.import_(notes.export()).merged == 0  # it has the later one, and knows ours now
    for store in (notes, other):
        assert [v.content.reason for v in store.on(FEATURE).labels[0].votes] == ["there"]
    reasons = [step.after.reason for step in notes.history(vote.id)]
    assert reasons == ["here", "there"]
    stamp = notes.stamp()
    assert notes.import_(other.export()).merged == 0
    assert notes.stamp() == stamp


def test_the_same_tag_given_in_two_stores_stays_one_tag(notes, other):
    notes.add(Tag(HEAD, "copying"), "ann")
    other.add(Tag(HEAD, "copying"), "ann")
    notes.import_(other.export())
    assert len(notes.on(HEAD).tags) == 1


def test_an_export_is_readable_line_by_line(notes):
    notes.add(Collection("mine", members=(Member(HEAD, "clear"),)), "ann")
    header, line = map(json.loads, notes.export().splitlines())
    assert header == {"format": "feature-atlas notes", "version": 1}
    assert line["kind"] == "collection"
    assert line["history"][0] == {
        "action": "add",
        "author": "ann",
        "at": "2026-05-06T07:08:10.000000Z",
        "after": {
            "name": "mine",
            "description": "",
            "members": [{"target": HEAD, "sentence": "clear"}],
        },
    }


def _changed(text, **changes):
    """The second line of an export with parts of its first step replaced."""
    header, line = text.splitlines()[:2]
    content = json.loads(line)
    content["history"][0] |= changes
    return f"{header}\n{json.dumps(content)}\n"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: "", "no export"),
        (lambda _: "name,target\n", "no export"),
        (lambda text: text.replace('"version":1', '"version":2', 1), "has version 2"),
        (lambda text: text[:-20], "line 2 is not JSON"),
        (lambda text: text + text.splitlines()[1], "line 3: note .* is there twice"),
        (lambda text: _changed(text, after={"target": HEAD}), "line 2: not a comment"),
        (lambda text: _changed(text, after={"target": HEAD, "text": ""}), "line 2: .* is empty"),
        (lambda text: _changed(text, after={"target": "?", "text": "x"}), "line 2: not an id"),
        (lambda text: _changed(text, after=None), "removes what is not there"),
        (lambda text: _changed(text, author=""), "line 2: author is empty"),
        (lambda text: _changed(text, action="erase"), "unknown action"),
        (lambda text: _changed(text, at="yesterday"), "line 2"),
        (lambda text: _changed(text, at="2026-01-01T00:00:00"), "without zone"),
        (lambda text: text.replace('"kind":"comment"', '"kind":"poem"'), "unknown kind"),
    ],
)
def test_what_is_no_sound_export_is_refused_by_line_and_nothing_is_written(
    tmp_path, damage, message
):
    from atlas.store.notes import Notes

    with Notes.open(tmp_path / "a.sqlite") as notes, Notes.open(tmp_path / "b.sqlite") as other:
        notes.add(Comment(HEAD, "first"), "ann")
        with pytest.raises(NotesError, match=message):
            other.import_(damage(notes.export()))
        assert other.stamp() == 0


def test_an_import_is_all_or_nothing(notes, other):
    label = notes.add(HumanLabel(FEATURE, "board"), "ann")
    notes.add(Comment(HEAD, "sound"), "ann")
    notes.add(Vote(label.id, "agree"), "bob")
    lines = [line for line in notes.export().splitlines() if '"kind":"human_label"' not in line]
    with pytest.raises(NotesError, match="which is not there"):
        other.import_("\n".join(lines))
    assert other.on(HEAD).comments == ()
    assert other.stamp() == 0
