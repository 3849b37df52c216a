"""Database rows to the types that leave the store; columns carry the names of the fields."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any

from atlas.ids import FeatureId, SaeId
from atlas.record import LogLine, Record, TrainingPoint
from atlas.store.vocab import Vocab
from atlas.types import (
    Evaluation,
    Example,
    Feature,
    FeatureRow,
    HeadShare,
    Interval,
    JointEvaluation,
    Label,
    LabelScore,
    LogitEffect,
    Neighbour,
    Run,
    Sae,
    Source,
)

Row = Mapping[str, Any]


def interval(low: float | None, high: float | None) -> Interval | None:
    """An interval, or None where none was measured."""
    return None if low is None or high is None else Interval(low, high)


def run(row: Row, joint: Row | None) -> Run:
    """A row of table `run` with its row of `joint_evaluation`, where it has one."""
    values = {**row, "joint": None if joint is None else _joint(joint)}
    for column in ("config", "versions", "counts"):
        values[column] = json.loads(values[column])
    return Run(**values | {"created_at": values["created_at"].replace(tzinfo=UTC)})


def record(curve: Iterable[Row], log: Iterable[Row]) -> Record:
    """Rows of `training_curve` and `run_log` of one run, without its name and their rank."""
    return Record(
        tuple(TrainingPoint(**row) for row in curve),
        tuple(LogLine(**{**row, "began_at": row["began_at"].replace(tzinfo=UTC)}) for row in log),
    )


def sae(row: Row) -> Sae:
    """A row of table `sae` with the number of its live features."""
    return Sae(
        id=SaeId(row["model"], row["layer"], row["set_name"]),
        number=row["sae"],
        hook=row["hook"],
        architecture=row["architecture"],
        d_in=row["d_in"],
        d_sae=row["d_sae"],
        run=row["run"],
        evaluation=None if row["l0"] is None else _evaluation(row),
        sink_norm=row["sink_norm"],
        alive=row["alive"],
        weights=row["weights"],
        weights_sha256=row["weights_sha256"],
    )


def _evaluation(row: Row) -> Evaluation:
    return Evaluation(
        l0=row["l0"],
        fvu=row["fvu"],
        **_losses(row),
        dead_share=row["dead_share"],
        dead_window=row["dead_window"],
    )


def _joint(row: Row) -> JointEvaluation:
    return JointEvaluation(layers=tuple(row["layers"]), **_losses(row))


def _losses(row: Row) -> dict[str, Any]:
    """The fields that the two kinds of evaluation share."""
    same = ("ce_clean", "ce_sae", "ce_zero", "ce_mean", "recovered_zero", "recovered_mean")
    costs = {
        f"{kind}_cost": Interval(row[f"ce_{kind}_low"], row[f"ce_{kind}_high"])
        for kind in ("sae", "zero", "mean")
    }
    return {**{name: row[name] for name in same}, **costs, "tokens": row["eval_tokens"]}


def feature_row(
    row: Row, sae_id: SaeId, families: Sequence[str], methods: Sequence[str]
) -> FeatureRow:
    """What the lists know of a feature; families, methods and heads are numbers, -1 for none."""
    return FeatureRow(
        id=FeatureId(sae_id, row["feature"]),
        title=row["title"],
        title_method=_named(methods, row["method"]),
        title_support=row["support"],
        density=row["density"],
        firings=row["firings"],
        max_act=row["max_act"],
        mean_act=row["mean_act"],
        weight_head=row["weight_head"],
        weight_share=row["weight_share"],
        dfa_head=row["dfa_head"] if row["dfa_head"] >= 0 else None,
        dfa_share=row["dfa_share"],
        disagree=row["disagree"] == 1,
        family=_named(families, row["family"]),
        title_score=row["score"],
    )


def _named(names: Sequence[str], number: int) -> str | None:
    return names[number] if number >= 0 else None


def feature(
    row: Row,
    *,
    head: FeatureRow,
    of: Sae,
    by: Run,
    vocab: Vocab,
    histogram: tuple[int, ...],
    heads: Sequence[HeadShare],
    labels: Sequence[Label],
    scores: Sequence[LabelScore],
    examples: Sequence[Example],
    neighbours: Sequence[Neighbour],
) -> Feature:
    """A row of table `feature` with everything that belongs to it."""
    return Feature(
        row=head,
        sae=of,
        run=by,
        tokens=row["tokens"],
        density_interval=Interval(row["density_low"], row["density_high"]),
        std_act=row["std_act"],
        histogram=histogram,
        top_logits=_effects(row["top_tokens"], row["top_logits"], vocab),
        bottom_logits=_effects(row["bottom_tokens"], row["bottom_logits"], vocab),
        bias=row["bias"],
        heads=tuple(heads),
        weight_entropy=row["weight_entropy"],
        dfa_entropy=row["dfa_entropy"],
        disagreement=row["disagreement"],
        residual=row["residual"],
        family_score=row["family_score"],
        labels=tuple(labels),
        scores=tuple(scores),
        examples=tuple(examples),
        neighbours=tuple(neighbours),
    )


def _effects(
    tokens: Sequence[int] | None, values: Sequence[float] | None, vocab: Vocab
) -> tuple[LogitEffect, ...]:
    pairs = zip(tokens or (), values or (), strict=True)
    return tuple(LogitEffect(token, vocab.text(token), value) for token, value in pairs)


def head_share(row: Row) -> HeadShare:
    """A row of table `feature_head`."""
    return HeadShare(
        row["head"], row["weight_share"], row["dfa_mean"], row["dfa_share"], row["won"]
    )


def label(row: Row) -> Label:
    """A row of table `label`."""
    return Label(
        side=row["side"],
        method=row["method"],
        model=row["model"],
        prompt=row["prompt"],
        text=row["text"],
        support=row["support"],
        interval=interval(row["support_low"], row["support_high"]),
        n=row["n"],
        rule=row["rule"],
    )


def label_score(row: Row) -> LabelScore:
    """A row of table `label_score`."""
    return LabelScore(
        method=row["method"],
        model=row["model"],
        prompt=row["prompt"],
        scorer=row["scorer"],
        score=row["score"],
        interval=interval(row["score_low"], row["score_high"]),
        n=row["n"],
        deciles=tuple(row["deciles"] or ()),
        decile_n=tuple(row["decile_n"] or ()),
        scored_by=row["scored_by"],
    )


def example(row: Row, of: FeatureId, bias: float, vocab: Vocab) -> Example:
    """A row of table `example` joined with its context; `bias` is the feature's."""
    return Example(
        feature=of,
        kind=row["kind"],
        band=row["band"],
        rank=row["rank"],
        ctx=row["ctx"],
        pos=row["pos"],
        act=row["act"],
        tokens=vocab.decode(row["tokens"]),
        acts=tuple(zip(row["act_pos"] or (), row["act_val"] or (), strict=True)),
        head_dfa=tuple(row["head_dfa"] or ()),
        sources=tuple(
            Source(*source)
            for source in zip(
                row["src_pos"] or (), row["src_dfa"] or (), row["src_head"] or (), strict=True
            )
        ),
        src_rest=row["src_rest"],
        bias=bias,
        residual=row["residual"],
        doc=row["doc"],
        source=row["source"],
        start=row["start"],
    )
