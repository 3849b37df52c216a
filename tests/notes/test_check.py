"""What a note may not say: refused by name, with the way out, before any database is asked."""

from dataclasses import replace

import pytest

from atlas.errors import NotesError, NotFound
from atlas.note_types import (
    ROLES,
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
from atlas.store.notes_check import author_name, checked

HEAD, FEATURE = "gpt2/L5H1", "gpt2/5-att-kk/7"
CLAIM = RoleClaim(HEAD, "induction")
QUERY = SavedQuery("dense", "SELECT 1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Tag(HEAD, " "), "tag is empty|name is empty"),
        (Tag("not an id at all", "x"), "not an id"),
        (Tag(HEAD, "two\nlines"), "must be one line"),
        (Comment(HEAD, "a\x00b"), r"control character U\+0000"),
        (Comment(HEAD, "a\x1b[2Jb"), r"control character U\+001B"),
        (Comment(HEAD, "a\ud800b"), r"control character U\+D800"),
        (Comment(HEAD, "x" * 20_001), "20001 characters"),
        (replace(CLAIM, target=FEATURE), "wrong kind.*head"),
        (HumanLabel(HEAD, "x"), "wrong kind.*feature"),
        (replace(CLAIM, role="indcution"), "unknown role 'indcution'.*induction"),
        (replace(CLAIM, role="other", words=""), "say it in words"),
        (replace(CLAIM, confidence=1.5), "out of range: 1.5"),
        (replace(CLAIM, confidence=float("nan")), "out of range: nan"),
        (replace(CLAIM, confidence=True), "must be a number"),
        (replace(CLAIM, status="maybe"), "unknown status"),
        (replace(CLAIM, evidence=(RoleEvidence("example", HEAD, "top/1"),)), "wrong kind.*feature"),
        (replace(CLAIM, evidence=(RoleEvidence("metric", HEAD),)), "reference is empty"),
        (replace(CLAIM, evidence=(RoleEvidence("query", ref="7"),)), "not the id of a note"),
        (replace(QUERY, parameters={"a b": 1}), "not a parameter name"),
        (replace(QUERY, parameters={"a": float("inf")}), "not finite"),
        (replace(QUERY, parameters={"a": [1]}), "no plain value"),
        (replace(QUERY, form="python"), "unknown form"),
        (Collection("c", members=tuple(Member(HEAD) for _ in range(10_001))), "10000 members"),
        (Vote("0" * 32, "maybe"), "unknown vote"),
    ],
)
def test_what_a_note_may_not_say_is_refused(content, message):
    with pytest.raises((NotesError, NotFound), match=message):
        checked(content)


@pytest.mark.parametrize("author", ["", "  ", "x" * 81, "a\nb", "a\x07", None])
def test_an_author_has_a_plain_name(author):
    with pytest.raises(NotesError, match="author"):
        author_name(author)


def test_every_role_of_the_vocabulary_may_be_claimed():
    for role in ROLES:
        assert checked(RoleClaim(HEAD, role, words="so")).role == role
