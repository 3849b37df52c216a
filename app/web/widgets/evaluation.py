"""How well SAEs rebuild attention outputs, as tables."""

from collections.abc import Sequence

from markupsafe import Markup

from app.web.url import AtSae
from app.web.widgets.frame import empty
from app.web.widgets.html import a, html, join
from app.web.widgets.text import count, fixed, percent
from atlas.types import Evaluation, Query, Sae

_WITHHELD = html(
    '<span class="soft" title="Taking z away costs no more than noise, so the ratio means nothing">'
    "withheld</span>"
)
_HEAD = Markup(
    '<tr><th>SAE</th><th class="n">live features</th>'
    '<th class="n" title="Mean features firing per token">L0</th>'
    '<th class="n" title="Fraction of variance unexplained">FVU</th>'
    '<th class="n" title="Loss per token of the untouched model, nats">CE clean</th>'
    '<th class="n" title="Loss with z replaced by its reconstruction">CE SAE</th>'
    '<th class="n" title="Loss with z set to its mean">CE mean</th>'
    '<th class="n" title="Loss with z set to zero">CE zero</th>'
    '<th class="n" title="Share of the loss of zeroing z that the SAE wins back">recovered, zero</th>'
    '<th class="n" title="Share of the loss of averaging z that the SAE wins back">recovered, mean</th>'
    '<th class="n" title="Features that never fired at the end of training">dead</th></tr>'
)


def evaluations(saes: Sequence[Sae], snapshot: str) -> Markup:
    """One line per SAE."""
    if not saes:
        return empty("This model has no SAE here.", "Run `atlas ingest` with it, then publish.")
    lines = join(_line(sae, snapshot) for sae in saes)
    return html('<div class="scroll"><table>{}{}</table></div>', _HEAD, lines)


def _line(sae: Sae, snapshot: str) -> Markup:
    cells = _cells(sae.evaluation) if sae.evaluation else html('<td colspan="9">{}</td>', _NOT)
    return html(
        '<tr><td>{}</td><td class="n">{} <span class="soft">of {}</span></td>{}</tr>',
        a(AtSae(sae.id), str(sae.id), snapshot, "id"),
        a(Query(sae=str(sae.id)), count(sae.alive), snapshot),
        count(sae.d_sae),
        cells,
    )


_NOT = html('<span class="soft">imported, not evaluated</span>')


def _cells(one: Evaluation) -> Markup:
    recovered = [
        _WITHHELD if share is None else percent(share)
        for share in (one.recovered_zero, one.recovered_mean)
    ]
    values = (
        fixed(one.l0, 1),
        fixed(one.fvu, 3),
        fixed(one.ce_clean, 4),
        fixed(one.ce_sae, 4),
        fixed(one.ce_mean, 4),
        fixed(one.ce_zero, 4),
        *recovered,
        percent(one.dead_share),
    )
    return join(html('<td class="n">{}</td>', value) for value in values)
