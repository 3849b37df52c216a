"""One bundle into a draft database: what it replaces goes, its rows come in, all or nothing.

A bundle with SAEs replaces those SAEs whole, whoever wrote them, and whatever else its run wrote.
A bundle without SAEs replaces the rows of its own run; its rows about an SAE replace what the
table had for that SAE, and a label replaces the label of the same feature, method, model and
prompt.
"""

import json
from collections.abc import Iterable

import duckdb

from atlas.bundle import Bundle
from atlas.errors import AtlasError, BundleError
from atlas.store import check
from atlas.tables import OF_RUN, STUDIED, TABLES

# Order of rows within one SAE: zone maps then do the work of an index.
_ORDER = {
    "feature": "feature",
    "feature_head": "feature, head",
    "example": "feature, kind, band, rank",
    "neighbour": "feature, other_sae, rank",
    "label": "feature, side, method, model, prompt",
    "label_score": "feature, method, model, prompt, scorer",
    "label_failure": "feature, method, model, prompt, step",
    "label_embedding": "feature, model",
    **{table: "ALL" for table, columns in STUDIED.items() if "sae" in columns},
}
_LABELS = ("label", "label_score", "label_failure")
# What tells rows of a label table apart, beside the feature and the labeller.
_LABEL_KEY = {"label": "", "label_score": "scorer", "label_failure": "step"}
_OF_MODEL = {"model": "id", "vocab": "model", "head": "model"}
_OF_STUDY = tuple(table for table, columns in STUDIED.items() if "sae" not in columns)
_OF_RUN = {
    "run": "id",
    "context": "run",
    **dict.fromkeys((*OF_RUN, *_OF_STUDY), "run"),
}
_FORGET_SAE = (
    "DELETE FROM {table} WHERE sae IN (SELECT s.sae FROM sae s"
    " WHERE s.id IN (SELECT DISTINCT sae FROM read_parquet($path)))"
)
# An embedding takes the place of the same model's for that feature, and of no other.
_FORGET = {
    "label_embedding": """
    DELETE FROM label_embedding AS old USING (
      SELECT s.sae AS number, b.feature, b.model
      FROM read_parquet($path) b JOIN sae s ON s.id = b.sae) AS new
    WHERE old.sae = new.number AND old.feature = new.feature AND old.model = new.model
    """
}
_PLAIN = ("model", "vocab", "head", *OF_RUN)
_WITH_CONTEXT = tuple(table for table, schema in TABLES.items() if "ctx" in schema.names)
# Refused content, as against a full disk or a lack of memory.
_UNFIT = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
    duckdb.TypeMismatchException,
)


def is_loaded(con: duckdb.DuckDBPyConnection, bundle: Bundle) -> bool:
    """Whether every row of this bundle is in the database already."""
    found = con.execute(
        "SELECT run FROM bundle WHERE run = $run AND sha256 = $sha256",
        {"run": bundle.run, "sha256": bundle.sha256},
    ).fetchall()
    return bool(found)


def load(con: duckdb.DuckDBPyConnection, bundle: Bundle) -> bool:
    """Load one bundle in one transaction.

    Returns:
        Whether anything changed: False when this very bundle is loaded already.

    Raises:
        BundleError: its rows contradict each other or the database; nothing is loaded.
        duckdb.Error: the disk is full or the memory too small; nothing is loaded.
    """
    if is_loaded(con, bundle):
        return False
    con.execute("BEGIN")
    try:
        touched = _load(con, bundle)
        check.check(con, f"bundle {bundle.path}", touched)
        con.execute("COMMIT")
    except _UNFIT as error:
        con.execute("ROLLBACK")
        reason = str(error).splitlines()[0]
        raise BundleError(f"bundle {bundle.path} cannot be loaded: {reason}") from error
    except (AtlasError, duckdb.Error):
        _rollback(con)
        raise
    return True


def _rollback(con: duckdb.DuckDBPyConnection) -> None:
    """Roll back unless the error has closed the database or the transaction itself."""
    try:
        con.execute("ROLLBACK")
    except duckdb.Error:
        return


def _load(con: duckdb.DuckDBPyConnection, bundle: Bundle) -> list[int]:
    """Gives the SAEs that the bundle has rows for."""
    _check_run(con, bundle)
    _check_models(con, bundle)
    numbers = _numbers(con, bundle)
    gone = _replaced(con, bundle)
    _forget_saes(con, bundle, gone)
    _forget_rows(con, bundle)
    _insert_plain(con, bundle)
    _insert_run(con, bundle)
    _insert_saes(con, bundle, numbers)
    touched = sorted(_insert_features(con, bundle))
    con.execute(
        "INSERT INTO bundle VALUES ($run, $sha256, $saes)",
        {"run": bundle.run, "sha256": bundle.sha256, "saes": touched},
    )
    return touched


def _path(bundle: Bundle, table: str) -> str | None:
    path = bundle.table_path(table)
    return str(path) if path else None


def _column(con: duckdb.DuckDBPyConnection, path: str | None, column: str) -> list[str]:
    """Distinct values of one column of a bundle's table, sorted."""
    if path is None:
        return []
    sql = f"SELECT DISTINCT {column} FROM read_parquet($path) ORDER BY ALL"
    return [row[0] for row in con.execute(sql, {"path": path}).fetchall()]


def _check_run(con: duckdb.DuckDBPyConnection, bundle: Bundle) -> None:
    for table, column in _OF_RUN.items():
        other = set(_column(con, _path(bundle, table), column)) - {bundle.run}
        if other:
            raise BundleError(
                f"bundle {bundle.path} is of run {bundle.run}, but its table {table} has rows of"
                f" {min(other)}"
            )
    if bundle.table_path("example") and not bundle.table_path("context"):
        raise BundleError(f"bundle {bundle.path} has examples but not their contexts")


def _check_models(con: duckdb.DuckDBPyConnection, bundle: Bundle) -> None:
    """A model id means the same weights for every SAE of a store."""
    path = _path(bundle, "model")
    if path is None:
        return
    clash = con.execute(
        """
        SELECT m.id, s.id FROM read_parquet($path) b JOIN model m USING (id)
        JOIN sae s ON s.model = m.id
        WHERE m.weights_sha256 <> b.weights_sha256 AND s.run <> $run
        ORDER BY s.id
        """,
        {"path": path, "run": bundle.run},
    ).fetchall()
    if clash:
        model, sae = clash[0]
        raise BundleError(
            f"bundle {bundle.path} has other weights of model {model} than {sae} was made with",
            "give the model another id in the job's settings",
        )


def _numbers(con: duckdb.DuckDBPyConnection, bundle: Bundle) -> dict[str, int]:
    """Small number of every SAE of the bundle: the one it had, or the next free one."""
    known: dict[str, int] = dict(con.execute("SELECT id, sae FROM sae").fetchall())
    last = max(known.values(), default=0)
    for name in _column(con, _path(bundle, "sae"), "id"):
        if name not in known:
            last += 1
            known[name] = last
    return known


def _replaced(con: duckdb.DuckDBPyConnection, bundle: Bundle) -> list[int]:
    """Numbers of the SAEs in the database that the bundle replaces."""
    path = _path(bundle, "sae")
    if path is None:
        return []
    rows = con.execute(
        "SELECT sae FROM sae WHERE run = $run OR id IN (SELECT id FROM read_parquet($path))",
        {"run": bundle.run, "path": path},
    ).fetchall()
    return [row[0] for row in rows]


def _forget_saes(con: duckdb.DuckDBPyConnection, bundle: Bundle, gone: list[int]) -> None:
    """Remove SAEs with all that is said of them, and the record of whoever said it."""
    for table in ("sae", *_ORDER):
        con.execute(f"DELETE FROM {table} WHERE sae IN (SELECT unnest($gone))", {"gone": gone})
    con.execute("DELETE FROM neighbour WHERE other_sae IN (SELECT unnest($gone))", {"gone": gone})
    con.execute(
        "DELETE FROM bundle WHERE run = $run OR list_has_any(saes, $gone::SMALLINT[])",
        {"run": bundle.run, "gone": gone},
    )


def _forget_rows(con: duckdb.DuckDBPyConnection, bundle: Bundle) -> None:
    for table, column in _OF_RUN.items():
        if bundle.table_path(table):
            con.execute(f"DELETE FROM {table} WHERE {column} = $run", {"run": bundle.run})
    for table, column in _OF_MODEL.items():
        if path := _path(bundle, table):
            con.execute(
                f"DELETE FROM {table} WHERE {column} IN"
                f" (SELECT DISTINCT {column} FROM read_parquet($path))",
                {"path": path},
            )
    for table in _ORDER:
        if path := _path(bundle, table):
            if table in _LABELS:
                _forget_labels(con, table, path)
            else:
                con.execute(_FORGET.get(table, _FORGET_SAE.format(table=table)), {"path": path})


def _forget_labels(con: duckdb.DuckDBPyConnection, table: str, path: str) -> None:
    """A new label takes the old one's place, with its scores and failures; a score a score's."""
    for victim in _LABELS if table == "label" else (table,):
        own = _LABEL_KEY[victim] if victim == table else ""
        con.execute(
            f"""
            DELETE FROM {victim} AS old USING (
              SELECT DISTINCT s.sae AS number, feature, method, b.model, prompt,
                {own or "NULL"} AS own
              FROM read_parquet($path) b JOIN sae s ON s.id = b.sae) AS new
            WHERE old.sae = new.number AND old.feature = new.feature AND old.method = new.method
              AND old.model IS NOT DISTINCT FROM new.model
              AND old.prompt IS NOT DISTINCT FROM new.prompt
              AND {f"old.{own}" if own else "NULL"} IS NOT DISTINCT FROM new.own
            """,
            {"path": path},
        )


def _insert_plain(con: duckdb.DuckDBPyConnection, bundle: Bundle) -> None:
    for table in _PLAIN:
        if path := _path(bundle, table):
            con.execute(
                f"INSERT INTO {table} BY NAME SELECT * FROM read_parquet($path)", {"path": path}
            )


def _insert_run(con: duckdb.DuckDBPyConnection, bundle: Bundle) -> None:
    if path := _path(bundle, "run"):
        con.execute(
            "INSERT INTO run BY NAME SELECT *, $sha256 AS bundle_sha256, $counts AS counts"
            " FROM read_parquet($path)",
            {"path": path, "sha256": bundle.sha256, "counts": json.dumps(bundle.counts)},
        )


def _insert_saes(con: duckdb.DuckDBPyConnection, bundle: Bundle, numbers: dict[str, int]) -> None:
    if path := _path(bundle, "sae"):
        con.execute(
            """
            INSERT INTO sae BY NAME
            SELECT n.sae, b.* REPLACE (b.weights_sha256 || '.safetensors' AS weights)
            FROM read_parquet($path) b
            JOIN (SELECT unnest($ids) AS id, unnest($numbers) AS sae) n USING (id)
            ORDER BY n.sae
            """,
            {"path": path, "ids": list(numbers), "numbers": list(numbers.values())},
        )


def _insert_features(con: duckdb.DuckDBPyConnection, bundle: Bundle) -> set[int]:
    """Load the tables about features, one SAE at a time; gives the SAEs that they speak of."""
    numbers: dict[str, int] = dict(con.execute("SELECT id, sae FROM sae").fetchall())
    offset = _insert_contexts(con, bundle)
    _insert_studies(con, bundle, offset)
    touched = {numbers[name] for name in _column(con, _path(bundle, "sae"), "id")}
    for table, order in _ORDER.items():
        path = _path(bundle, table)
        if path is None:
            continue
        names = _resolve(bundle, table, _column(con, path, "sae"), numbers)
        if table == "neighbour":
            others = _resolve(bundle, table, _column(con, path, "other_sae"), numbers)
            touched |= {numbers[name] for name in others}
        touched |= {numbers[name] for name in names}
        for name in sorted(names, key=numbers.__getitem__):
            values = {"path": path, "name": name, "number": numbers[name]}
            if table in _WITH_CONTEXT:
                values["offset"] = offset
            con.execute(_INSERT[table].format(order=order), values)
    if bundle.table_path("feature_family"):
        _set_families(con, sorted(touched))
    return touched


def _set_families(con: duckdb.DuckDBPyConnection, saes: list[int]) -> None:
    """Give features of SAEs the best family of the study; one without any loses what it had."""
    con.execute(
        """
        UPDATE feature SET family = b.family, family_score = b.score
        FROM (
          SELECT f.sae, f.feature, y.family, y.score FROM feature f
          LEFT JOIN feature_family y ON y.sae = f.sae AND y.feature = f.feature AND y.best
          WHERE f.sae IN (SELECT sae FROM feature_family WHERE sae IN (SELECT unnest($saes)))) b
        WHERE feature.sae = b.sae AND feature.feature = b.feature
        """,
        {"saes": saes},
    )


_INSERT = {
    **{
        table: f"INSERT INTO {table} BY NAME"
        " SELECT $number::SMALLINT AS sae, b.* EXCLUDE (sae) FROM read_parquet($path) b"
        " WHERE b.sae = $name ORDER BY {order}"
        for table in _ORDER
    },
    **{
        table: f"INSERT INTO {table} BY NAME"
        " SELECT $number::SMALLINT AS sae, b.* EXCLUDE (sae) REPLACE (b.ctx + $offset AS ctx)"
        " FROM read_parquet($path) b WHERE b.sae = $name ORDER BY {order}"
        for table in _WITH_CONTEXT
    },
    "neighbour": "INSERT INTO neighbour BY NAME"
    " SELECT $number::SMALLINT AS sae, b.* EXCLUDE (sae, other_sae), o.sae AS other_sae"
    " FROM read_parquet($path) b JOIN sae o ON o.id = b.other_sae"
    " WHERE b.sae = $name ORDER BY {order}",
}


def _insert_contexts(con: duckdb.DuckDBPyConnection, bundle: Bundle) -> int:
    """Load the contexts behind those that are there; gives what was added to their numbers."""
    ((offset,),) = con.execute("SELECT coalesce(max(ctx) + 1, 0) FROM context").fetchall()
    if path := _path(bundle, "context"):
        con.execute(
            "INSERT INTO context BY NAME SELECT b.* REPLACE (b.ctx + $offset AS ctx)"
            " FROM read_parquet($path) b ORDER BY ctx",
            {"path": path, "offset": offset},
        )
    return int(offset)


def _insert_studies(con: duckdb.DuckDBPyConnection, bundle: Bundle, offset: int) -> None:
    """Load the results of studies that are about no single SAE."""
    for table in _OF_STUDY:
        if path := _path(bundle, table):
            moved = "REPLACE (b.ctx + $offset AS ctx)" if table in _WITH_CONTEXT else ""
            con.execute(
                f"INSERT INTO {table} BY NAME SELECT b.* {moved} FROM read_parquet($path) b",
                {"path": path} | ({"offset": offset} if moved else {}),
            )


def _resolve(
    bundle: Bundle, table: str, names: Iterable[str], numbers: dict[str, int]
) -> list[str]:
    unknown = sorted(name for name in names if name not in numbers)
    if unknown:
        raise BundleError(
            f"bundle {bundle.path}: table {table} speaks of SAE {unknown[0]}, which is neither in"
            " the bundle nor in the store",
            "publish the bundle that holds it first",
        )
    return list(names)


def sweep(con: duckdb.DuckDBPyConnection) -> None:
    """Once all is loaded: remove contexts without examples, then runs of which nothing is left."""
    used = " UNION ALL ".join(
        f"SELECT ctx FROM {table}" for table in _WITH_CONTEXT if table != "context"
    )
    con.execute(f"DELETE FROM context WHERE ctx NOT IN ({used})")
    runs = " UNION ALL ".join(
        f"SELECT run FROM {table}" for table in ("sae", "context", "bundle", *STUDIED)
    )
    con.execute(f"DELETE FROM run WHERE id NOT IN ({runs})")
    for table in OF_RUN:
        con.execute(f"DELETE FROM {table} WHERE run NOT IN (SELECT id FROM run)")


assert set(_ORDER) | set(_OF_MODEL) | set(_OF_RUN) | {"sae"} == set(TABLES)
