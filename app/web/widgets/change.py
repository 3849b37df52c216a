"""What happens on a prompt when a feature or a head is changed: the form, and before and after."""

from collections.abc import Sequence

from markupsafe import Markup

from app.web.url import AtPrompt
from app.web.widgets.fields import box, choice, form
from app.web.widgets.html import a_id, html
from app.web.widgets.pieces import Seen, label, short
from app.web.widgets.strip import token_at
from app.web.widgets.table import Column, table
from app.web.widgets.text import exact, fixed, percent, sig, visible
from atlas.api import Atlas
from atlas.errors import QueryError
from atlas.ids import FeatureId, HeadId
from atlas.prompt_types import Ablation, Edit, FeatureChange, Piece, TokenChange

_HOWS = {
    "": "leave it",
    "zero": "set to zero",
    "mean": "set to its mean on the text",
    "set": "set to the value",
    "scale": "multiply by the value",
    "resample": "take it from the second text",
}
_WHERE = {"false": "at this position", "true": "at every position"}
_TOKENS, _FEATURES = 10, 15


def change_form(place: AtPrompt, target: FeatureId | HeadId, snapshot: str) -> Markup:
    """What to do to the feature or head that is shown, or to another."""
    kept = AtPrompt(
        place.text, place.other, place.model, place.pos, place.feature, place.src, place.head,
        place.depth, place.top, trail=place.trail,
    )  # fmt: skip
    return html(
        '<h2>Change it and watch</h2><p class="small soft">Ablate or steer a feature or a head;'
        " SAE errors are kept as they are.</p>{}",
        form(
            kept,
            snapshot,
            "row bottom change",
            box("target", "feature or head", place.target, str(target)),
            choice("how", "what to do", _HOWS, place.how, unset=""),
            box("value", "value", place.value, "for set, multiply"),
            choice(
                "everywhere",
                "where",
                _WHERE,
                "true" if place.everywhere else "false",
                unset="false",
            ),
            Markup('<button class="first">See what changes</button>'),
        ),
    )


def edit_of(atlas: Atlas, place: AtPrompt, target: FeatureId | HeadId) -> Edit:
    """The edit that a URL asks for.

    Raises:
        QueryError: it lacks a value, a second text, or names several things or none.
    """
    assert place.how
    if place.target:
        found = [
            one for one in atlas.jump(place.target).found if isinstance(one, FeatureId | HeadId)
        ]
        if len(found) != 1:
            several = ", ".join(map(str, found)) or "none here"
            raise QueryError(
                f"{place.target!r} is not one feature or head ({several})", "give the whole id"
            )
        target = found[0]
    if place.how in ("set", "scale") and place.value is None:
        raise QueryError(f"no value to {place.how} it to", "write one in the field `value`")
    where = None if place.everywhere or place.pos is None else (place.pos,)
    other = place.other or None if place.how in ("resample", "mean") else None
    return Edit(target, place.how, place.value or 0.0, where, other)


def changed(seen: Seen, done: Ablation) -> Markup:
    """Next tokens and later features, before and after."""
    last = len(done.prompt.ids) - 1
    loss = [sum(side) / len(side) if side else 0.0 for side in (done.loss_before, done.loss_after)]
    return html(
        '<div class="figures"><span>{}</span><span data-tip="{}">KL <b>{} nats</b></span>'
        '<span data-tip="{}">loss <b>{} → {}</b></span></div>'
        '<div class="two"><div><h3>Next token after <span class="tok">{}</span></h3>{}</div>'
        "<div><h3>Features of later layers that change most</h3>{}</div></div>",
        _said(done.edits, seen.snapshot),
        "from the prediction before to the one after",
        sig(done.kl),
        "mean over the text, nats per token",
        fixed(loss[0]),
        fixed(loss[1]),
        visible(done.prompt.tokens[last]),
        tokens(done.tokens[:_TOKENS], "before", "after"),
        _downstream(seen, done.downstream[:_FEATURES]),
    )


def _said(edits: Sequence[Edit], snapshot: str) -> Markup:
    (edit,) = edits
    value = f" {sig(edit.value)}" if edit.how in ("set", "scale") else ""
    where = (
        "everywhere"
        if edit.positions is None
        else f"at position {', '.join(map(str, edit.positions))}"
    )
    words = {
        "set": "set to",
        "scale": "multiplied by",
        "zero": "set to zero",
        "mean": "set to its mean",
        "resample": "taken from the second text",
    }
    return html("{} {}{} {}", a_id(edit.target, snapshot), words[edit.how], value, where)


def tokens(changes: Sequence[TokenChange], first: str, second: str) -> Markup:
    """Next tokens with two probabilities each, as paired bars."""
    words = first, second
    columns = (
        Column("token"),
        Column(first, True, width="5em"),
        Column(second, True, width="5em"),
        Column("", width="45%"),
    )
    lines = (
        (
            html('<span class="tok" data-tip="{}">{}</span>', _tip(one, words), visible(one.text)),
            percent(one.before),
            percent(one.after),
            html(
                '<span class="bar twin first"><i style="width:{:.1f}%"></i></span>'
                '<span class="bar twin act"><i style="width:{:.1f}%"></i></span>',
                100 * one.before,
                100 * one.after,
            ),
        )
        for one in changes
    )
    return table(columns, lines)


def _tip(one: TokenChange, words: tuple[str, str]) -> str:
    first, second = words
    return (
        f"{exact(one.text)}   token {one.token}\n{first} {one.before:.6f}\n{second} {one.after:.6f}"
    )


def _downstream(seen: Seen, changes: Sequence[FeatureChange]) -> Markup:
    if not changes:
        return Markup('<p class="small soft">None: no later layer has an SAE, or none changed.</p>')
    columns = (
        Column("feature", width="9em"),
        Column("title"),
        Column("on", width="8em"),
        Column("before", True),
        Column("after", True),
    )
    lines = (
        (
            a_id(one.feature, seen.snapshot, short(one.feature)),
            label(seen, Piece("feature", None, one.pos, one.feature, None, 0.0)),
            token_at(seen.prompt, one.pos),
            fixed(one.before),
            fixed(one.after),
        )
        for one in changes
    )
    return table(columns, lines)
