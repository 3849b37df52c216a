"""What the study of feature families found as rows: per feature, per SAE, per activation bin."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.studies import family_text as texts
from ingest.studies.family_rules import FAMILIES, Judged, Shares
from ingest.studies.family_text import FETCHED, Index, Predictor
from ingest.wilson import wilson

STRONG = 0.5
"""Share of a feature's largest held-out activation from which a firing counts as strong."""
BINS = 10
"""Equal bins of activation between 0 and a feature's largest held-out one."""
Row = dict[str, Any]


class Examples(NamedTuple):
    """Stored examples of one SAE, by ascending feature."""

    feature: NDArray[Any]
    pos: NDArray[Any]
    word: NDArray[Any]  # at the firing
    source: NDArray[Any]  # at the strongest source, -1 where that is position 0
    shares: Shares


class Fired(NamedTuple):
    """Firings of one SAE on held-out text."""

    feature: NDArray[Any]
    place: NDArray[Any]  # position in the flattened contexts
    act: NDArray[Any]
    families: NDArray[Any]  # bits: family number n explains it where bit n is set


def feature_rows(
    sae: str, examples: Examples, found: Judged, fired: Fired, index: Index, names: NDArray[Any]
) -> Iterator[Row]:
    """A row for every feature and family that holds for it."""
    order = np.argsort(fired.feature, kind="stable")
    fired = Fired(*(column[order] for column in fired))
    d_sae = len(found.examples)
    edges = np.searchsorted(fired.feature, np.arange(d_sae + 1))
    own = np.searchsorted(examples.feature, np.arange(d_sae + 1))
    for number, family in enumerate(FAMILIES):
        for feature in np.nonzero(found.holds[family])[0]:
            some = slice(own[feature], own[feature + 1])
            here = texts.word_list(examples.word[some])
            fetched = texts.word_list(examples.source[some])
            one = texts.predictor(family, here, fetched, int(found.place[feature]))
            words = (fetched if family in FETCHED else here).words
            rows = slice(edges[feature], edges[feature + 1])
            counted = _held_out(one, number, Fired(*(column[rows] for column in fired)), index)
            yield {
                "sae": sae,
                "feature": int(feature),
                "family": family,
                "best": bool(found.best[feature] == number),
                "score": float(found.score[family][feature]),
                "examples": int(found.examples[feature]),
                "words": [str(names[word]) for word in words],
                "predictor": one.said,
                **counted,
                **_proportion("precision", [counted], "fired", "hits"),
                **_proportion("recall", [counted], "predicted", "hits"),
            }


def _held_out(one: Predictor, number: int, fired: Fired, index: Index) -> Row:
    """Counts of a feature and family on held-out text."""
    places = texts.predict(one, index)
    hit = np.isin(fired.place, places)
    largest = fired.act.max(initial=0.0)
    strong = fired.act >= STRONG * largest
    bins = np.minimum(BINS * fired.act / max(largest, 1e-12), BINS - 1).astype(np.int64)
    textual = one.family in ("single_token", "positional")
    explains = hit if textual else fired.families >> number & 1 == 1
    foretold = one.family != "first_token"
    return {
        "fired": len(fired.place),
        "explained": int(explains.sum()),
        "predicted": len(places) if foretold else None,
        "hits": int(hit.sum()) if foretold else None,
        "strong_fired": int(strong.sum()),
        "strong_hits": int((hit & strong).sum()) if foretold else None,
        "positions": int(index.valid.sum()),
        "bin_fired": np.bincount(bins, minlength=BINS).tolist(),
        "bin_hits": np.bincount(bins[hit], minlength=BINS).tolist() if foretold else None,
        "bin_explained": np.bincount(bins[explains], minlength=BINS).tolist(),
    }


def share_rows(sae: str, rows: Sequence[Row], live: int) -> Iterator[Row]:
    """One row per family: how many features it is the best of, and how well it does in all."""
    for family in FAMILIES:
        holding = [row for row in rows if row["family"] == family]
        best = [row for row in holding if row["best"]]
        low, high = wilson(np.array([len(best)]), np.array([live]))
        row = {"sae": sae, "family": family, "features": len(best), "holding": len(holding),
               "live": live, "share": len(best) / live if live else None,
               "share_low": float(low[0]), "share_high": float(high[0])}  # fmt: skip
        for name, of, part in (
            ("replicated", "fired", "explained"),
            ("precision", "fired", "hits"),
            ("strong_precision", "strong_fired", "strong_hits"),
            ("recall", "predicted", "hits"),
        ):
            row |= _proportion(name, holding, of, part)
        foretold = [one for one in holding if one["predicted"] is not None]
        silent = sum(one["positions"] - one["predicted"] for one in foretold)
        missed = sum(one["fired"] - one["hits"] for one in foretold)
        row["specificity"] = 1 - missed / silent if silent else None
        row["precision_chance"] = _chance(foretold)
        yield row


def _chance(rows: Sequence[Row]) -> float | None:
    """Precision if the same firings stood anywhere: the share of positions that are predicted."""
    fired = sum(row["fired"] for row in rows)
    if not fired:
        return None
    expected = sum(row["fired"] * row["predicted"] / row["positions"] for row in rows)
    return float(expected / fired)


def bin_rows(sae: str, rows: Sequence[Row]) -> Iterator[Row]:
    """One row per family and activation bin, over the features that it is the best family of."""
    for family in FAMILIES:
        own = [row for row in rows if row["family"] == family and row["best"]]
        for number in range(BINS if own else 0):
            counted = [
                {
                    "fired": row["bin_fired"][number],
                    "explained": row["bin_explained"][number],
                    "hits": row["bin_hits"] and row["bin_hits"][number],
                }
                for row in own
            ]
            yield {
                "sae": sae,
                "family": family,
                "bin": number,
                "fired": sum(one["fired"] for one in counted),
                **_proportion("replicated", counted, "fired", "explained"),
                **_proportion("precision", counted, "fired", "hits"),
            }


def _proportion(name: str, rows: Sequence[Row], of: str, part: str) -> Row:
    """part / of over all rows, with its Wilson interval; NULL where nothing is counted."""
    known = [row for row in rows if row[part] is not None and row[of] is not None]
    count, total = sum(row[part] for row in known), sum(row[of] for row in known)
    low, high = wilson(np.array([count]), np.array([total]))
    given = bool(total)
    return {
        name: count / total if given else None,
        f"{name}_low": float(low[0]) if given else None,
        f"{name}_high": float(high[0]) if given else None,
        f"{name}_n": total,
    }
