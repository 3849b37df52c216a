"""SQL over evidence and notes: an editor, a cookbook, results that can be cited."""

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st
from markupsafe import Markup

from app.web.url import AtSql
from app.web.widgets import here
from app.web.widgets.chart import chart, numeric
from app.web.widgets.fields import box, choice, form
from app.web.widgets.frame import empty
from app.web.widgets.html import a, a_id, html, join, show
from app.web.widgets.queries import place_of
from app.web.widgets.table import Column, table
from app.web.widgets.text import count, plain, sig
from app.web.widgets.write import attempt, author, key
from app.web.widgets.written import every
from atlas.api import Atlas
from atlas.errors import NotFound
from atlas.ids import ModelId, parse
from atlas.note_types import SavedQuery, Scalar
from atlas.store.describe import TablePage
from atlas.store.recipes import Recipe
from atlas.store.sql_formats import to_csv
from atlas.tables import STUDIED
from atlas.types import SqlResult

_EXAMPLE = """\
SELECT id, title, density, dfa_head, dfa_share
FROM feature_card
ORDER BY density DESC
LIMIT 20"""
_ROWS = 1000


def render(atlas: Atlas) -> None:
    """The SQL page; a query in the URL is run."""
    place, snapshot = here.place(AtSql), atlas.snapshot.name
    editor, library = st.columns([3, 1], gap="large")
    with library:
        show(_cookbook(atlas, snapshot), _saved(atlas, snapshot), _tables(atlas))
    with editor:
        show(_editor(place, snapshot))
        if not place.query.strip():
            show(empty("No query yet.", "Write one SELECT, or take one from the cookbook."))
            return
        values = {name: scalar(text) for name, text in place.p.items()}
        result = atlas.sql(place.query, values, limit=_ROWS)
        show(_charted(place, result), _result(result))
        if not result.rows:
            show(empty("No row meets this query.", "Change its parameters or conditions."))
        _keep(atlas, place, result)


def scalar(text: str) -> Scalar:
    """A parameter as written in a URL: a JSON number, true, false, null or string; else text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if value is None or isinstance(value, str | int | float | bool) else text


def written(value: Scalar) -> str:
    """A value as `scalar` reads it."""
    return value if isinstance(value, str) and scalar(value) == value else json.dumps(value)


def _editor(place: AtSql, snapshot: str) -> Markup:
    query = place.query or _EXAMPLE
    return form(
        AtSql(),
        snapshot,
        "sql",
        Markup('<h1 class="pagetop">SQL</h1>'),
        html(
            '<textarea data-name="query" rows="{}" spellcheck="false" aria-label="SQL">{}'
            "</textarea>",
            max(5, min(24, query.count("\n") + 2)),
            query,
        ),
        html(
            '<div class="row">{}<button class="first">Run</button>'
            '<span class="tiny soft">Ctrl+Enter runs it. One SELECT; $name is a parameter.</span>'
            "</div>",
            join(box(f"p_{name}", f"${name} ", value) for name, value in place.p.items()),
        ),
    )


def _result(result: SqlResult) -> Markup:
    numbers = [_is_number(kind) for kind in result.types]
    columns = [
        Column(name, number, kind)
        for name, number, kind in zip(result.columns, numbers, result.types, strict=True)
    ]
    more = f", cut off at {count(_ROWS)}" if result.truncated else ""
    rows = "row" if len(result.rows) == 1 else "rows"
    return html(
        '<div class="row small"><b>{} {}{}</b><span class="soft">{} ms · snapshot {} · the URL of'
        ' this page repeats it</span></div><div class="result">{}</div>',
        count(len(result.rows)),
        rows,
        more,
        sig(1000 * result.seconds),
        result.snapshot,
        table(columns, ([_cell(value, result.snapshot) for value in row] for row in result.rows)),
    )


def _charted(place: AtSql, result: SqlResult) -> Markup:
    """The form that chooses a chart, and the chart."""
    up = numeric(result)
    if not up:
        return Markup("")
    fields = form(
        AtSql(place.query, place.p),
        result.snapshot,
        "row small",
        choice("y", "chart ", {"": "none", **{n: n for n in up}}, place.y, unset="", now=True),
        choice(
            "x", "over ", {n: n for n in result.columns}, place.x or result.columns[0],
            unset=result.columns[0], now=True,
        ),
    )  # fmt: skip
    drawn = chart(result, place.x or result.columns[0], place.y) if place.y else Markup("")
    return html("{}{}", fields, drawn)


def _is_number(kind: str) -> bool:
    return kind.split("(")[0].upper() in {
        "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
        "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL",
    }  # fmt: skip


def _cell(value: Any, snapshot: str) -> str:
    match value:
        case None:
            return Markup('<span class="soft">NULL</span>')
        case bool():
            return "true" if value else "false"
        case float():
            return sig(value, 4)
        case str() if "/" in value:
            return _linked(value, snapshot)
        case str():
            return plain(value)
        case _:
            return str(value)


def _linked(text: str, snapshot: str) -> str:
    try:
        name = parse(text)
    except NotFound:
        return plain(text)
    return text if isinstance(name, ModelId) else a_id(name, snapshot)


def _keep(atlas: Atlas, place: AtSql, result: SqlResult) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.download_button("CSV", to_csv(result), "query.csv", "text/csv", on_click="ignore")
        with st.popover("Save this query"):
            name = author()
            form_key = key("save")
            title = st.text_input("Its name", key=f"{form_key}-name")
            about = st.text_area("What it answers", key=f"{form_key}-about", height=68)
            if st.button("Save", type="primary", key=f"{form_key}-send"):
                values = {name: scalar(text) for name, text in place.p.items()}
                query = SavedQuery(title, place.query, "sql", values, about)
                attempt("save", name, lambda: atlas.notes.add(query, name))


def _cookbook(atlas: Atlas, snapshot: str) -> Markup:
    lines = (
        html("<li>{}</li>", a(_place(recipe), recipe.title, snapshot, title=recipe.sentence))
        for recipe in sorted(atlas.cookbook().values(), key=lambda one: one.title)
    )
    return html('<h2>Cookbook</h2><ul class="small">{}</ul>', join(lines))


def _place(recipe: Recipe) -> AtSql:
    return AtSql(recipe.sql, {one.name: written(one.default) for one in recipe.parameters})


def _saved(atlas: Atlas, snapshot: str) -> Markup:
    notes = [note for note in every(atlas, SavedQuery) if note.content.form != "hypothesis"]
    lines = (
        html(
            '<li>{} <span class="tiny soft">{}</span></li>',
            a(place_of(note.content), note.content.name, snapshot, title=note.content.description),
            note.author,
        )
        for note in notes
    )
    none = '<p class="small soft">None yet: run a query and save it.</p>'
    return html(
        "<h2>Saved</h2>{}",
        html('<ul class="small">{}</ul>', join(lines)) if notes else Markup(none),
    )


def _tables(atlas: Atlas) -> Markup:
    """What SQL can name: what was measured, what studies found, what people wrote."""
    kinds: dict[str, list[TablePage]] = {"evidence": [], "studies": [], "notes": []}
    for one in atlas.schema():
        studied = "studies" if one.name in STUDIED else "evidence"
        kinds["notes" if one.store == "notes" else studied].append(one)
    snapshot = atlas.snapshot.name
    return join(_schema(tables, f"Tables of {kind}", snapshot) for kind, tables in kinds.items())


def _schema(tables: Sequence[TablePage], title: str, snapshot: str) -> Markup:
    parts = (
        html(
            "<details><summary>{}</summary><p class='tiny soft'>{} {}</p>"
            "<dl class='schema'>{}</dl></details>",
            one.name,
            one.sentence,
            a(AtSql(f"SELECT * FROM {one.name} LIMIT 20"), "its first rows", snapshot),
            join(
                html(
                    "<dt>{} <span class='soft'>{}</span></dt><dd>{}</dd>",
                    c.name,
                    c.type,
                    c.sentence,
                )
                for c in one.columns
            ),
        )
        for one in tables
    )
    return html('<h2>{}</h2><div class="tables">{}</div>', title, join(parts))
