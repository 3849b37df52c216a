"""Writing, editing, removing and undoing notes, and what is refused."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from atlas.errors import Conflict, NotesError, NotFound
from atlas.note_types import (
    Collection,
    Comment,
    HumanLabel,
    Member,
    RoleClaim,
    RoleEvidence,
    SavedQuery,
    Tag,
    Vote,
)
from atlas.store.notes import Notes

HEAD, FEATURE = "gpt2/L5H1", "gpt2/5-att-kk/7"
CLAIM = RoleClaim(
    HEAD,
    "induction",
    "copies what came after",
    dataset="openwebtext",
    confidence=0.75,
    evidence=(
        RoleEvidence("example", FEATURE, "top/3", "fires on the second “Mexico”", "000004"),
        RoleEvidence("metric", HEAD, "previous_token", "low"),
        RoleEvidence("target", "gpt2/L4H11", sentence="feeds it"),
    ),
)
QUERY = SavedQuery("dense", "SELECT $n", "sql", {"n": 5, "flag": True, "who": None}, "densest")
EVERY_KIND = [
    Tag(HEAD, "copying"),
    CLAIM,
    HumanLabel(FEATURE, "board is next"),
    Comment("gpt2", "line one\nline two"),
    Collection("mine", "for the paper", (Member(FEATURE, "clear"), Member(HEAD))),
    QUERY,
]


@pytest.mark.parametrize("content", EVERY_KIND, ids=lambda content: type(content).__name__)
def test_a_note_reads_as_it_was_written(notes, content):
    note = notes.add(content, "ann")
    assert notes.get(note.id) == note
    assert (note.content, note.author, note.version) == (content, "ann", 1)


def test_everything_on_a_head_comes_together(notes):
    claim = notes.add(CLAIM, "ann")
    notes.add(Vote(claim.id, "dispute", "only on repeats"), "bob")
    notes.add(Vote(claim.id, "agree"), "cid")
    notes.add(Tag(HEAD, "copying"), "bob")
    notes.add(Comment(HEAD, "see 5.5 too"), "bob")
    listed = notes.add(Collection("mine", members=(Member(HEAD),)), "ann")
    notes.add(Comment("gpt2/L5H2", "elsewhere"), "bob")
    found = notes.on(HEAD)
    assert found.claims[0].note == claim
    assert (found.claims[0].agree, found.claims[0].dispute) == (1, 1)
    assert [tag.content.name for tag in found.tags] == ["copying"]
    assert [comment.content.text for comment in found.comments] == ["see 5.5 too"]
    assert found.collections == (listed,)


def test_the_second_of_two_edits_of_one_version_is_a_conflict_and_both_stay_readable(notes):
    label = notes.add(HumanLabel(FEATURE, "board"), "ann")
    anns = notes.edit(label.id, replace(label.content, text="next: board"), "ann", label.version)
    with pytest.raises(Conflict, match="ann changed this human label .* version 2") as caught:
        notes.edit(label.id, replace(label.content, text="board members"), "bob", label.version)
    assert caught.value.theirs == anns
    assert caught.value.yours.text == "board members"
    assert notes.get(label.id).content.text == "next: board"


def test_an_edit_of_what_somebody_removed_is_a_conflict_that_keeps_the_words(notes):
    label = notes.add(HumanLabel(FEATURE, "board"), "ann")
    notes.remove(label.id, "bob", 1)
    with pytest.raises(Conflict, match="bob removed this human label") as caught:
        notes.edit(label.id, HumanLabel(FEATURE, "board is next"), "ann", 1)
    assert caught.value.theirs is None
    assert caught.value.yours == HumanLabel(FEATURE, "board is next")


def test_a_note_that_is_refused_leaves_no_trace(notes):
    with pytest.raises(NotesError, match="control character"):
        notes.add(Comment(HEAD, "a\x00b"), "ann")
    with pytest.raises(NotFound, match="no note"):
        notes.add(Vote("0" * 32, "agree"), "ann")
    assert notes.stamp() == 0
    assert notes.recent() == ()


def test_history_says_who_when_before_and_after(notes):
    label = notes.add(HumanLabel(FEATURE, "board"), "ann")
    better = replace(label.content, text="board is next")
    notes.edit(label.id, better, "bob", 1)
    notes.remove(label.id, "cid", 2)
    steps = notes.history(label.id)
    assert [(s.version, s.action, s.author) for s in steps] == [
        (1, "add", "ann"),
        (2, "edit", "bob"),
        (3, "remove", "cid"),
    ]
    assert [(s.before, s.after) for s in steps] == [
        (None, label.content),
        (label.content, better),
        (better, None),
    ]
    assert steps[0].changed_at == label.created_at < steps[1].changed_at < steps[2].changed_at
    assert notes.recent(2) == (steps[2], steps[1])
    assert notes.recent(2, before=steps[1].number) == (steps[0],)


def test_what_is_removed_is_gone_from_reading_and_comes_back_by_undo(notes):
    claim = notes.add(CLAIM, "ann")
    notes.remove(claim.id, "bob", 1)
    assert notes.on(HEAD).claims == ()
    assert notes.search("copies") == ()
    with pytest.raises(NotFound, match="bob removed this role claim"):
        notes.get(claim.id)
    assert notes.undo(claim.id, "ann", 2).content == CLAIM
    assert notes.on(HEAD).claims[0].note.content == CLAIM


def test_undo_takes_an_edit_back_and_undo_again_does_it_again(notes):
    claim = notes.add(CLAIM, "ann")
    surer = replace(CLAIM, confidence=0.9, evidence=CLAIM.evidence[:1])
    notes.edit(claim.id, surer, "ann", 1)
    assert notes.undo(claim.id, "ann", 2).content == CLAIM
    assert notes.undo(claim.id, "ann", 3).content == surer


def test_undo_of_the_first_writing_removes_the_note(notes):
    comment = notes.add(Comment(HEAD, "oops"), "ann")
    assert notes.undo(comment.id, "ann", 1) is None
    assert notes.on(HEAD).comments == ()
    assert [step.action for step in notes.history(comment.id)] == ["add", "undo"]


def test_an_undo_of_what_somebody_changed_since_is_a_conflict(notes):
    claim = notes.add(CLAIM, "ann")
    notes.edit(claim.id, replace(CLAIM, status="confirmed"), "bob", 1)
    with pytest.raises(Conflict, match="bob changed"):
        notes.undo(claim.id, "ann", 1)


def test_an_edit_that_says_the_same_changes_nothing(notes):
    claim = notes.add(CLAIM, "ann")
    assert notes.edit(claim.id, CLAIM, "bob", 1) == claim
    assert len(notes.history(claim.id)) == 1


def test_the_same_tag_twice_is_one_tag_and_comes_back_after_removal(notes):
    first = notes.add(Tag(HEAD, "copying"), "ann")
    assert notes.add(Tag(HEAD, " copying "), "ann") == first
    notes.remove(first.id, "ann", 1)
    assert notes.tagged("copying") == ()
    assert notes.add(Tag(HEAD, "copying"), "ann").version == 3
    assert notes.tagged("copying") == (HEAD,)


def test_tags_are_counted_by_target_not_by_author(notes):
    for author in ("ann", "bob"):
        notes.add(Tag(HEAD, "copying"), author)
    notes.add(Tag(FEATURE, "copying"), "bob")
    notes.add(Tag(FEATURE, "odd"), "bob")
    assert [(use.name, use.targets) for use in notes.tags_in_use()] == [("copying", 2), ("odd", 1)]
    assert notes.tagged("copying") == (FEATURE, HEAD)


def test_a_person_has_one_vote_and_may_change_it(notes):
    label = notes.add(HumanLabel(FEATURE, "board"), "ann")
    notes.add(Vote(label.id, "agree"), "bob")
    changed = notes.add(Vote(label.id, "dispute", "no"), "bob")
    judged = notes.on(FEATURE).labels[0]
    assert judged.votes == (changed,)
    assert (judged.agree, judged.dispute) == (0, 1)


def test_nobody_changes_another_persons_vote_or_comment(notes):
    label = notes.add(HumanLabel(FEATURE, "board"), "ann")
    vote = notes.add(Vote(label.id, "agree"), "bob")
    comment = notes.add(Comment(FEATURE, "nice"), "bob")
    with pytest.raises(NotesError, match="this vote is bob's own"):
        notes.remove(vote.id, "ann", 1)
    with pytest.raises(NotesError, match="this comment is bob's own"):
        notes.edit(comment.id, Comment(FEATURE, "ugly"), "ann", 1)


def test_only_claims_and_labels_that_are_there_are_voted_on(notes):
    comment = notes.add(Comment(HEAD, "hm"), "ann")
    with pytest.raises(NotesError, match="only role claims and labels"):
        notes.add(Vote(comment.id, "agree"), "bob")
    with pytest.raises(NotFound, match="no note"):
        notes.add(Vote("0" * 32, "agree"), "bob")


def test_a_saved_query_can_be_evidence_but_only_one_that_is_there(notes):
    query = notes.add(QUERY, "ann")
    claim = replace(CLAIM, evidence=(RoleEvidence("query", ref=query.id, sentence="top of it"),))
    assert notes.add(claim, "ann").content == claim
    with pytest.raises(NotFound, match="no note"):
        notes.add(replace(claim, evidence=(RoleEvidence("query", ref="0" * 32),)), "ann")


def test_collecting_adds_at_the_end_without_a_version_and_never_twice(notes):
    listed = notes.add(Collection("mine", members=(Member(FEATURE),)), "ann")
    notes.collect(listed.id, [Member(HEAD), Member(FEATURE), Member("gpt2/L0H0", "odd")], "bob")
    again = notes.collect(listed.id, [Member(HEAD)], "cid")
    assert [m.target for m in again.content.members] == [FEATURE, HEAD, "gpt2/L0H0"]
    assert again.version == 2
    turned = replace(again.content, members=again.content.members[::-1])
    assert notes.edit(listed.id, turned, "ann", 2).content == turned


def test_the_best_supported_title_is_the_features_title(notes):
    first = notes.add(HumanLabel(FEATURE, "first"), "ann")
    notes.add(HumanLabel(FEATURE, "second"), "bob")
    notes.add(HumanLabel(FEATURE, "not a title", "says"), "bob")
    assert notes.titles([FEATURE, HEAD])[FEATURE].content.text == "second"
    notes.add(Vote(first.id, "agree"), "cid")
    assert notes.titles([FEATURE])[FEATURE].content.text == "first"


def test_a_note_stays_on_its_subject_and_of_its_kind(notes):
    label = notes.add(HumanLabel(FEATURE, "board"), "ann")
    with pytest.raises(NotesError, match="stays on what it is about"):
        notes.edit(label.id, replace(label.content, target="gpt2/5-att-kk/8"), "ann", 1)
    with pytest.raises(NotesError, match="cannot become a comment"):
        notes.edit(label.id, Comment(FEATURE, "x"), "ann", 1)


def test_search_finds_all_words_in_any_case_and_takes_signs_literally(notes):
    label = notes.add(HumanLabel(FEATURE, "ÉTÉ 100%_sure after board"), "ann")
    notes.add(HumanLabel(FEATURE, "100 of them"), "ann")
    listed = notes.add(Collection("Board games", members=(Member(HEAD), Member(FEATURE))), "bob")
    assert [hit.note for hit in notes.search("été BOARD")] == [label.id]
    assert [hit.note for hit in notes.search("0%_s")] == [label.id]
    hits = notes.search("board")
    assert [(hit.note, hit.targets) for hit in hits] == [
        (listed.id, (HEAD, FEATURE)),
        (label.id, (FEATURE,)),
    ]
    assert hits[1].text == "ÉTÉ 100%_sure after board"
    assert notes.search("  ") == ()


def test_a_vote_is_found_by_its_reason_and_points_to_the_target(notes):
    label = notes.add(HumanLabel(FEATURE, "board"), "ann")
    notes.add(Vote(label.id, "dispute", "fires on planks"), "bob")
    assert [hit.targets for hit in notes.search("planks")] == [(FEATURE,)]


def test_carriage_returns_of_web_forms_become_newlines_and_short_ids_full(notes):
    note = notes.add(Comment(" gpt2/L05H01 ", " a\r\nb\tc "), " ann ")
    assert note.content == Comment(HEAD, "a\nb\tc")
    assert note.author == "ann"


def test_notes_that_are_only_read_take_no_change(tmp_path):
    with Notes.open(tmp_path / "notes.sqlite") as notes:
        tag = notes.add(Tag("gpt2", "mine"), "ann")
    with Notes.open(tmp_path / "notes.sqlite", read_only=True) as notes:
        assert notes.get(tag.id) == tag
        with pytest.raises(NotesError, match="only read here"):
            notes.add(Tag("gpt2", "more"), "ann")


def test_a_note_that_was_changed_behind_its_history_is_found(tmp_path):
    with Notes.open(tmp_path / "notes.sqlite") as notes:
        tag, label = (
            notes.add(Tag("gpt2", "x"), "ann"),
            notes.add(HumanLabel(FEATURE, "one"), "ann"),
        )
        notes.edit(label.id, replace(label.content, text="two"), "ann", 1)
        notes.remove(label.id, "ann", 2)
        assert notes.contradictions() == ()
    with closing(sqlite3.connect(tmp_path / "notes.sqlite")) as file:
        file.execute("UPDATE tag SET name = 'y'")
        file.commit()
    with Notes.open(tmp_path / "notes.sqlite") as notes:
        assert notes.contradictions() == (tag.id,)
