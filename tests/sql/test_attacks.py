"""Attacks on the SQL door: each is refused or bounded, and the next query works at once."""

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from atlas.errors import QueryError
from atlas.store.sql import EVIDENCE, SqlLimits, SqlService
from tests.sql.attacks import BOMBS, FORBIDDEN

SECONDS = 0.25
LIMITS = SqlLimits(
    seconds=5.0, rows=1000, reply_bytes=2**20, memory_bytes=400 * 2**20, workers=1, waiting=8
)


@pytest.fixture(scope="module")
def guarded(notes):
    with SqlService(notes, LIMITS) as service:
        yield service


@pytest.fixture(autouse=True)
def _unharmed(guarded, snapshot):
    """After every attack a normal query works quickly, the snapshot is whole, memory is flat."""
    before = _memory()
    yield
    started = time.perf_counter()
    counts = "SELECT (SELECT count(*) FROM feature), (SELECT count(*) FROM tag)"
    assert guarded.run(snapshot, counts).rows == ((12, 3),)
    assert time.perf_counter() - started < 5
    assert os.listdir(snapshot.path) == [EVIDENCE]
    assert _memory() - before < 64 * 2**20


def _memory() -> int:
    """Bytes of memory this process holds; its peak where the system says no more."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize(("query", "message"), FORBIDDEN)
def test_what_is_not_a_question_to_the_atlas_is_refused(guarded, snapshot, query, message):
    with pytest.raises(QueryError, match=message) as caught:
        guarded.run(snapshot, query)
    assert str(snapshot.path) not in str(caught.value)


@pytest.mark.parametrize("query", BOMBS, ids=lambda query: query[:60])
def test_a_query_that_would_never_end_is_ended_or_bounded(guarded, snapshot, query):
    started = time.perf_counter()
    try:
        result = guarded.run(snapshot, query, seconds=SECONDS)
    except QueryError:
        result = None
    assert time.perf_counter() - started < SECONDS + 1 + 5  # the limit, the kill, a slow machine
    assert result is None or len(result.arrow) <= LIMITS.reply_bytes


def test_what_no_interrupt_reaches_is_killed(guarded, snapshot):
    query = "SELECT levenshtein(repeat('ab', 100000), repeat('ba', 100000))"
    with pytest.raises(QueryError, match=r"longer than 0.25 s"):
        guarded.run(snapshot, query, seconds=SECONDS)


def test_of_a_thousand_queries_at_once_some_are_answered_and_the_rest_told(guarded, snapshot):
    def ask(number):
        try:
            return guarded.run(snapshot, "SELECT $n", {"n": number}).rows == ((number,),)
        except QueryError as error:
            return error.message

    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(ask, range(1000)))
    assert set(answers) <= {True, "too many queries are waiting"}
    assert answers.count(True) >= 9


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM enable_logging()",
        'FROM system.main."enable_logging"()',
        "SELECT * FROM query('FROM enable_' || 'logging()')",
        "SELECT * FROM enable_logging(storage = 'file', storage_path = '/tmp/stolen')",
    ],
)
def test_a_select_that_changes_the_whole_database_spoils_it_for_nobody(guarded, snapshot, query):
    with contextlib.suppress(QueryError):
        guarded.run(snapshot, query)
    guarded.run(snapshot, "SELECT $secret", {"secret": "mine"})
    assert guarded.run(snapshot, "SELECT * FROM duckdb_logs()").rows == ()
    assert guarded.run(snapshot, "SELECT current_setting('enable_logging')").rows == ((False,),)


SECOND_DOORS = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from atlas.store.sql_worker import limit_process, open_database
database = open_database(sys.argv[1], 2**28)
database.execute("CREATE TABLE memory.main.tag AS SELECT 1 AS x")
limit_process(2**28)
for query in [
    f"COPY (SELECT 1) TO '{sys.argv[1]}.wal' (FORMAT csv, USE_TMP_FILE false)",
    "COPY (SELECT 1) TO '/tmp/stolen.csv'",
    "SET enable_external_access = true",
    "RESET memory_limit",
    "BEGIN TRANSACTION READ ONLY; INSERT INTO memory.main.tag VALUES (2)",
    "ROLLBACK; INSERT INTO evidence.main.sae (sae) VALUES (7)",
    "SELECT repeat('x', 2000000000)",
]:
    try:
        database.execute(query)
    except Exception as error:
        print("refused", type(error).__name__)
    else:
        print("ALLOWED", query)
"""


def test_behind_the_parser_every_other_door_is_shut_too(snapshot):
    command = [sys.executable, "-c", SECOND_DOORS, str(snapshot.path / EVIDENCE)]
    done = subprocess.run(
        [*command, json.dumps(sys.path)], capture_output=True, text=True, timeout=30
    )
    assert done.stdout.split()[::2] == ["refused"] * 7, done.stdout + done.stderr
    for left in snapshot.path.glob("*.wal"):  # made empty by root, whom no folder's mode stops
        assert left.stat().st_size == 0
        left.unlink()


ORPHAN = """
import json, pathlib, sys
sys.path[:] = json.loads(sys.argv[2])
from datetime import UTC, datetime
from atlas.store.sql import SqlLimits, SqlService
from atlas.types import Snapshot
snapshot = Snapshot(1, pathlib.Path(sys.argv[1]), 1, datetime.now(UTC))
service = SqlService(limits=SqlLimits(seconds=0.2))
service.run(snapshot, "SELECT 1")
print("ready", flush=True)
service.run(snapshot, "SELECT levenshtein(repeat('ab', 100000), repeat('ba', 100000))")
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_runaway_query_does_not_outlive_a_parent_that_was_killed(snapshot):
    command = [sys.executable, "-c", ORPHAN, str(snapshot.path), json.dumps(sys.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"ready\n"
        (worker,) = _children(parent.pid)
        time.sleep(0.1)
        parent.kill()
    ends = time.monotonic() + 5
    while Path(f"/proc/{worker}").exists() and time.monotonic() < ends:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


def _children(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found
