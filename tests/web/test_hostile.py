"""Whatever stands in tokens, labels, documents and notes is shown, and does nothing."""

import json
from datetime import datetime
from html.parser import HTMLParser

import pyarrow as pa
import pytest

from atlas import progress
from atlas.api import Atlas
from atlas.bundle import seal, write_table
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
from tests.store.parts import a_part
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
        run_log={"stage": [ALL] * 3, "unit": [ALL] * 3, "message": [ALL] * 3},
    )
    publish(folder / "store", [_said(bundle).path])
    publish(folder / "store", [_a_study(folder / "study").path])
    _a_live_run(folder / "store" / "bundles" / "run-9")
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


def _said(bundle):
    """The bundle with a hostile row of its run."""
    plain, nested = json.dumps({ALL: ALL}), json.dumps({ALL: {ALL: ALL}})
    row = {"device": [ALL], "corpus": [ALL], "positions": [ALL], "versions": [plain]}
    row |= {"config": [nested]}
    write_table(bundle.path, "run", bundle.read("run").to_pydict() | row)
    return seal(bundle.path, bundle.run)


def _a_study(folder):
    """Results whose every text is hostile."""
    config = {"study": ALL, "settings": {ALL: ALL}, "said": [ALL], "samples": {ALL: 1}}
    config |= {"held_out": ALL}
    heads = range(2)
    return a_part(
        folder,
        "study-1",
        run={
            "id": ["study-1"],
            "kind": ["roles"],
            "model": ["toy"],
            "created_at": [datetime(2026, 1, 3)],  # noqa: DTZ001 (stored without zone, UTC)
            "seconds": [1.0],
            "config": [json.dumps(config)],
            "versions": ["{}"],
            "corpus": [ALL],
            "train_tokens": [0],
            "mine_tokens": [10],
        },
        head_role={
            "sae": ["toy/1-t"] * 2,
            "head": list(heads),
            "by": ["measured"] * 2,
            "k": [10] * 2,
            "rank": [0] * 2,
            "role": EVIL[:2],
            "family": EVIL[2:4],
            "words": [SAFE, SAFE],
            "features": [[0, 1], [2]],
            "share": [0.5] * 2,
            "run": ["study-1"] * 2,
        },
        head_role_evidence={
            "sae": ["toy/1-t"],
            "head": [1],
            "by": ["measured"],
            "k": [10],
            "rank": [0],
            "kind": ["target"],
            "target": [ALL],
            "ref": [ALL],
            "sentence": [ALL],
            "run": ["study-1"],
        },
        polysemantic_share={
            "model": ["toy"] * 2,
            "by": EVIL[:2],
            "k": [10] * 2,
            "heads": [2] * 2,
            "share": [0.5] * 2,
            "low": [0.25] * 2,
            "high": [0.75] * 2,
            "run": ["study-1"] * 2,
        },
    )


def _a_live_run(folder):
    """A run that goes on, and whose words are hostile."""
    folder.mkdir(parents=True)
    reporter = progress.Reporter(folder, "run-9", lambda _: None, lambda: 0.0)
    reporter.stage(ALL, 10, ALL)
    reporter.end("failed", ALL)


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
    ("runs", {"id": "run-1"}),
    ("runs", {"id": "study-1"}),
    ("runs", {"id": "run-9"}),
    ("runs", {"id": ALL}),
    ("studies", {"study": "roles"}),
    ("studies", {"study": ALL}),
    ("heads", {"role": EVIL[0]}),
    ("test", {"hypothesis": ALL, "target": ALL}),
    ("search", {"view": "table"}),
    ("compare", {"a": "L0", "b": "L1"}),
    ("compare", {"a": "1.0", "b": "1.1"}),
    ("review", {"reason": ALL}),
    ("feature", {"id": "toy/1-t/0", "text": ALL}),
    ("prompt", {"text": ALL}),
    ("sql", {"query": f'SELECT text AS "{EVIL[2]}", token FROM vocab', "y": "token"}),
    ("sql", {"query": f'SELECT token AS "{EVIL[0]}", token FROM vocab', "y": "token"}),
    ("sql", {"query": "SELECT * FROM history"}),
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
