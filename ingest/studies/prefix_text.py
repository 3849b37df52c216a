"""Induction on real text and what is left of it when the prefix is broken (PAPER.md 8.1, 3 and 4).

An event of a head is the first (D, S) of a window with attention above a threshold, S neither the
start token nor D itself. Its prefix is counted backwards: how many tokens before S equal, spaces
and case aside, those that end at D. Where it has two tokens or more, the token at S-2 is replaced,
which leaves a prefix of one, and the attention is read again at the same (D, S).
"""

from collections.abc import Container, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LEAST = 2
"""Shortest prefix that can be broken and leave one token."""
LONGEST = 10
"""Prefixes are counted up to here."""
CONTROLS = ("random", "resample", "mean", "elsewhere")
"""What is put at S-2: a random token, a token of another window, the mean embedding; and a random
token at a place outside both prefixes, which should change nothing."""


class Event(NamedTuple):
    """A head that attends in a window as induction would."""

    window: int
    layer: int
    head: int
    dst: int
    src: int
    length: int
    attention: float


class Break(NamedTuple):
    """A place of a window that is broken for all events that share it."""

    window: int
    src: int
    events: tuple[Event, ...]

    @property
    def place(self) -> int:
        return self.src - 2

    @property
    def until(self) -> int:
        """Positions that the events need."""
        return 1 + max(event.dst for event in self.events)


def same_as(texts: Sequence[str]) -> Tensor:
    """`[token]`: equal numbers for tokens that differ only in spaces around them and in case."""
    numbers: dict[str, int] = {}
    plain = (text.strip().lower() or text for text in texts)
    return torch.tensor([numbers.setdefault(text, len(numbers)) for text in plain])


def prefix_lengths(same: Tensor, start: int) -> Tensor:
    """`[window, dst, src]`: tokens before src that equal those that end at dst; at most LONGEST.

    Args:
        same: `[window, pos]` token classes.
        start: first position that holds text, behind the start token.
    """
    n, pos = same.shape
    equal = same[:, :, None] == same[:, None, :]
    equal[:, :start] = False
    equal[:, :, :start] = False
    ending = torch.zeros(n, pos + 1, pos + 1, dtype=torch.long)  # at (dst, src - 1), shifted by one
    for dst in range(pos):
        longer = 1 + ending[:, dst, :pos]
        ending[:, dst + 1, 1:] = torch.where(equal[:, dst], longer, 0)
    # ending[dst + 1, src] is about positions dst and src - 1.
    return ending[:, 1:, :pos].clamp(max=LONGEST)


def first_events(
    pattern: Tensor, allowed: Tensor, lengths: Tensor, least: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The first allowed (dst, src) of every window and head.

    Args:
        pattern: `[window, head, dst, src]`, True where attention is above the threshold.
        allowed: `[window, dst, src]`, pairs that may count.
        lengths: `[window, dst, src]` of prefixes.
        least: shortest prefix that counts.

    Returns:
        Whether there is one, dst and src, each `[window, head]`.
    """
    wanted = pattern & (allowed & (lengths >= least))[:, None]
    flat = wanted.flatten(2)
    found, place = flat.any(-1), flat.int().argmax(-1)
    width = pattern.shape[-1]
    return found, place // width, place % width


def pairs(length: Tensor, pos: int, start: int) -> Tensor:
    """`[window, dst, src]`: pairs within a window's text, src before dst, no start token.

    Args:
        length: `[window]` tokens of each.
        pos: positions of the windows.
        start: first position that holds text.
    """
    places = torch.arange(pos)
    before = (places[None, :] < places[:, None]) & (places[None, :] >= start)
    return before[None] & (places[None, :, None] < length[:, None, None])


def plan(
    events: Sequence[Event], each: int, most: int, first: Container[tuple[int, int]] = ()
) -> list[Break]:
    """Which places to break: those that serve most heads first, until every head has enough.

    Args:
        events: of all heads.
        each: events wanted of every head.
        most: places that may be broken.
        first: (layer, head) of heads that count before all others.
    """
    places: dict[tuple[int, int], list[Event]] = {}
    for event in events:
        places.setdefault((event.window, event.src), []).append(event)

    def worth(place: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
        sharing = places[place]
        wanted = sum((event.layer, event.head) in first for event in sharing)
        return -wanted, -len(sharing), place

    have: dict[tuple[int, int], int] = {}
    chosen: list[Break] = []
    for window, src in sorted(places, key=worth):
        sharing = places[window, src]
        if len(chosen) == most:
            break
        if all(have.get((event.layer, event.head), 0) >= each for event in sharing):
            continue
        chosen.append(Break(window, src, tuple(sharing)))
        for event in sharing:
            have[event.layer, event.head] = have.get((event.layer, event.head), 0) + 1
    return chosen


def elsewhere(one: Break, start: int, draw: torch.Generator) -> int | None:
    """A place of the window that lies in none of the events' prefixes; None where there is none."""
    reach = max(event.length for event in one.events)
    taken = set(range(one.src - 1 - reach, one.src + 1))
    for event in one.events:
        taken |= set(range(event.dst - event.length, event.dst + 1))
    free = [place for place in range(start, one.until) if place not in taken]
    return free[int(torch.randint(len(free), (), generator=draw))] if free else None
