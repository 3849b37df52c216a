"""What studies measured of a head: where it looks, whom it works with, what it does."""

from markupsafe import Markup

from app.web.url import AtPrompt, AtStudies
from app.web.widgets.fields import form
from app.web.widgets.html import a, a_id, html, join
from app.web.widgets.results import ranged
from app.web.widgets.table import Column, table
from app.web.widgets.text import count, exact, fixed, percent, sig, visible
from atlas.head_types import Edge, HeadComposition
from atlas.ids import HeadId
from atlas.study_types import DistanceShare, HeadLook, HeadStudies, HeadToken

_AROUND, _LOOKS, _PARTNERS = 8, 9, 12
_COMPOSITION = "|W_OV W| / (|W_OV| |W|), Frobenius norms"
_READS = {"q": "queries", "k": "keys", "v": "values"}


def looks(head: HeadId, studied: HeadStudies, snapshot: str) -> Markup:
    """Where a head looks: by distance, by token, in samples, and on a text of one's own."""
    own = form(
        AtPrompt(head=head),
        snapshot,
        "row",
        Markup(
            '<textarea class="grow" data-name="text" rows="1" aria-label="Your text"'
            ' placeholder="A text of your own: where does this head look? Ctrl+Enter"></textarea>'
            "<button>Show its pattern</button>"
        ),
    )
    parts = Markup("")
    if studied.distances or studied.tokens:
        parts = html(
            '<div class="three"><div><h3>By distance</h3>{}</div><div><h3>Looks from</h3>{}</div>'
            "<div><h3>Looks to</h3>{}</div></div>",
            join(map(_distance, studied.distances)),
            join(_token(one) for one in studied.tokens if one.side == "query"),
            join(_token(one) for one in studied.tokens if one.side == "key"),
        )
    return html("<h2>Where it looks</h2>{}{}{}", parts, _samples(studied), own)


def _distance(one: DistanceShare) -> Markup:
    if one.first is None:
        where = "position 0"
    else:
        where = str(one.first) if one.first == one.last else f"{one.first} to {one.last}"
    within = ""
    if one.within:
        within = f", 95 % interval {percent(one.within.low)} to {percent(one.within.high)}"
    return html(
        '<div class="logit" data-tip="{}"><span>{}</span>'
        '<span class="bar"><i style="width:{:.1f}%"></i></span><span class="n">{}</span></div>',
        f"{percent(one.share)} of its attention{within}",
        where,
        100 * one.share,
        percent(one.share),
    )


def _token(one: HeadToken) -> Markup:
    tip = (
        f"{exact(one.text)}\n{percent(one.share)} of its strongest attention,"
        f" {percent(one.base)} of the text\n{count(one.n)} times"
    )
    return html(
        '<div class="logit" data-tip="{}"><span class="tok">{}</span>'
        '<span class="bar"><i style="width:{:.1f}%"></i></span><span class="n">{}</span></div>',
        tip,
        visible(one.text),
        100 * min(1.0, one.share),
        percent(one.share),
    )


def _samples(studied: HeadStudies) -> Markup:
    if not studied.looks:
        return Markup(
            '<p class="small soft">Sampled patterns come with <code>atlas study heads</code>.</p>'
        )
    lines = [_look(one) for one in studied.looks]
    rest = html(
        "<details><summary>{} more</summary>{}</details>", len(lines) - _LOOKS, join(lines[_LOOKS:])
    )
    return html(
        '<h3>Sampled, from strong to weak <span class="tiny soft">orange looks at blue</span></h3>'
        '<div class="ex">{}</div>{}',
        join(lines[:_LOOKS]),
        rest if len(lines) > _LOOKS else "",
    )


def _look(one: HeadLook) -> Markup:
    """The tokens around both ends; what lies far between is left out."""
    shown = {
        pos
        for end in (one.src, one.dst)
        for pos in range(end - _AROUND, end + _AROUND // 2 + 1)
        if 0 <= pos < len(one.tokens)
    }
    parts, before = [], -1
    for pos in sorted(shown):
        if pos != before + 1:
            parts.append(Markup(" … "))
        kind = "a here" if pos == one.dst else "s from" if pos == one.src else ""
        parts.append(
            html(
                '<span class="{}" style="--a:1;--s:1" data-tip="{}">{}</span>',
                kind,
                f"{exact(one.tokens[pos])}   position {pos}",
                visible(one.tokens[pos]),
            )
        )
        before = pos
    return html(
        '<div class="sample"><span class="n" data-tip="{}">{}</span>'
        '<div class="text">{}</div></div>',
        f"attention {one.weight:.4f} over {one.dst - one.src} tokens\n{one.doc}",
        fixed(one.weight, 2),
        join(parts),
    )


def effects(studied: HeadStudies, snapshot: str) -> Markup:
    """What studies say the head does, each figure with its interval."""
    if not studied.effects:
        return Markup("")
    scale = (
        min(0.0, *(e.within.low if e.within else e.value for e in studied.effects), 0.0),
        max(0.0, *(e.within.high if e.within else e.value for e in studied.effects), 0.0),
    )
    columns = (
        Column("study"),
        Column("what"),
        Column("value, 95 %", width="36%"),
        Column("n", True),
    )
    lines = (
        (
            a(AtStudies(one.run), one.study, snapshot),
            one.what,
            ranged(
                one.value,
                one.within.low if one.within else None,
                one.within.high if one.within else None,
                scale,
            ),
            count(one.n),
        )
        for one in studied.effects
    )
    said = ""
    if studied.prefix_class and studied.prefix_class != "none":
        said = html('<span class="chip good">{} induction</span>', studied.prefix_class)
    return html("<h2>What studies say {}</h2>{}", said, table(columns, lines))


def partners(composed: HeadComposition, snapshot: str) -> Markup:
    """Heads that compose with this one most strongly, by weights."""
    edges = sorted((*composed.earlier, *composed.later), key=lambda one: -one.score)[:_PARTNERS]
    if not edges:
        return Markup("")
    columns = (
        Column("head", width="10em"),
        Column("how"),
        Column("score", True, f"{_COMPOSITION}; about {sig(composed.chance)} by chance"),
        Column("", width="40%"),
    )
    lines = (
        (
            _other(one, composed.id, snapshot),
            _how(one, composed.id),
            sig(one.score),
            html(
                '<span class="bar"><i style="width:{:.1f}%"></i></span>',
                100 * one.score / edges[0].score,
            ),
        )
        for one in edges
    )
    said = html('<p class="small soft">{}</p>', " ".join(composed.said)) if composed.said else ""
    return html("<h2>Composition partners</h2>{}{}", table(columns, lines), said)


def _other(one: Edge, head: HeadId, snapshot: str) -> Markup:
    other = one.later if one.head == head else one.head
    return a_id(other, snapshot, f"L{other.layer}H{other.head}")


def _how(one: Edge, head: HeadId) -> str:
    kind = _READS[one.kind]
    if one.head == head:
        return f"reads this head into its {kind}"
    return f"is read into {kind} of this head"
