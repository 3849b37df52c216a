"""Several processes at once: nobody's words are lost, not even to kill -9."""

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from atlas.note_types import Collection, Comment
from atlas.store.notes import Notes
from tests.notes import writers

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.notes.writers"])


def _run(target, each):
    processes = [PROCESSES.Process(target=target, args=args) for args in each]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_four_processes_that_write_at_once_lose_nothing(place):
    _run(writers.write_comments, [(place, f"p{n}", 25) for n in range(4)])
    with Notes.open(place) as notes:
        texts = {note.content.text for note in notes.every(Comment)}
        assert texts == {f"p{n} {m}" for n in range(4) for m in range(25)}
        assert [change.number for change in notes.recent(200)] == list(range(100, 0, -1))


def test_processes_that_fill_one_collection_lose_no_member(place):
    with Notes.open(place) as notes:
        listed = notes.add(Collection("shared"), "ann").id
        _run(writers.collect_members, [(place, listed, layer, 10) for layer in range(3)])
        members = {member.target for member in notes.get(listed).content.members}
        assert members == {f"gpt2/L{layer}H{head}" for layer in range(3) for head in range(10)}
        assert notes.get(listed).version == 31


def test_threads_of_one_process_share_the_notes(place):
    with Notes.open(place) as notes, ThreadPoolExecutor(8) as pool:
        texts = [f"comment {n}" for n in range(80)]
        list(pool.map(lambda text: notes.add(Comment("gpt2", text), "ann"), texts))
        assert {note.content.text for note in notes.every(Comment)} == set(texts)


def test_a_fresh_store_opened_by_six_processes_at_once_is_made_once(place):
    _run(writers.only_open, [(place,)] * 6)
    with Notes.open(place) as notes:
        assert notes.stamp() == 0


@pytest.mark.parametrize("rounds", [10])
def test_kill_9_of_a_writer_loses_no_write_that_was_acknowledged(place, rounds):
    with Notes.open(place) as notes:
        for number in range(rounds):
            heard, said = PROCESSES.Pipe(duplex=False)
            author = f"r{number}"
            process = PROCESSES.Process(
                target=writers.write_and_say_so, args=(place, author, said), daemon=True
            )
            process.start()
            said.close()
            acknowledged = [heard.recv()]
            until = time.monotonic() + 0.01 * (number + 1)
            while time.monotonic() < until:
                if heard.poll(0.01):
                    acknowledged.append(heard.recv())
            process.kill()
            process.join()
            acknowledged += _rest(heard)
            texts = {c.content.text for c in notes.every(Comment) if c.author == author}
            assert texts >= {f"{author} {n}" for n in acknowledged}
        assert len(notes.recent(10_000)) == notes.stamp() == len(notes.every(Comment))
        notes.add(Comment("gpt2", "still here"), "ann")


def _rest(heard):
    """What had been sent before the sender died."""
    numbers = []
    try:
        while heard.poll():
            numbers.append(heard.recv())
    except EOFError:
        pass
    return numbers
