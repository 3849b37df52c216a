"""What the processes of test_processes do."""

from multiprocessing.connection import Connection
from pathlib import Path

from atlas.note_types import Comment, Member
from atlas.store.notes import Notes


def write_comments(place: str, author: str, count: int) -> None:
    """Open the notes and write some comments, each a transaction of its own."""
    with Notes.open(place) as notes:
        for n in range(count):
            notes.add(Comment("gpt2", f"{author} {n}"), author)


def collect_members(place: str, collection: str, layer: int, count: int) -> None:
    """Put heads of one layer into a collection, one by one."""
    with Notes.open(place) as notes:
        for head in range(count):
            notes.collect(collection, [Member(f"gpt2/L{layer}H{head}")], f"author {layer}")


def write_and_say_so(place: str, author: str, said: Connection) -> None:
    """Write comments without end, and send each number once its write has returned."""
    with Notes.open(place) as notes:
        n = 0
        while True:
            notes.add(Comment("gpt2", f"{author} {n}"), author)
            said.send(n)
            n += 1


def only_open(place: Path) -> None:
    """Open the notes, which makes or upgrades them."""
    Notes.open(place).close()
