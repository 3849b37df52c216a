"""Whatever stands in tokens, labels, documents and notes is shown, and does nothing."""

from html.parser import HTMLParser

import pyarrow as pa
import pytest

from atlas.api import Atlas
from atlas.ids import parse
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
from atlas.store.publish import publish
from tests.builders import CONTEXTS, TITLES, WORDS, a_bundle
from tests.web.conftest import page
from tests.web.test_pages import EVERY

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</style><b>",
    "$x^2$ \\(y\\)",
    ":red[hot] **bold** [link](javascript:alert(1))",
    "`code` {0} {evil} %s",
    "«mark»",
    "\u202eright to left",
    "nul\x00nul",
    "</textarea><script>alert(2)</script>",
    "&lt;b&gt;&amp;",
]
SAFE = [text.replace("\x00", "") for text in EVIL]
"""Notes refuse control characters."""
ALL = " ".join(SAFE)
TAGS = {
    "a", "aside", "b", "br", "button", "code", "dd", "details", "div", "dl", "dt", "form", "h1",
    "h2", "h3", "i", "input", "kbd", "label", "li", "mark", "nav", "option", "p", "pre", "select",
    "span", "summary", "table", "td", "textarea", "th", "tr", "ul",
}  # fmt: skip
"""Every element that our pages are made of."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Hostile words, titles, families and documents; hostile notes on everything."""
    folder = tmp_path_factory.mktemp("hostile")
    words = [WORDS[0], *(EVIL * 2)[: len(WORDS) - 1]]
    n = len(TITLES) * 4 * 2
    bundle = a_bundle(
        folder / "bundle",
        vocab={"text": words},
        label={"text": (EVIL * n)[:n], "method": [ALL] * n},
        context={"doc": EVIL[: len(CONTEXTS)], "source": EVIL[-len(CONTEXTS) :]},
        model={"name": [ALL], "family": [EVIL[0]]},
        feature={"family": (EVIL * 2)[:12]},
    )
    publish(folder / "store", [bundle.path])
    notes = Atlas.open(folder / "store").notes
    for target in ("toy/1-t/0", "toy/L1H1", "toy/1-t", "toy"):
        notes.add(Comment(target, ALL), "<i>ada</i>")
        notes.add(Tag(target, ALL[:150]), "<i>ada</i>")
    label = notes.add(HumanLabel("toy/1-t/0", ALL), "<i>ada</i>")
    notes.add(Vote(label.id, "dispute", ALL), "<i>bob</i>")
    query = notes.add(
        SavedQuery(ALL[:150], f"SELECT '{ALL}'".replace("''", ""), description=ALL), "a"
    )
    link = RoleEvidence("example", "toy/1-t/0", "top/0", ALL, '"><script>')
    asked = RoleEvidence("query", "", query.id, ALL)
    claim = RoleClaim("toy/L1H1", "other", ALL, ALL[:150], ALL[:150], evidence=(link, asked))
    notes.add(claim, "<i>ada</i>")
    notes.add(Collection(ALL[:150], ALL, (Member("toy/1-t/0", ALL),)), "<i>ada</i>")
    return folder / "store"


class _Judge(HTMLParser):
    """Keeps the texts, and refuses every tag and attribute that we do not write ourselves."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS, (tag, attrs)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name == "href":
                assert ":" not in (value or "").split("?")[0] or value.startswith("http://127"), (
                    value
                )

    def handle_data(self, data):
        self.texts.append(data)


def judged(test):
    """The texts of a page, after every element of it was judged."""
    assert not test.exception, test.exception[0].stack_trace
    judge = _Judge()
    for element in test.get("html"):
        body = element.proto.body
        assert "\x00" not in body
        if not body.startswith("<style>"):
            judge.feed(body)
    judge.close()
    return "".join(judge.texts)


MORE = [
    ("search", {"text": "alert"}),
    ("search", {"text": '"><img src=x onerror=alert(1)>'.replace('"', "")}),
    ("pairs", {"dst": EVIL[0]}),
    ("jump", {"q": ALL}),
    ("compare", {"a": ALL, "b": ALL}),
    ("sql", {"query": f"SELECT $x, '{EVIL[0]}' AS \"<script>\"", "p_x": EVIL[1]}),
    ("sql", {"query": EVIL[10]}),
    ("search", {"layer": EVIL[0]}),
    ("search", {"tag": ALL[:150]}),
    ("search", {EVIL[0]: "1"}),
    ("feature", {"id": EVIL[1]}),
    ("feature", {"id": "toy/1-t/0", "snapshot": EVIL[0]}),
]


@pytest.mark.parametrize(("name", "parameters"), [*EVERY.items(), *MORE])
def test_no_page_obeys_its_data(store, name, parameters):
    test = page(store, name, **parameters)
    judged(test)
    spoken = [one.value for one in (*test.markdown, *test.caption, *test.error, *test.warning)]
    assert spoken == []  # Markdown would be obeyed; we use none


def test_what_is_hostile_is_shown_as_it_is(store):
    texts = judged(page(store, "feature", id="toy/1-t/0"))
    for evil in SAFE:
        shown = evil.replace("\u202e", "⟨U+202E⟩")
        assert shown in texts, evil
    assert "nul␀nul" in texts


def test_labels_of_fields_are_never_data(store):
    """Streamlit reads the labels of its fields and buttons as Markdown."""
    for name in ("feature", "head", "collections", "notes"):
        test = page(store, name, **EVERY[name])
        fields = (
            *test.text_input,
            *test.text_area,
            *test.selectbox,
            *test.multiselect,
            *test.button,
        )
        assert fields
        assert not [one.label for one in fields if set(one.label) & set("<$[*`«")]


def test_ids_cannot_be_hostile():
    from atlas.errors import NotFound

    for evil in EVIL:
        with pytest.raises(NotFound):
            parse(evil)


def test_the_bundle_is_as_hostile_as_it_looks(store):
    assert Atlas.open(store).vocab("toy")[1] == EVIL[0]
    assert pa.scalar(EVIL[9]).as_py() == "nul\x00nul"
