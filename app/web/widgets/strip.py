"""A prompt token by token, each a link; what fires is orange, what is read from is blue."""

from collections.abc import Callable, Mapping

from markupsafe import Markup

from app.web.url import AtPrompt
from app.web.widgets.html import a, html, join
from app.web.widgets.text import exact, fixed, visible
from app.web.widgets.tokens import opacity
from atlas.prompt_types import Prompt

_NONE: Mapping[int, float] = {}


def strip(
    prompt: Prompt,
    snapshot: str,
    to: Callable[[int], AtPrompt],
    *,
    acts: Mapping[int, float] = _NONE,
    given: Mapping[int, float] = _NONE,
    gives: str = "gives",
    scale: float | None = None,
    here: int | None = None,
    chosen: int | None = None,
) -> Markup:
    """The tokens of a prompt.

    Args:
        prompt: the tokens.
        snapshot: what its links show.
        to: where a token leads, by its position.
        acts: activations by position, in orange.
        given: what each position gives, in blue; a dashed line takes away.
        gives: what `given` is, in a word or two.
        scale: the value of `given` in full colour; the largest one by default.
        here: the position that the numbers are about.
        chosen: the position that was chosen.
    """
    top_act = max((abs(act) for act in acts.values()), default=0.0)
    top_given = scale or max((abs(value) for value in given.values()), default=0.0)
    parts = []
    for pos, token in enumerate(prompt.tokens):
        kinds, style, words = [], [], [f"{exact(token)}   position {pos}"]
        if acts.get(pos):
            kinds.append("a")
            style.append(f"--a:{opacity(acts[pos], top_act):.2f}")
            words.append(f"activation {fixed(acts[pos], 4)}")
        if given.get(pos):
            kinds.append("s minus" if given[pos] < 0 else "s")
            style.append(f"--s:{opacity(given[pos], top_given):.2f}")
            words.append(f"{gives} {fixed(given[pos], 4)}")
        kinds += ["here"] * (pos == here) + ["from"] * (pos == chosen)
        parts.append(
            html(
                '<span class="{}" style="{}" data-tip="{}">{}</span>',
                " ".join(kinds),
                ";".join(style),
                "\n".join(words),
                a(to(pos), visible(token), snapshot),
            )
        )
    return html('<div class="ex prompt"><div class="text">{}</div></div>', join(parts))


def token_at(prompt: Prompt, pos: int) -> Markup:
    """A token of a prompt with its position."""
    token = visible(prompt.tokens[pos])
    return html('<span class="tok">{}</span> <span class="soft">{}</span>', token, pos)
