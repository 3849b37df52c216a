"""How well SAEs rebuild attention outputs, as tables."""

from collections.abc import Sequence

from markupsafe import Markup

from app.web.url import AtSae
from app.web.widgets.frame import empty
from app.web.widgets.html import a, html
from app.web.widgets.table import Column, table
from app.web.widgets.text import count, fixed, percent
from atlas.types import Evaluation, Interval, JointEvaluation, Query, Sae

_WITHHELD = html(
    '<span class="soft" data-tip="withheld: taking z away costs no more than noise, so the ratio'
    ' would mean nothing">withheld</span>'
)
_NOT = html('<span class="soft">not evaluated</span>')
_COLUMNS = (
    Column("SAE"),
    Column("live features", True, "features that fired at least once while mining"),
    Column("L0", True, "mean number of features that fire per token"),
    Column("FVU", True, "fraction of variance unexplained"),
    Column("CE clean", True, "loss per token of the untouched model, nats"),
    Column("CE SAE", True, "loss with z replaced by its reconstruction"),
    Column("CE mean", True, "loss with z set to its mean"),
    Column("CE zero", True, "loss with z set to zero"),
    Column("recovered of zero", True, "share of what zeroing z costs that the SAE wins back"),
    Column("recovered of mean", True, "share of what averaging z costs that the SAE wins back"),
    Column("dead", True, "features that never fired at the end of training"),
)


def evaluations(saes: Sequence[Sae], snapshot: str) -> Markup:
    """One line per SAE."""
    if not saes:
        return empty("This model has no SAE here.", "Run `atlas ingest` with it, then publish.")
    return table(_COLUMNS, (_line(sae, snapshot) for sae in saes))


def joint(one: JointEvaluation) -> Markup:
    """What it costs to replace z of all layers at once."""
    share = (one.recovered_zero, one.recovered_mean)
    recovered = (_WITHHELD if each is None else percent(each) for each in share)
    return html(
        '<h3>All {} layers at once <span class="tiny soft">z of every layer replaced by its'
        " reconstruction</span></h3>{}",
        len(one.layers),
        table(
            _COLUMNS[4:10],
            [
                (
                    fixed(one.ce_clean, 4),
                    _cost(one.ce_sae, one.sae_cost),
                    _cost(one.ce_mean, one.mean_cost),
                    _cost(one.ce_zero, one.zero_cost),
                    *recovered,
                )
            ],
        ),
    )


def _line(sae: Sae, snapshot: str) -> Sequence[object]:
    alive = a(Query(sae=str(sae.id)), count(sae.alive), snapshot)
    return (
        a(AtSae(sae.id), str(sae.id), snapshot, "id"),
        html('{} <span class="soft">of {}</span>', alive, count(sae.d_sae)),
        *(_cells(sae.evaluation) if sae.evaluation else (_NOT, *[""] * 8)),
    )


def _cells(one: Evaluation) -> Sequence[object]:
    return (
        fixed(one.l0, 1),
        fixed(one.fvu, 3),
        fixed(one.ce_clean, 4),
        _cost(one.ce_sae, one.sae_cost),
        _cost(one.ce_mean, one.mean_cost),
        _cost(one.ce_zero, one.zero_cost),
        *(
            _WITHHELD if share is None else percent(share)
            for share in (one.recovered_zero, one.recovered_mean)
        ),
        percent(one.dead_share),
    )


def _cost(loss: float, cost: Interval) -> Markup:
    words = f"costs {fixed(cost.low, 4)} to {fixed(cost.high, 4)} nats more than the clean model"
    return html('<span data-tip="{}, 95 % interval">{}</span>', words, fixed(loss, 4))
