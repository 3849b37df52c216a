"""What a good query gets: rows with their types, from both stores, within its limits."""

import threading
from datetime import date, datetime, time
from decimal import Decimal

import pytest

from atlas.errors import QueryError, StoreError
from atlas.note_types import Tag
from atlas.store.sql import EVIDENCE, SqlLimits, SqlService
from tests.sql.conftest import a_snapshot


def test_evidence_and_notes_stand_side_by_side(sql, snapshot):
    result = sql.run(
        snapshot,
        "SELECT c.role, h.kv_head, c.confidence FROM role_claim c JOIN head h "
        "ON c.target = h.model || '/L' || h.layer || 'H' || h.head ORDER BY c.role",
    )
    assert result.columns == ("role", "kv_head", "confidence")
    assert result.types == ("VARCHAR", "INTEGER", "DOUBLE")
    assert result.rows == (("induction", 0, 0.75), ("previous_token", 0, 0.5))
    assert (result.snapshot, result.truncated) == ("000001", False)


def test_the_row_that_is_one_too_many_sets_the_flag(sql, snapshot):
    query = "SELECT feature FROM feature ORDER BY sae, feature"
    few = sql.run(snapshot, query, limit=5)
    assert few.rows == ((0,), (1,), (2,), (3,), (4,))
    assert few.truncated
    assert not sql.run(snapshot, query, limit=12).truncated


def test_values_go_in_by_name_and_in_order(sql, snapshot):
    named = sql.run(
        snapshot,
        "SELECT feature FROM feature WHERE feature IN (SELECT unnest($ids)) AND sae = $sae "
        "ORDER BY 1",
        {"ids": [1, 3], "sae": 0},
    )
    assert named.rows == ((1,), (3,))
    assert sql.run(snapshot, "SELECT ? || ?", ["a", "b"]).rows == (("ab",),)
    assert sql.run(snapshot, "SELECT $x IS NULL AS gone", {"x": None}).rows == ((True,),)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "without a value: x"),
        ({"x": 1, "y": 2}, "does not have: y"),
        ([1, 2], "does not have: 2|without a value: x"),
        ({"x": object()}, "parameter x is a object"),
        ({"x": 2**200}, "too large"),
        ({"x": "a" * 200_000}, "too long"),
        ({"a b": 1}, "not a parameter name"),
    ],
)
def test_parameters_that_do_not_fit_are_named(sql, snapshot, parameters, message):
    with pytest.raises(QueryError, match=message):
        sql.run(snapshot, "SELECT $x", parameters)


@pytest.mark.parametrize(
    ("expression", "kind", "value"),
    [
        ("170141183460469231731687303715884105727::HUGEINT", "HUGEINT", str(2**127 - 1)),
        ("1000000000000000000000000000000::HUGEINT", "HUGEINT", 10**30),
        ("sum(x) FROM range(3) t(x)", "HUGEINT", 3),
        ("[1::HUGEINT]", "HUGEINT[]", [1]),
        ("340282366920938463463374607431768211455::UHUGEINT", "UHUGEINT", str(2**128 - 1)),
        ("1.50", "DECIMAL(3,2)", Decimal("1.50")),
        ("'x'::ENUM ('x', 'y')", "ENUM('x', 'y')", "x"),
        ("DATE '2026-05-06'", "DATE", date(2026, 5, 6)),
        ("TIME '01:02:03'", "TIME", time(1, 2, 3)),
        ("TIMESTAMP '2026-05-06 07:08:09'", "TIMESTAMP", datetime(2026, 5, 6, 7, 8, 9)),  # noqa: DTZ001
        ("DATE 'infinity'", "DATE", "infinity|.*"),
        ("INTERVAL 3 DAY", "INTERVAL", "3 days"),
        ("'101'::BIT", "BIT", "101"),
        ("{'a': 1, 'b': [1.5, NULL]}", None, {"a": 1, "b": [Decimal("1.5"), None]}),
        ("MAP {'a': 1}", "MAP(VARCHAR, INTEGER)", [("a", 1)]),
        ("'ab'::BLOB", "BLOB", b"ab"),
        ("NULL", "INTEGER", None),
    ],
)
def test_values_keep_their_types(sql, snapshot, expression, kind, value):
    result = sql.run(snapshot, f"SELECT {expression}")
    assert kind is None or result.types == (kind,)
    if expression == "DATE 'infinity'":
        assert isinstance(result.rows[0][0], str)
    else:
        assert result.rows == ((value,),)


def test_dates_that_python_does_not_know_are_text_or_an_error_with_the_way_out(sql, snapshot):
    assert sql.run(snapshot, "SELECT DATE '20000-01-01'").rows == (("20000-01-01",),)
    with pytest.raises(QueryError, match="out of range.*cast them to VARCHAR"):
        sql.run(snapshot, "SELECT [DATE 'infinity']")


def test_every_type_of_duckdb_comes_through(sql, snapshot):
    names = sql.run(snapshot, "SELECT column_name FROM (DESCRIBE FROM test_all_types())").rows
    dated = ("date", "timestamp")  # those of this table lie beyond Python's calendar
    tried = [name for (name,) in names if not name.startswith(dated)]
    assert len(tried) > 40
    for name in tried:
        assert len(sql.run(snapshot, f'SELECT "{name}" FROM test_all_types()').rows) == 3, name


def test_nan_is_nan_and_columns_of_one_name_stay_two(sql, snapshot):
    result = sql.run(snapshot, "SELECT 'nan'::DOUBLE AS a, 1 AS a")
    assert result.rows[0][0] != result.rows[0][0]
    assert len(set(result.columns)) == 2


@pytest.mark.parametrize(
    "query",
    [
        "FROM sae SELECT layer ORDER BY layer",
        "SELECT layer FROM sae ORDER BY layer;  -- “étude”; done",
        "/* “é” */ SELECT layer FROM evidence.main.sae ORDER BY ALL ; ;",
        "WITH l AS (SELECT layer FROM sae) SELECT * FROM l ORDER BY 1 -- no semicolon",
        "(SELECT 0 UNION ALL SELECT 1)",
        "VALUES (0), (1)",
    ],
)
def test_every_way_to_write_one_select_is_taken(sql, snapshot, query):
    assert sql.run(snapshot, query).rows == ((0,), (1,))


def test_tables_can_be_listed_and_described(sql, snapshot):
    names = {name for (name,) in sql.run(snapshot, "SHOW TABLES").rows}
    assert {"feature", "feature_card"} <= names
    assert sql.run(snapshot, "DESCRIBE role_claim").rows[0][0] == "id"


def test_a_new_note_is_seen_by_the_next_query(sql, snapshot, notes):
    query = "SELECT count(*) FROM tag WHERE name = 'fresh'"
    assert sql.run(snapshot, query).rows == ((0,),)
    tag = notes.add(Tag("toy/0-t/1", "fresh"), "ann")
    assert sql.run(snapshot, query).rows == ((1,),)
    notes.remove(tag.id, "ann", 1)
    assert sql.run(snapshot, query).rows == ((0,),)
    history = "SELECT action FROM history WHERE note = $note ORDER BY version"
    assert sql.run(snapshot, history, {"note": tag.id}).rows == (("add",), ("remove",))


def test_a_new_snapshot_is_read_by_a_new_worker(sql, snapshot, tmp_path):
    other = a_snapshot(tmp_path)
    sql.run(snapshot, "SELECT 1")
    assert sql.run(other, "SELECT count(*) FROM sae").rows == ((2,),)
    assert sql.run(snapshot, "SELECT count(*) FROM sae").rows == ((2,),)


def test_an_error_is_duckdbs_own_and_the_worker_goes_on(sql, snapshot):
    with pytest.raises(QueryError, match="Table with name featur does not exist"):
        sql.run(snapshot, "SELECT * FROM featur")
    with pytest.raises(QueryError, match="Could not convert string 'gpt2/5-att-kk/7'"):
        sql.run(
            snapshot,
            "SELECT (list_reverse([title, 'gpt2/5-att-kk' || '/7'])[1])::INT FROM feature_card",
        )
    assert sql.run(snapshot, "SELECT 1").rows == ((1,),)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"query": "  "}, "the query is empty"),
        ({"query": "SELECT 1", "limit": 0}, "a limit of 0 rows.*1 to 1,000"),
        ({"query": "SELECT 1", "limit": 1001}, "a limit of 1,001 rows"),
        ({"query": "SELECT 1", "seconds": 0}, "a time limit of 0"),
        ({"query": "SELECT " + "1," * 60_000 + "1"}, "characters.*are allowed"),
        ({"query": "-- nothing"}, "0 statements"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_it_runs(sql, snapshot, call, message):
    with pytest.raises(QueryError, match=message):
        sql.run(snapshot, **call)


def test_a_caller_may_ask_for_less_time(sql, snapshot):
    with pytest.raises(QueryError, match=r"longer than 0.2 s"):
        sql.run(snapshot, "SELECT count(*) FROM range(10000000000)", seconds=0.2)


def test_a_snapshot_with_a_write_ahead_log_is_refused(tmp_path):
    planted = a_snapshot(tmp_path)
    (planted.path / f"{EVIDENCE}.wal").write_bytes(b"planted")
    with SqlService() as service, pytest.raises(StoreError, match="write-ahead log"):
        service.run(planted, "SELECT 1")


def test_a_snapshot_that_is_gone_or_damaged_is_refused_by_name(tmp_path):
    broken = a_snapshot(tmp_path)
    evidence = broken.path / EVIDENCE
    with SqlService() as service:
        evidence.write_bytes(b"no database" * 1000)
        with pytest.raises(StoreError, match="000001 does not open"):
            service.run(broken, "SELECT 1")
        evidence.unlink()
        with pytest.raises(StoreError, match="no snapshot"):
            service.run(broken, "SELECT 1")


def test_more_queries_than_may_wait_are_told_so_and_the_others_are_answered(snapshot):
    limits = SqlLimits(seconds=2.0, workers=1, waiting=2, wait_seconds=10)
    answers = []
    with SqlService(limits=limits) as service:
        service.run(snapshot, "SELECT 1")

        def ask():
            try:
                query = "SELECT count(*) FROM range(20000000) WHERE hash(range) % 7 = 1"
                answers.append(service.run(snapshot, query).rows)
            except QueryError as error:
                answers.append(error.message)

        threads = [threading.Thread(target=ask) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([a for a in answers if a == "too many queries are waiting"]) >= 20
        assert len([a for a in answers if isinstance(a, tuple)]) >= 3
        assert service.run(snapshot, "SELECT 1").rows == ((1,),)


def test_a_query_that_waited_too_long_is_told_so(snapshot):
    limits = SqlLimits(seconds=2.0, workers=1, wait_seconds=0.1)
    with SqlService(limits=limits) as service:
        service.run(snapshot, "SELECT 1")
        slow = threading.Thread(
            target=lambda: pytest.raises(
                QueryError, service.run, snapshot, "SELECT count(*) FROM range(100000000000)"
            )
        )
        slow.start()
        threading.Event().wait(0.3)
        with pytest.raises(QueryError, match="all workers are busy"):
            service.run(snapshot, "SELECT 1")
        slow.join()
