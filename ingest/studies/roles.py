"""The study of roles: what the features of each head say that it does, and whether it is one thing.

For every head of a layer with an SAE: its top features by weight share and by measured share, dead
ones out, clustered (`role_rules`); one machine role claim per cluster with its evidence; cohesion
against shuffled shares; and how many clusters carry most of what the head gives to all features.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from atlas.ids import HeadId, SaeId
from ingest.config import StudyPart
from ingest.label.rules import normalise
from ingest.studies import role_rules as rules
from ingest.studies.role_rules import ROLE_OF, Likeness
from ingest.studies.rows import table_of
from ingest.studies.study import Findings, Study
from ingest.studies.titles import titles
from ingest.wilson import wilson

TOPS = (10, 20, 50)
"""How many top features are looked at; the first is the paper's number."""
MASSES = (0.5, 0.8, 0.95)
LARGEST = 0.8
"""Share of the top features in one cluster from which a head counts as mostly one thing."""
SAID = 3
"""Features and words that a claim names."""
METRIC_OF = {
    "induction": ("induction", "repeated_random"),
    "duplicate_token": ("duplicate_token", "repeated_random"),
    "previous_token": ("previous_token", "corpus"),
    "attention_sink": ("first_token", "corpus"),
    "current_token": ("self", "corpus"),
    "local_context": ("distance", "corpus"),
    "long_range_context": ("distance", "corpus"),
}
"""Role to the metric and condition that speak for it."""
_QUOTED = re.compile("“([^”]+)”")


class RolesPart(StudyPart):
    """Settings of the study of roles; it reads the atlas and no text."""

    most_features: int = 1000
    """Features per head, largest mass first, that are clustered for its mass."""


class Live(NamedTuple):
    """Live features of one SAE."""

    feature: NDArray[Any]
    family: list[str | None]
    title: list[str | None]
    firings: NDArray[Any]
    weight_share: NDArray[Any]  # [feature, head]
    dfa_share: NDArray[Any]  # [feature, head]
    dfa_mean: NDArray[Any]  # [feature, head], signed
    w_dec: NDArray[Any]  # [feature, head, d_head]
    words: list[set[str]]  # of its title
    known: Likeness  # whatever the head


Row = dict[str, Any]


def study_roles(study: Study, settings: RolesPart) -> Findings:
    """Role claims and polysemanticity of every head of a layer with an SAE."""
    metrics = {
        head: {(one.metric, one.condition): one for one in found}
        for head, found in study.atlas.head_metrics(study.info.id).items()
    }
    claims: list[Row] = []
    evidence: list[Row] = []
    poly: list[Row] = []
    study.work.reporter.stage("roles", len(study.saes), "SAEs")
    for name in study.saes:
        live = _live(study, name)
        for head in range(study.info.n_heads):
            rng = np.random.default_rng([settings.seed, name.layer, head])
            looked = _Head(name, head, live, rng)
            known = metrics.get(HeadId(name.model, name.layer, head), {})
            for by, k, top in looked.tops():
                found = list(looked.claims(by, k, top))
                claims += [claim for claim, _ in found]
                for claim, members in found:
                    evidence += _evidence(name, claim, members, live, known)
                poly.append(looked.cohesion(by, k, top))
            poly.append(looked.mass(settings.most_features))
        study.work.reporter.advance(1)
    run = study.work.run
    tables = {
        "head_role": table_of("head_role", claims, run),
        "head_role_evidence": table_of("head_role_evidence", evidence, run),
        "head_polysemanticity": table_of("head_polysemanticity", poly, run),
        "polysemantic_share": table_of(
            "polysemantic_share", list(_shares(study.info.id, poly)), run
        ),
    }
    said = () if any(claim["family"] for claim in claims) else (
        "no feature has a family yet: run the study `families` first for roles by mechanism",
    )  # fmt: skip
    samples = {"heads": len(study.saes) * study.info.n_heads, "null draws": rules.DRAWS}
    return Findings(tables, samples, said)


def _live(study: Study, name: SaeId) -> Live:
    atlas, info = study.atlas, study.info
    columns = ["feature", "firings", "family"]
    features = pa.Table.from_batches(
        [batch.select(columns) for batch in atlas.export(name, "feature").batches]
    )
    alive = features["firings"].to_numpy() > 0
    features = features.filter(pa.array(alive))
    heads = pa.Table.from_batches(list(atlas.export(name, "feature_head").batches))

    def by_head(column: str) -> NDArray[Any]:
        values = heads[column].to_numpy().astype(np.float64).reshape(-1, info.n_heads)
        known: NDArray[Any] = np.nan_to_num(values)[alive]
        return known

    w_dec = study.sae(name).w_dec.float().cpu().numpy()
    number = features["feature"].to_numpy()
    known = titles(study, name)
    family, title = features["family"].to_pylist(), [known.get(one) for one in number.tolist()]
    words = [{normalise(word) for word in _QUOTED.findall(one or "")} for one in title]
    return Live(
        number,
        family,
        title,
        features["firings"].to_numpy(),
        by_head("weight_share"),
        by_head("dfa_share"),
        by_head("dfa_mean"),
        w_dec[number].reshape(len(number), info.n_heads, -1),
        words,
        rules.shared(family, words),
    )


class _Head:
    """One head with the live features of its layer."""

    def __init__(self, sae: SaeId, head: int, live: Live, rng: np.random.Generator) -> None:
        self._key: Row = {"sae": str(sae), "head": head}
        self._head, self._live, self._rng = head, live, rng
        self._alike = rules.likeness(live.w_dec[:, head], live.known)
        self._same = rules.sameness(self._alike)

    def tops(self) -> Iterator[tuple[str, int, NDArray[Any]]]:
        """(by, k, rows of the live features), largest share first; none where it has no share."""
        shares = {"weights": self._live.weight_share, "measured": self._live.dfa_share}
        for by, share in shares.items():
            order = np.argsort(-share[:, self._head], kind="stable")
            for k in TOPS:
                if k <= len(order) and share[:, self._head].any():
                    yield by, k, order[:k]

    def claims(self, by: str, k: int, top: NDArray[Any]) -> Iterator[tuple[Row, NDArray[Any]]]:
        """One role claim per cluster, largest first, with the rows of its features."""
        shares = self._live.weight_share if by == "weights" else self._live.dfa_share
        share = shares[top, self._head]
        number = rules.clusters(self._alike.of(top))
        sums = np.bincount(number, share) / share.sum()
        for rank, one in enumerate(np.argsort(-sums, kind="stable")):
            members = top[number == one]
            family = _commonest([self._live.family[row] for row in members])
            words = self._common_words(members)
            yield (
                {
                    **self._key,
                    "by": by,
                    "k": k,
                    "rank": rank,
                    "role": ROLE_OF.get(family or "", "other"),
                    "family": family,
                    "words": words,
                    "features": self._live.feature[members].tolist(),
                    "share": float(sums[one]),
                    "cohesion": rules.cohesion(self._same, members),
                },
                members,
            )

    def _common_words(self, members: NDArray[Any]) -> list[str]:
        counts: dict[str, int] = {}
        for row in members:
            for word in self._live.words[row]:
                counts[word] = counts.get(word, 0) + 1
        return sorted(counts, key=lambda word: (-counts[word], word))[:SAID]

    def cohesion(self, by: str, k: int, top: NDArray[Any]) -> Row:
        """How much of one thing the top features are."""
        number = rules.clusters(self._alike.of(top))
        sizes = np.bincount(number)
        found = rules.against_chance(self._same, top, self._rng)
        return {
            **self._key,
            "by": by,
            "k": k,
            "clusters": len(sizes),
            "largest": float(sizes.max() / k),
            "one_thing": len(sizes) == 1,
            "mostly_one": bool(sizes.max() >= LARGEST * k),
            "cohesion": found.value,
            "cohesion_low": found.low,
            "cohesion_high": found.high,
            "null_mean": found.null,
            "null_high": found.null_high,
            "p": found.p,
            **{f"need_{round(100 * mass)}{end}": None for mass in MASSES
               for end in ("", "_low", "_high")},
            "covered": None,
        }  # fmt: skip

    def mass(self, most: int) -> Row:
        """How many clusters carry what the head gives to all features: firings times |mean DFA|."""
        live = self._live
        mass = live.firings * np.abs(live.dfa_mean[:, self._head])
        order = np.argsort(-mass, kind="stable")[:most]
        number = rules.clusters(self._alike.of(order))
        row: Row = {**self._key, "by": "mass", "k": len(order)}
        row |= {"clusters": int(number.max(initial=-1)) + 1}
        sums = np.bincount(number, mass[order])
        row |= {"largest": float(sums.max(initial=0.0) / max(mass.sum(), 1e-30))}
        for share in MASSES:
            found = rules.needed(
                number, mass[order], live.firings[order], float(mass.sum()), share, self._rng
            )
            name = f"need_{round(100 * share)}"
            row |= {name: found.clusters, f"{name}_low": found.low, f"{name}_high": found.high}
        row |= dict.fromkeys(("one_thing", "mostly_one", "cohesion", "cohesion_low",
                              "cohesion_high", "null_mean", "null_high", "p"))  # fmt: skip
        return row | {"covered": float(mass[order].sum() / max(mass.sum(), 1e-30))}


def _commonest(families: list[str | None]) -> str | None:
    known = [family for family in families if family]
    if 2 * len(known) <= len(families):
        return None
    return max(sorted(set(known)), key=known.count)


def _evidence(
    name: SaeId, claim: Row, members: NDArray[Any], live: Live, known: dict[Any, Any]
) -> Iterator[Row]:
    """What a claim rests on: its first features, and the head's metric that speaks for the role."""
    key = {column: claim[column] for column in ("sae", "head", "by", "k", "rank")}
    for row in members[:SAID]:
        target = f"{name}/{live.feature[row]}"
        sentence = live.title[row] or "no title"
        yield {**key, "kind": "target", "target": target, "ref": "", "sentence": sentence}
    metric, condition = METRIC_OF.get(claim["role"], ("", ""))
    found = known.get((metric, condition))
    if found is not None:
        head = f"{name.model}/L{name.layer}H{claim['head']}"
        sentence = f"{metric} {found.value:.3f} on {condition}, n = {found.n}"
        yield {**key, "kind": "metric", "target": head, "ref": metric, "sentence": sentence}


def _shares(model: str, rows: list[Row]) -> Iterator[Row]:
    """Share of heads whose top features are not one thing, by how they are ranked and how many."""
    for by in ("weights", "measured"):
        for k in TOPS:
            some = [row for row in rows if (row["by"], row["k"]) == (by, k)]
            if not some:
                continue
            heads, many = len(some), sum(not row["one_thing"] for row in some)
            low, high = wilson(np.array([many]), np.array([heads]))
            yield {
                "model": model,
                "by": by,
                "k": k,
                "heads": heads,
                "polysemantic": many,
                "share": many / heads,
                "low": float(low[0]),
                "high": float(high[0]),
                "mostly_one": sum(row["mostly_one"] for row in some),
                "above_chance": sum(row["p"] < 0.05 for row in some),
            }
