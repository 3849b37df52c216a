"""The one look of tables, and of an example in a line."""

from rich.table import Table
from rich.text import Text

from atlas.types import Example

ACTIVATION, SOURCE = "black on dark_orange", "white on blue"
WIDTH = 12
"""Tokens shown on either side of a firing."""
_TEXT = {"feature", "title", "why", "run", "state", "stage", "progress", "head", "SAE"}


def table(*columns: str) -> Table:
    """An empty table: columns of text to the left, of numbers to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="left" if column in _TEXT else "right", overflow="fold")
    return made


def line(example: Example) -> Text:
    """One example: the firing token orange, its strongest source blue."""
    text = Text(f"{example.act:8.3f}  ")
    source = next((one.pos for one in example.sources if one.dfa > 0), None)
    begin = max(0, min(example.pos, source if source is not None else example.pos) - WIDTH)
    begin = max(begin, example.pos - 3 * WIDTH)
    if source is not None and source < begin:
        text.append(_visible(example.tokens[source]), SOURCE)
        text.append(" … ")
    for pos in range(begin, min(example.pos + WIDTH, len(example.tokens))):
        style = ACTIVATION if pos == example.pos else SOURCE if pos == source else ""
        text.append(_visible(example.tokens[pos]), style)
    return text


def _visible(token: str) -> str:
    return token.replace("\n", "↵").replace("\t", "⇥").replace("\r", "")
