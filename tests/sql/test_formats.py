"""A result in every format, with the values that JSON has no word for."""

import csv
import io
import json
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from atlas.store.sql_formats import FORMATS, plain, to_arrow, to_csv, to_json, to_ndjson, to_parquet

ODD = """
SELECT 'nan'::DOUBLE AS nan, '-inf'::FLOAT AS low, 9007199254740993 AS big, 1.5 AS dec,
       DATE '2026-05-06' AS day, [1, NULL] AS list, {'a': 'x', 'b': [2.5]} AS struct,
       MAP {'k': 1} AS map, 'ab'::BLOB AS bytes, NULL AS nothing, 'say "hi", ok' AS text,
       true AS yes
UNION ALL BY NAME SELECT 1.0 AS nan
"""


@pytest.fixture(scope="module")
def odd(sql, snapshot):
    return sql.run(snapshot, ODD)


def test_json_says_every_value_and_where_it_came_from(odd):
    content = json.loads(to_json(odd), parse_constant=pytest.fail)
    row = dict(zip(content["columns"], content["rows"][0], strict=True))
    assert row == {
        "nan": "NaN",
        "low": "-Infinity",
        "big": "9007199254740993",
        "dec": 1.5,
        "day": "2026-05-06",
        "list": [1, None],
        "struct": {"a": "x", "b": [2.5]},
        "map": [["k", 1]],
        "bytes": "YWI=",
        "nothing": None,
        "text": 'say "hi", ok',
        "yes": True,
    }
    assert (content["truncated"], content["snapshot"], content["query"]) == (False, "000001", ODD)
    assert content["types"][:3] == ["DOUBLE", "FLOAT", "BIGINT"]


def test_ndjson_is_one_object_per_row(odd):
    first, second = map(json.loads, to_ndjson(odd).splitlines())
    assert first["big"] == "9007199254740993"
    assert second == dict.fromkeys(odd.columns) | {"nan": 1.0}


def test_csv_reads_back_with_lists_as_json_and_null_as_nothing(odd):
    header, first, second = csv.reader(io.StringIO(to_csv(odd)))
    row = dict(zip(header, first, strict=True))
    assert row["text"] == 'say "hi", ok'
    assert (row["nan"], row["low"], row["big"], row["dec"]) == (
        "NaN",
        "-Infinity",
        "9007199254740993",
        "1.5",
    )
    assert json.loads(row["struct"]) == {"a": "x", "b": [2.5]}
    assert (row["yes"], row["nothing"]) == ("true", "")
    assert second == ["1.0", *[""] * 11]


def test_parquet_and_arrow_keep_the_types(odd):
    for table in (
        pq.read_table(io.BytesIO(to_parquet(odd))),
        pa.ipc.open_stream(to_arrow(odd)).read_all(),
    ):
        assert table.schema.field("big").type == pa.int64()
        assert table.schema.field("day").type == pa.date32()
        assert table["list"].to_pylist() == [[1, None], None]


def test_a_result_without_rows_has_its_columns_in_every_format(sql, snapshot):
    empty = sql.run(snapshot, "SELECT feature, title FROM feature_card WHERE false")
    assert to_csv(empty) == "feature,title\n"
    assert to_ndjson(empty) == ""
    assert json.loads(to_json(empty))["columns"] == ["feature", "title"]
    assert pq.read_table(io.BytesIO(to_parquet(empty))).column_names == ["feature", "title"]


def test_every_format_has_a_media_type(odd):
    for write, media in FORMATS.values():
        assert write(odd)
        assert "/" in media


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**53 - 1, 2**53 - 1),
        (-(2**53), "-9007199254740992"),
        (Decimal("1234567890.12345"), 1234567890.12345),
        (Decimal("12345678901.123456"), "12345678901.123456"),
        (datetime(2026, 5, 6, 7, 8, 9, 10), "2026-05-06T07:08:09.000010"),  # noqa: DTZ001
        ({date(2026, 5, 6): (float("inf"),)}, {"2026-05-06": ["Infinity"]}),
    ],
)
def test_what_json_cannot_hold_exactly_becomes_text(value, expected):
    assert plain(value) == expected
