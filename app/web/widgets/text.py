"""Text and numbers as people read them. Token text is data: whatever is in it, it is shown."""

import json
import unicodedata
from datetime import datetime
from math import floor, log10

from atlas.store.vocab import readable

_MARKS = {"\n": "↵", "\t": "⇥", "\r": "␍", "\x7f": "␡"}
_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def visible(token: str) -> str:
    """Token text with everything in it to be seen: ↵ for a line break, ⇥ for a tab, and so on.

    A space before a word stays a space; spaces alone are shown as ␣.
    """
    text = readable(token)
    if text and not text.strip(" "):
        return "␣" * len(text)
    return "".join(_seen(letter) for letter in text) or "∅"


def exact(token: str) -> str:
    r"""Token text in quotes with escapes, such as `" the"` and `"\n"`."""
    return '"' + "".join(_escaped(letter) for letter in readable(token)) + '"'


def _escaped(letter: str) -> str:
    if letter in '"\\' or unicodedata.category(letter) in _UNSEEN:
        return json.dumps(letter)[1:-1]
    return letter


def _seen(letter: str) -> str:
    if letter in _MARKS:
        return _MARKS[letter]
    if letter < " ":
        return chr(0x2400 + ord(letter))
    if unicodedata.category(letter) in _UNSEEN:
        return f"⟨U+{ord(letter):04X}⟩"
    return letter


def plain(text: str) -> str:
    """Prose or a label with its control and direction characters to be seen, line breaks kept."""
    return "".join(letter if letter in "\n\t" else _seen(letter) for letter in text)


def count(n: float) -> str:
    """12,345."""
    return f"{n:,.0f}"


def sig(x: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; a dash for none."""
    if x is None:
        return "–"
    if x == 0:
        return "0"
    text = f"{x:.{digits}g}"
    if "e" in text:
        return text if abs(x) < 1 else f"{x:,.0f}"
    return text.replace("-", "−")


def fixed(x: float | None, digits: int = 3) -> str:
    """A number with so many digits after the point; a dash for none."""
    return "–" if x is None else f"{x:.{digits}f}".replace("-", "−")


def percent(x: float | None) -> str:
    """A share as a percentage: whole from ten on, one digit below."""
    if x is None:
        return "–"
    value = 100 * x
    if 0 < value < 0.05:
        return "<0.1 %"
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.1f} %"


def density(x: float) -> str:
    """A share that may be tiny, as a percentage with two significant digits."""
    value = 100 * x
    if value == 0 or value >= 9.95:
        return f"{value:.0f} %"
    places = max(0, 1 - floor(log10(value)))
    return f"{value:.{places}f} %"


def when(moment: datetime) -> str:
    """A moment to the minute, UTC."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """About how long: 12 s, 4 min, 2.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
