"""A hypothesis about firings: write it, choose what it is about, see how far it holds, keep it."""

import streamlit as st
from markupsafe import Markup

from app.web.url import AtTest
from app.web.widgets import here
from app.web.widgets.fields import box, form
from app.web.widgets.frame import empty
from app.web.widgets.html import a, html, join, show
from app.web.widgets.queries import place_of
from app.web.widgets.table import facts
from app.web.widgets.trial import trial_tables
from app.web.widgets.write import attempt, author, key
from app.web.widgets.written import every
from atlas.api import Atlas
from atlas.hypothesis import CHANGES, EARLIER, FIELDS, MAX_TEXT
from atlas.hypothesis_types import Trial
from atlas.note_types import SavedQuery, Scalar

_EXAMPLES = (
    "earlier",
    "src.before == dst.token",
    "distance == 1",
    'match(dst.token, "^ [A-Z]") and distance <= 5',
)


def render(atlas: Atlas) -> None:
    """The form, and the test that the URL spells."""
    place, snapshot = here.place(AtTest), atlas.snapshot.name
    main, aside = st.columns([3, 1], gap="large")
    with aside:
        show(_saved(atlas, snapshot), _examples(place, snapshot), _language())
    with main:
        show(_form(place, snapshot))
        if not place.hypothesis.strip() or not place.target.strip():
            show(
                empty(
                    "Nothing to test yet.",
                    "Write a statement about a firing token and its strongest source, and the"
                    " feature, head or SAE that it is about.",
                )
            )
            return
        trial = atlas.test(place.hypothesis, _target(atlas, place.target), place.seed)
        show(trial_tables(atlas, trial))
        _keep(atlas, trial)


def _target(atlas: Atlas, text: str) -> str:
    """The full id of a short form; the text itself where it means none or several."""
    found = atlas.jump(text).found
    return str(found[0]) if len(found) == 1 else text


def _form(place: AtTest, snapshot: str) -> Markup:
    text = place.hypothesis
    return form(
        AtTest(),
        snapshot,
        "sql",
        Markup('<h1 class="pagetop">Test a hypothesis</h1>'),
        html(
            '<textarea data-name="hypothesis" rows="{}" maxlength="{}" spellcheck="false"'
            ' aria-label="Hypothesis" placeholder="src.before == dst.token and distance &gt; 5">'
            "{}</textarea>",
            max(3, min(16, text.count("\n") + 2)),
            MAX_TEXT,
            text,
        ),
        html(
            '<div class="row">{}{}<button class="first">Test</button>'
            '<span class="tiny soft">Ctrl+Enter tests it.</span></div>',
            box("target", "about ", place.target, "feature, head or SAE"),
            box("seed", "seed ", place.seed or None, "0"),
        ),
    )


def _saved(atlas: Atlas, snapshot: str) -> Markup:
    notes = [note for note in every(atlas, SavedQuery) if note.content.form == "hypothesis"]
    lines = (
        html(
            '<li>{} <span class="tiny soft">{} · {}</span></li>',
            a(place_of(note.content), note.content.name, snapshot, title=note.content.text),
            str(note.content.parameters["target"]),
            note.author,
        )
        for note in notes
    )
    none = Markup('<p class="small soft">None yet: test one and save it.</p>')
    return html(
        "<h2>Saved</h2>{}", html('<ul class="small">{}</ul>', join(lines)) if notes else none
    )


def _examples(place: AtTest, snapshot: str) -> Markup:
    lines = (
        html("<li>{}</li>", a(AtTest(one, place.target, place.seed), one, snapshot, "mono"))
        for one in _EXAMPLES
    )
    return html('<h2>Such as</h2><ul class="small">{}</ul>', join(lines))


def _language() -> Markup:
    changes = ", ".join(f"{name}(token)" for name in CHANGES)
    named = [*((name, words) for name, (_, words) in FIELDS.items())]
    named += [(EARLIER, "dst.seen > 0"), ("also", f'{changes}, match(token, "regex")')]
    named += [("joined by", "and, or, not, ( ); ==, !=, <, <=, >, >=, in {…}; + and − of numbers")]
    return html("<h2>The language</h2>{}", facts(named))


def _keep(atlas: Atlas, trial: Trial) -> None:
    with st.popover("Save this hypothesis"):
        name = author()
        form_key = key("hypothesis")
        title = st.text_input("Its name", key=f"{form_key}-name")
        about = st.text_area("What it claims", key=f"{form_key}-about", height=68)
        if st.button("Save", type="primary", key=f"{form_key}-send"):
            given: dict[str, Scalar] = {"target": trial.target, "seed": trial.seed}
            kept = SavedQuery(title, trial.hypothesis, "hypothesis", given, about)
            attempt("hypothesis", name, lambda: atlas.notes.add(kept, name))
