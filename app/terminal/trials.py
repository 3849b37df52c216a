"""Hypotheses on the command line: which are meant, how they are saved, how a test looks."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.terminal.names import meant
from atlas.api import Atlas
from atlas.errors import QueryError
from atlas.hypothesis_types import Instance, Trial, Verdict
from atlas.note_types import Note, SavedQuery, Scalar
from atlas.store.trials import Saved, of_note
from atlas.types import Interval

NEARLY_ALWAYS = 0.9
"""Alarms from which a hypothesis is true of about every place."""
LONGEST_NAME = 255
"""Of a file, on common file systems."""


def asked(
    atlas: Atlas, given: str | None, targets: Sequence[str | None], seed: int
) -> tuple[Saved, ...]:
    """What to test: all that is saved, one that is saved, or a statement with one target.

    Raises:
        QueryError: no target, several, or a file that cannot be read.
        NotFound: the target means nothing, or more than one thing.
    """
    saved = {note.content.name: note for note in _saved(atlas)}
    named = [target for target in targets if target]
    if given is None:
        return tuple(of_note(note) for note in saved.values())
    if given in saved and not named:
        return (of_note(saved[given]),)
    text = of_note(saved[given]).hypothesis if given in saved else _read(given)
    if len(named) != 1:
        raise QueryError(
            f"{len(named)} targets are named", "give one of --feature, --head and --sae"
        )
    return (Saved(text, str(meant(atlas, named[0])), seed),)


def _saved(atlas: Atlas) -> list[Note[SavedQuery]]:
    written = atlas.written
    kept = written.every(SavedQuery) if written else ()
    return [note for note in kept if note.content.form == "hypothesis"]


def _read(given: str) -> str:
    """The text of a file of that name, or what was given itself."""
    if len(given) > LONGEST_NAME:
        return given
    try:
        path = Path(given)
        return path.read_text("utf-8") if path.is_file() else given
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(f"{given[:200]} cannot be read: {error}") from error


def save(atlas: Atlas, done: Sequence[Saved], name: str, author: str) -> None:
    """Keep a tested hypothesis among the notes. Raises NotesError without an author."""
    for one in done:
        parameters: dict[str, Scalar] = {"target": one.target, "seed": one.seed}
        atlas.notes.add(SavedQuery(name, one.hypothesis, "hypothesis", parameters), author)


def show_trials(console: Console, trials: Sequence[Trial]) -> None:
    """Every test with its figures, best features and exceptions."""
    if not trials:
        console.print("no hypothesis is saved; test one with: atlas test STATEMENT --feature ID")
    for trial in trials:
        console.print(f"[bold]{escape(trial.hypothesis)}[/bold]")
        told = f"{trial.target}, snapshot {trial.snapshot}, seed {trial.seed}"
        console.print(f"{told}; {trial.pooled.features} of {trial.candidates} features")
        console.print(_table([trial.pooled, *trial.verdicts]))
        if trial.of_source:
            console.print(
                "recall and near misses: by the measured source; chance: recall if any earlier"
                " token and head were as likely; the others: of any earlier token and head"
            )
        if (trial.pooled.alarms.share or 0.0) > NEARLY_ALWAYS:
            console.print(
                f"it holds of {trial.pooled.alarms.share:.0%} of the silent places: precision and"
                " lift say nothing here, recall against chance does"
            )
        for title, instances in (("missed", trial.missed), ("alarmed", trial.alarmed)):
            for one in instances[:5]:
                console.print(f"  {title}: {_told(one)}", markup=False)


def _table(verdicts: Sequence[Verdict]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("target", min_width=max(len(one.target) for one in verdicts))
    names = ("firings", "silent", "recall %", "chance %", "anywhere %", "alarms %")
    for name in (*names, "near misses %", "precision %", "lift", "density %"):
        table.add_column(name, justify="right")
    for one in verdicts:
        rates = (one.recall, one.anywhere, one.alarms, one.near_misses)
        recall, *shares = (_figure(rate.share, rate.interval, 100) for rate in rates)
        chance = "–" if one.chance is None else _short(100 * one.chance)
        precision = _figure(one.precision, one.precision_interval, 100)
        lift, density = _figure(one.lift, one.lift_interval, 1), f"{100 * one.density:.2g}"
        counts = (str(one.recall.n), str(one.alarms.n))
        table.add_row(one.target, *counts, recall, chance, *shares, precision, lift, density)
    return table


def _figure(value: float | None, interval: Interval | None, times: float) -> str:
    """A value with its interval; the interval alone where the value is not known."""
    if interval is None:
        return "–"
    within = f"({_short(times * interval.low)}–{_short(times * interval.high)})"
    return within if value is None else f"{_short(times * value)} {within}"


def _short(value: float) -> str:
    """Two digits, without an exponent where there are no more than four in all."""
    return f"{value:.0f}" if 10 <= value < 10_000 else f"{value:.2g}"


def _told(one: Instance) -> str:
    source = "" if one.source is None else f" from {one.source_token!r} at {one.source}"
    head = "" if one.head is None else f" by head {one.head}"
    return f"{one.feature} context {one.ctx} at {one.pos} {one.token!r}{source}{head}"
