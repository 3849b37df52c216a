"""Reading a whole store: which snapshots, weights and notes are as they were written."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from atlas.bundle import sha256_file
from atlas.errors import StoreError
from atlas.store import snapshots
from atlas.store.notes import Notes


@dataclass(frozen=True, slots=True)
class Verdict:
    """One part of a store, and what is wrong with it."""

    what: str
    problem: str | None
    """None for a part that is as it was written."""


def verify(store: Path, notes: str | None = None) -> Iterator[Verdict]:
    """Read every byte of a store; each part as it is done.

    Args:
        store: the store's folder.
        notes: URL of the notes' database, where it is not in the store.

    Raises:
        StoreError: there is no store.
    """
    numbers = snapshots.numbers(store)
    if not numbers:
        raise StoreError(f"no atlas at {store}", "name another folder with --store")
    for number in numbers:
        try:
            snapshots.verify(store, number)
            snapshots.open_number(store, number)[1].close()
        except StoreError as error:
            yield Verdict(f"snapshot {number:06d}", str(error))
        else:
            yield Verdict(f"snapshot {number:06d}", None)
    for path in sorted((store / "weights").glob("*.safetensors")):
        same = sha256_file(path) == path.stem
        yield Verdict(f"weights {path.stem}", None if same else "other bytes than its name says")
    if notes is not None or (store / "notes.sqlite").is_file():
        yield Verdict("notes", _wrong_with_notes(notes or store / "notes.sqlite"))


def _wrong_with_notes(where: Path | str) -> str | None:
    """What is wrong with notes: their file's structure, or a note that its history contradicts."""
    try:
        with Notes.open(where) as notes:
            wrong = notes.contradictions()
    except StoreError as error:
        return str(error)
    return f"note {wrong[0]} is not what its history says" if wrong else None
