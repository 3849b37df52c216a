"""What the search index holds: one document per live feature, its texts by kind."""

from collections.abc import Iterator
from typing import Any

import duckdb

from atlas.store import vocab

# Kinds of text with their weight in the score, in the order reasons are given.
FIELDS = {"title": 4.0, "label": 2.0, "fires on": 1.5, "promotes": 1.0, "example": 0.5}
COLUMN = {name: name.replace(" ", "_") for name in FIELDS}
_WINDOW = 8
"""Tokens on either side of an example's position that are indexed."""
_WINDOWS = 3
"""Examples per feature whose text is indexed."""


def documents(con: duckdb.DuckDBPyConnection) -> Iterator[dict[str, Any]]:
    """Every document of an open database: `row` of the lists, tokens, and each text twice.

    A token stands there as often as top examples fire on it, so that what fires on it most comes
    first.
    """
    saes = con.execute(
        "SELECT sae, model, d_sae FROM sae ORDER BY model, layer, set_name"
    ).fetchall()
    words, start = vocab.of("", ()), 0
    for sae, model, size in saes:
        if words.model != model:
            words = vocab.of(model, con.execute(_VOCAB, {"model": model}).fetchall())
            plain = words.readable()
        for feature, document in _documents_of(con, sae, words, plain):
            yield {"row": start + feature, **document}
        start += size


def _documents_of(
    con: duckdb.DuckDBPyConnection, sae: int, words: vocab.Vocab, plain: vocab.Vocab
) -> Iterator[tuple[int, dict[str, Any]]]:
    titles = dict(con.execute(_LABELS, {"sae": sae, "title": True}).fetchall())
    labels = dict(con.execute(_LABELS, {"sae": sae, "title": False}).fetchall())
    tokens = dict(con.execute(_TOKENS, {"sae": sae}).fetchall())
    windows = dict(
        con.execute(_TEXTS, {"sae": sae, "around": _WINDOW, "many": _WINDOWS}).fetchall()
    )
    for feature, promoted in con.execute(_LIVE, {"sae": sae}).fetchall():
        fired = tokens.get(feature, ())
        fires_on = tuple(dict.fromkeys(fired))
        texts: dict[str, list[str]] = {
            "title": titles.get(feature, []),
            "label": labels.get(feature, []),
            "fires on": list(plain.decode(fires_on)),
            "promotes": list(plain.decode(promoted or ())),
            "example": ["".join(plain.decode(ids)) for ids in windows.get(feature, ())],
        }
        document: dict[str, Any] = {"token": list(words.decode(fired))}
        for name, values in texts.items():
            document[COLUMN[name]] = document[f"{COLUMN[name]}_word"] = values
        yield feature, document


_VOCAB = "SELECT token, text FROM vocab WHERE model = $model"
_LIVE = "SELECT feature, top_tokens FROM feature WHERE sae = $sae AND firings > 0 ORDER BY feature"
_LABELS = (
    "SELECT feature, list(text ORDER BY side, method, text) FROM label"
    " WHERE sae = $sae AND (side = 'title') = $title GROUP BY feature"
)
_TOKENS = (
    "SELECT feature, list(token ORDER BY token) FROM example"
    " WHERE sae = $sae AND kind = 'top' GROUP BY feature"
)
_TEXTS = """
SELECT e.feature, list(c.tokens[greatest(e.pos + 1 - $around, 1) : e.pos + 1 + $around]
                       ORDER BY e.rank)
FROM example e JOIN context c USING (ctx)
WHERE e.sae = $sae AND e.kind = 'top' AND e.rank < $many GROUP BY e.feature
"""
