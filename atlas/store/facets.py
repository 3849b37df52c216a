"""How the matches of a search divide: by what was measured, and by what people wrote."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from atlas.ids import FeatureId, HeadId
from atlas.store.evidence import Evidence, Key

NAMES = ("model", "layer", "sae", "head", "family", "role", "tag", "method", "score")
HUMAN = "human"
"""The `method` of a title that a person wrote."""
BAND = "CASE WHEN f.score >= 0.5 THEN least(9, floor(f.score * 10))::UTINYINT END"
"""The tenth that a title's score lies in, from 0.5 up."""
_MEASURED = """
SELECT sae, head, family, method, band, count(*) AS features,
  list_position([7, 11, 13, 14], grouping(sae, family, method, band)) AS facet
FROM match GROUP BY GROUPING SETS ((sae, head), (family), (method), (band))
"""
_WRITTEN = """
SELECT n.facet, n.name, count(*) AS features FROM match JOIN noted n USING (sae, feature)
GROUP BY n.facet, n.name
"""

Tally = Mapping[str, Counter[str]]


@dataclass(frozen=True, slots=True)
class Said:
    """What people's notes know that a search may ask; found live in their own store."""

    reasons: Mapping[FeatureId, str] = field(default_factory=dict)
    """Features whose notes match the words, with the place that matched."""
    tags: Mapping[str, Collection[FeatureId]] = field(default_factory=dict)
    """Tag to the features that carry it."""
    roles: Mapping[str, Collection[HeadId]] = field(default_factory=dict)
    """Role to the heads it is claimed for."""
    named: Collection[FeatureId] = ()
    """Features with a person's title."""


NOBODY = Said()


def keys(evidence: Evidence, features: Iterable[FeatureId]) -> set[Key]:
    """Keys of the features that this snapshot has; notes may speak of others."""
    sizes = {sae.id: (sae.number, sae.d_sae) for sae in evidence.saes}
    return {
        (sizes[one.sae][0], one.index)
        for one in features
        if one.sae in sizes and one.index < sizes[one.sae][1]
    }


def count(
    evidence: Evidence, found: str, tables: dict[str, pa.Table], values: dict[str, Any], said: Said
) -> tuple[int, dict[str, tuple[tuple[str, int], ...]]]:
    """Number of matches, and how they divide by everything in `NAMES`, most frequent first.

    Args:
        evidence: the snapshot.
        found: SQL that makes the table `match`.
        tables: that it names.
        values: its parameters.
        said: what people wrote.
    """
    tally: Tally = {name: Counter() for name in NAMES}
    _measured(evidence, evidence.query(found + _MEASURED, tables, **values), said, tally)
    noted = _noted(evidence, said)
    if noted.num_rows:
        for row in evidence.query(found + _WRITTEN, {**tables, "noted": noted}, **values):
            tally[row["facet"]][row["name"]] += row["features"]
    ordered = {
        name: tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
        for name, counts in tally.items()
    }
    return tally["model"].total(), ordered


def _measured(
    evidence: Evidence, counts: Iterable[Mapping[str, Any]], said: Said, tally: Tally
) -> None:
    roles: defaultdict[HeadId, list[str]] = defaultdict(list)
    for role, heads in said.roles.items():
        for head in heads:
            roles[head].append(role)
    for row in counts:
        features = row["features"]
        match row["facet"]:
            case 2 | 3 as facet:
                name = ("family", "method")[facet - 2]
                tally[name].update({row[name]: features} if row[name] else {})
            case 4:
                tally["score"].update({f"0.{row['band']}": features} if row["band"] else {})
            case _:
                _by_place(evidence, row, roles, tally)


def _by_place(
    evidence: Evidence,
    row: Mapping[str, Any],
    roles: Mapping[HeadId, Sequence[str]],
    tally: Tally,
) -> None:
    """Count the features of one SAE that have one top head."""
    features, of = row["features"], evidence.numbered(row["sae"]).id
    tally["model"][of.model] += features
    tally["layer"][str(of.layer)] += features
    tally["sae"][str(of)] += features
    if row["head"] is not None:
        head = HeadId(of.model, of.layer, row["head"])
        tally["head"][str(head)] += features
        tally["role"].update(dict.fromkeys(roles.get(head, ()), features))


def _noted(evidence: Evidence, said: Said) -> pa.Table:
    """Which feature has which tag or human title, as rows of (facet, name, sae, feature)."""
    by_name = {("tag", tag): features for tag, features in said.tags.items()}
    by_name |= {("method", HUMAN): said.named} if said.named else {}
    rows = [(*name, *key) for name, features in by_name.items() for key in keys(evidence, features)]
    columns = list(zip(*rows, strict=True)) or [()] * 4
    kinds = {"facet": pa.string(), "name": pa.string(), "sae": pa.int16(), "feature": pa.int32()}
    return pa.table(
        {
            name: pa.array(column, kind)
            for (name, kind), column in zip(kinds.items(), columns, strict=True)
        }
    )
