"""What a run leaves on disk: Parquet tables, the SAEs' weights, and `manifest.json` last.

A folder without a manifest is not a bundle yet; a folder whose files do not match the manifest's
hashes is damaged. Both are refused by name. Table columns are those of the evidence schema
(migrations/evidence), with one difference: `sae` is the SAE's lasting id, not a number.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from atlas.errors import BundleError

VERSION = 1
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"

_TEXT, _BIG, _INT, _SHORT = pa.string(), pa.int64(), pa.int32(), pa.int16()
_REAL, _DOUBLE, _BOOL = pa.float32(), pa.float64(), pa.bool_()
_INTS, _SHORTS, _REALS = pa.list_(_INT), pa.list_(_SHORT), pa.list_(_REAL)
_NAME = pa.dictionary(pa.int32(), pa.string())

_FEATURE_KEY = {"sae": _NAME, "feature": _INT}
_LABEL_KEY = {**_FEATURE_KEY, "method": _TEXT, "model": _TEXT, "prompt": _TEXT}
_HEAD_KEY = {"model": _TEXT, "layer": _INT, "head": _INT}
_ROLE_KEY = {"sae": _NAME, "head": _SHORT, "by": _TEXT, "k": _INT}
_FIGURE = {"value": _DOUBLE, "low": _DOUBLE, "high": _DOUBLE, "n": _BIG}


def _proportions(name: str) -> dict[str, pa.DataType]:
    return {name: _REAL, f"{name}_low": _REAL, f"{name}_high": _REAL}


def _estimate(name: str) -> dict[str, pa.DataType]:
    return {name: _DOUBLE, f"{name}_low": _DOUBLE, f"{name}_high": _DOUBLE, f"{name}_n": _BIG}


_LOSSES = {
    "ce_clean": _DOUBLE,
    "ce_sae": _DOUBLE,
    "ce_zero": _DOUBLE,
    "ce_mean": _DOUBLE,
    "ce_sae_low": _DOUBLE,
    "ce_sae_high": _DOUBLE,
    "ce_zero_low": _DOUBLE,
    "ce_zero_high": _DOUBLE,
    "ce_mean_low": _DOUBLE,
    "ce_mean_high": _DOUBLE,
    "recovered_zero": _DOUBLE,
    "recovered_mean": _DOUBLE,
    "eval_tokens": _BIG,
}

TABLES: dict[str, pa.Schema] = {
    name: pa.schema(columns)
    for name, columns in {
        "model": {
            "id": _TEXT,
            "name": _TEXT,
            "family": _TEXT,
            "n_layers": _INT,
            "n_heads": _INT,
            "n_kv_heads": _INT,
            "d_head": _INT,
            "d_model": _INT,
            "vocab_size": _INT,
            "bos_token": _INT,
            "weights_sha256": _TEXT,
        },
        "run": {
            "id": _TEXT,
            "kind": _TEXT,
            "model": _TEXT,
            "created_at": pa.timestamp("us"),
            "seconds": _DOUBLE,
            "config": _TEXT,
            "versions": _TEXT,
            "device": _TEXT,
            "bos": _TEXT,
            "positions": _TEXT,
            "corpus": _TEXT,
            "corpus_sha256": _TEXT,
            "context_length": _INT,
            "train_tokens": _BIG,
            "mine_tokens": _BIG,
        },
        "sae": {
            "id": _TEXT,
            "model": _TEXT,
            "layer": _INT,
            "set_name": _TEXT,
            "hook": _TEXT,
            "architecture": _TEXT,
            "d_in": _INT,
            "d_sae": _INT,
            "run": _TEXT,
            "l0": _DOUBLE,
            "fvu": _DOUBLE,
            **_LOSSES,
            "dead_share": _DOUBLE,
            "dead_window": _BIG,
            "weights": _TEXT,
            "weights_sha256": _TEXT,
            "sink_norm": _DOUBLE,
        },
        "feature": {
            **_FEATURE_KEY,
            "firings": _BIG,
            "tokens": _BIG,
            "density": _DOUBLE,
            "density_low": _DOUBLE,
            "density_high": _DOUBLE,
            "max_act": _REAL,
            "mean_act": _REAL,
            "std_act": _REAL,
            "histogram": _INTS,
            "top_tokens": _INTS,
            "top_logits": _REALS,
            "bottom_tokens": _INTS,
            "bottom_logits": _REALS,
            "bias": _REAL,
            "weight_head": _SHORT,
            "weight_share": _REAL,
            "weight_entropy": _REAL,
            "dfa_head": _SHORT,
            "dfa_share": _REAL,
            "dfa_entropy": _REAL,
            "disagreement": _REAL,
            "disagree": _BOOL,
            "residual": _REAL,
            "family": _TEXT,
            "family_score": _REAL,
        },
        "feature_head": {
            **_FEATURE_KEY,
            "head": _SHORT,
            "weight_share": _REAL,
            "dfa_mean": _REAL,
            "dfa_share": _REAL,
            "won": _REAL,
        },
        "context": {
            "ctx": _INT,
            "run": _TEXT,
            "doc": _TEXT,
            "source": _TEXT,
            "start": _INT,
            "tokens": _INTS,
        },
        "vocab": {"model": _TEXT, "token": _INT, "text": _TEXT},
        "example": {
            **_FEATURE_KEY,
            "kind": _TEXT,
            "band": _SHORT,
            "rank": _SHORT,
            "ctx": _INT,
            "pos": _SHORT,
            "act": _REAL,
            "token": _INT,
            "act_pos": _SHORTS,
            "act_val": _REALS,
            "head_dfa": _REALS,
            "src_pos": _SHORTS,
            "src_dfa": _REALS,
            "src_head": _SHORTS,
            "src_rest": _REAL,
            "src_token": _INT,
            "distance": _SHORT,
            "residual": _REAL,
        },
        "neighbour": {
            **_FEATURE_KEY,
            "rank": _SHORT,
            "other_sae": _NAME,
            "other_feature": _INT,
            "cosine": _REAL,
            "jaccard": _REAL,
            "fire_rank": _SHORT,
        },
        "label": {
            **_FEATURE_KEY,
            "side": _TEXT,
            "method": _TEXT,
            "model": _TEXT,
            "prompt": _TEXT,
            "text": _TEXT,
            "support": _REAL,
            "support_low": _REAL,
            "support_high": _REAL,
            "n": _INT,
            "rule": _TEXT,
        },
        "label_score": {
            **_LABEL_KEY,
            "scorer": _TEXT,
            "score": _REAL,
            "score_low": _REAL,
            "score_high": _REAL,
            "n": _INT,
            "judgements": _TEXT,
            "deciles": _REALS,
            "decile_n": _INTS,
            "scored_by": _TEXT,
        },
        "label_failure": {**_LABEL_KEY, "step": _TEXT, "reason": _TEXT},
        "head": {"model": _TEXT, "layer": _INT, "head": _INT, "kv_head": _INT},
        "head_metric": {
            "model": _TEXT,
            "layer": _INT,
            "head": _INT,
            "metric": _TEXT,
            "condition": _TEXT,
            "value": _DOUBLE,
            "low": _DOUBLE,
            "high": _DOUBLE,
            "n": _BIG,
            "run": _TEXT,
        },
        "label_embedding": {**_FEATURE_KEY, "model": _TEXT, "text": _TEXT, "vector": _REALS},
        "prefix_score": {
            **_HEAD_KEY,
            "measure": _TEXT,
            "length": _INT,
            **_FIGURE,
            "run": _TEXT,
        },
        "prefix_head": {
            **_HEAD_KEY,
            "class": _TEXT,
            "one": _DOUBLE,
            "one_low": _DOUBLE,
            "one_high": _DOUBLE,
            "one_n": _BIG,
            "long": _DOUBLE,
            "long_low": _DOUBLE,
            "long_high": _DOUBLE,
            "long_n": _BIG,
            "text_windows": _BIG,
            "text_lengths": _INTS,
            "run": _TEXT,
        },
        "prefix_break": {
            **_HEAD_KEY,
            "control": _TEXT,
            "before": _DOUBLE,
            "before_low": _DOUBLE,
            "before_high": _DOUBLE,
            "after": _DOUBLE,
            "after_low": _DOUBLE,
            "after_high": _DOUBLE,
            "kept": _DOUBLE,
            "kept_low": _DOUBLE,
            "kept_high": _DOUBLE,
            "prefix": _DOUBLE,
            "n": _BIG,
            "run": _TEXT,
        },
        "prefix_feature": {
            "model": _TEXT,
            "sae_id": _TEXT,
            "class": _TEXT,
            "heads": _BIG,
            "measure": _TEXT,
            **_FIGURE,
            "run": _TEXT,
        },
        "prefix_compare": {
            "model": _TEXT,
            "what": _TEXT,
            "name": _TEXT,
            **_estimate("short"),
            **_estimate("long"),
            "difference": _DOUBLE,
            "p_heads": _DOUBLE,
            "p_features": _DOUBLE,
            "short_heads": _BIG,
            "long_heads": _BIG,
            "run": _TEXT,
        },
        "prefix_label": {
            "model": _TEXT,
            "class": _TEXT,
            "layer": _INT,
            "head": _INT,
            "rank": _SHORT,
            "sae_id": _TEXT,
            "feature": _INT,
            "title": _TEXT,
            "family": _TEXT,
            "share": _DOUBLE,
            "two": _DOUBLE,
            "leads": _BIG,
            "run": _TEXT,
        },
        "head_ranking": {
            "model": _TEXT,
            "ranking": _TEXT,
            "rank": _INT,
            "layer": _INT,
            "head": _INT,
            "condition": _TEXT,
            **_FIGURE,
            "check_condition": _TEXT,
            "check_value": _DOUBLE,
            "check_rank": _INT,
            "run": _TEXT,
        },
        "head_distance": {
            **_HEAD_KEY,
            "condition": _TEXT,
            "distance_from": _INT,
            "distance_to": _INT,
            "share": _DOUBLE,
            "low": _DOUBLE,
            "high": _DOUBLE,
            "n": _BIG,
            "run": _TEXT,
        },
        "head_token": {
            **_HEAD_KEY,
            "side": _TEXT,
            "rank": _SHORT,
            "token": _INT,
            "share": _DOUBLE,
            "base": _DOUBLE,
            "weight": _DOUBLE,
            "n": _BIG,
            "run": _TEXT,
        },
        "head_example": {
            **_HEAD_KEY,
            "band": _SHORT,
            "rank": _SHORT,
            "ctx": _INT,
            "dst": _SHORT,
            "src": _SHORT,
            "weight": _REAL,
            "run": _TEXT,
        },
        "head_composition": {
            **_HEAD_KEY,
            "later_layer": _INT,
            "later_head": _INT,
            "kind": _TEXT,
            "score": _REAL,
            "run": _TEXT,
        },
        "joint_evaluation": {
            "run": _TEXT,
            "layers": _INTS,
            **_LOSSES,
        },
        "training_curve": {
            "run": _TEXT,
            "layer": _INT,
            "step": _BIG,
            "tokens": _BIG,
            "fvu": _DOUBLE,
            "l0": _DOUBLE,
            "dead": _DOUBLE,
            "loss": _DOUBLE,
            "learning_rate": _DOUBLE,
        },
        "run_log": {
            "run": _TEXT,
            "rank": _INT,
            "stage": _TEXT,
            "began_at": pa.timestamp("us"),
            "seconds": _DOUBLE,
            "done": _DOUBLE,
            "unit": _TEXT,
            "outcome": _TEXT,
            "message": _TEXT,
        },
        "ioi_family": {
            "model": _TEXT,
            "names": _TEXT,
            "conjunction": _TEXT,
            "bos": _BOOL,
            "does": _BOOL,
            "accuracy": _DOUBLE,
            "accuracy_low": _DOUBLE,
            "accuracy_high": _DOUBLE,
            "top": _DOUBLE,
            "top_low": _DOUBLE,
            "top_high": _DOUBLE,
            "difference": _DOUBLE,
            "difference_low": _DOUBLE,
            "difference_high": _DOUBLE,
            "n": _BIG,
            "run": _TEXT,
        },
        "ioi_head": {
            **_HEAD_KEY,
            "how": _TEXT,
            "place": _TEXT,
            "names": _TEXT,
            **_FIGURE,
            "run": _TEXT,
        },
        "ioi_part": {
            "model": _TEXT,
            "layer": _INT,
            "sae_id": _TEXT,
            "part": _TEXT,
            "place": _TEXT,
            "how": _TEXT,
            "names": _TEXT,
            **_FIGURE,
            "run": _TEXT,
        },
        "ioi_feature": {
            "model": _TEXT,
            "sae_id": _TEXT,
            "feature": _INT,
            "place": _TEXT,
            "how": _TEXT,
            "names": _TEXT,
            "fired": _DOUBLE,
            "estimate": _DOUBLE,
            "head": _INT,
            "head_share": _DOUBLE,
            **_FIGURE,
            "run": _TEXT,
        },
        "ioi_circuit": {
            **_HEAD_KEY,
            "place": _TEXT,
            **_FIGURE,
            "rank": _SHORT,
            "sae_id": _TEXT,
            "feature": _INT,
            "title": _TEXT,
            "fired": _DOUBLE,
            "dfa": _DOUBLE,
            "head_share": _DOUBLE,
            "run": _TEXT,
        },
        "ioi_noise": {
            "model": _TEXT,
            "layers": _INTS,
            "corruption": _TEXT,
            "names": _TEXT,
            "difference": _DOUBLE,
            "difference_low": _DOUBLE,
            "difference_high": _DOUBLE,
            "kept_clean": _DOUBLE,
            "kept_clean_low": _DOUBLE,
            "kept_clean_high": _DOUBLE,
            "kept_zero": _DOUBLE,
            "kept_zero_low": _DOUBLE,
            "kept_zero_high": _DOUBLE,
            "kept_mean": _DOUBLE,
            "kept_mean_low": _DOUBLE,
            "kept_mean_high": _DOUBLE,
            "n": _BIG,
            "run": _TEXT,
            "bos": _BOOL,
        },
        "feature_family": {
            **_FEATURE_KEY,
            "family": _TEXT,
            "best": _BOOL,
            "score": _REAL,
            "examples": _INT,
            "words": pa.list_(_TEXT),
            "fired": _BIG,
            "explained": _BIG,
            "predicted": _BIG,
            "hits": _BIG,
            "precision": _REAL,
            "precision_low": _REAL,
            "precision_high": _REAL,
            "recall": _REAL,
            "recall_low": _REAL,
            "recall_high": _REAL,
            "run": _TEXT,
            "predictor": _TEXT,
            "bin_fired": pa.list_(_BIG),
            "bin_hits": pa.list_(_BIG),
        },
        "family_bin": {
            "sae": _NAME,
            "family": _TEXT,
            "bin": _SHORT,
            "fired": _BIG,
            **_proportions("replicated"),
            **_proportions("precision"),
            "run": _TEXT,
        },
        "feature_induction": {
            **_FEATURE_KEY,
            "token": _INT,
            **_proportions("second"),
            "second_n": _BIG,
            "first": _REAL,
            "elsewhere": _REAL,
            "delivered": _REAL,
            "fires": _BOOL,
            "found": _BOOL,
            "by_rule": _BOOL,
            "run": _TEXT,
        },
        "induction_share": {
            "sae": _NAME,
            "heads": _SHORTS,
            "live": _INT,
            "found": _INT,
            **_proportions("share"),
            "chance": _INT,
            "fires": _INT,
            "by_rule": _INT,
            **_proportions("rule_share"),
            "by_both": _INT,
            "agreement": _REAL,
            "kappa": _REAL,
            "run": _TEXT,
        },
        "family_share": {
            "sae": _NAME,
            "family": _TEXT,
            "features": _INT,
            "holding": _INT,
            "live": _INT,
            **_proportions("share"),
            **_proportions("replicated"),
            "replicated_n": _BIG,
            **_proportions("precision"),
            "precision_n": _BIG,
            **_proportions("strong_precision"),
            "strong_precision_n": _BIG,
            **_proportions("recall"),
            "recall_n": _BIG,
            "specificity": _REAL,
            "run": _TEXT,
            "precision_chance": _REAL,
        },
        "head_role": {
            **_ROLE_KEY,
            "rank": _SHORT,
            "role": _TEXT,
            "family": _TEXT,
            "words": pa.list_(_TEXT),
            "features": _INTS,
            "share": _REAL,
            "cohesion": _REAL,
            "run": _TEXT,
        },
        "head_role_evidence": {
            **_ROLE_KEY,
            "rank": _SHORT,
            "kind": _TEXT,
            "target": _TEXT,
            "ref": _TEXT,
            "sentence": _TEXT,
            "run": _TEXT,
        },
        "head_polysemanticity": {
            **_ROLE_KEY,
            "clusters": _INT,
            "largest": _REAL,
            "one_thing": _BOOL,
            "mostly_one": _BOOL,
            "cohesion": _REAL,
            "cohesion_low": _REAL,
            "cohesion_high": _REAL,
            "null_mean": _REAL,
            "null_high": _REAL,
            "p": _REAL,
            "need_50": _INT,
            "need_50_low": _INT,
            "need_50_high": _INT,
            "need_80": _INT,
            "need_80_low": _INT,
            "need_80_high": _INT,
            "need_95": _INT,
            "need_95_low": _INT,
            "need_95_high": _INT,
            "covered": _REAL,
            "run": _TEXT,
        },
        "polysemantic_share": {
            "model": _TEXT,
            "by": _TEXT,
            "k": _INT,
            "heads": _INT,
            "polysemantic": _INT,
            "share": _REAL,
            "low": _REAL,
            "high": _REAL,
            "mostly_one": _INT,
            "above_chance": _INT,
            "run": _TEXT,
        },
    }.items()
}


OF_RUN = ("joint_evaluation", "training_curve", "run_log")
"""Tables in which a run tells of itself; they are replaced with it and go with it."""
STUDIED: dict[str, list[str]] = {
    name: schema.names
    for name, schema in TABLES.items()
    if "run" in schema.names and name not in ("sae", "context", *OF_RUN)
}
"""Tables that studies write, with their columns: every row names its run. A table that also has
`sae` is replaced SAE by SAE, any other run by run."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a bundle as its manifest lists it."""

    sha256: str
    rows: int
    """Rows of a table; 0 for the weights."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A complete bundle on disk."""

    path: Path
    run: str
    files: Mapping[str, File] = field(default_factory=dict)
    """File name to hash and rows."""

    @property
    def sha256(self) -> str:
        """Fingerprint of the whole: of the sorted file names and their hashes."""
        lines = "".join(f"{name} {file.sha256}\n" for name, file in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def counts(self) -> dict[str, int]:
        """Rows per table."""
        return {
            name.removesuffix(".parquet"): file.rows
            for name, file in sorted(self.files.items())
            if name.endswith(".parquet")
        }

    def table_path(self, table: str) -> Path | None:
        """The Parquet file of `table`, or None when this bundle has none."""
        name = f"{table}.parquet"
        return self.path / name if name in self.files else None

    def read(self, table: str) -> pa.Table:
        """All rows of `table`; an empty table when this bundle has none."""
        path = self.table_path(table)
        return pq.read_table(path) if path else TABLES[table].empty_table()


def write_table(folder: Path, name: str, rows: pa.Table | Mapping[str, Any]) -> Path:
    """Write one table of a bundle whole or not at all (temporary name, sync, rename).

    Args:
        folder: the bundle's folder, made when missing.
        name: a key of TABLES.
        rows: a table, or columns by name; cast to the table's schema.

    Raises:
        BundleError: a column is missing, unknown or of another type.
    """
    schema = TABLES[name]
    try:
        table = rows if isinstance(rows, pa.Table) else pa.table(dict(rows))
        table = table.select(schema.names).cast(schema)
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BundleError(f"table {name} does not fit its schema: {error}") from error
    extra = set(rows.column_names if isinstance(rows, pa.Table) else rows) - set(schema.names)
    if extra:
        raise BundleError(f"table {name} has unknown columns: {', '.join(sorted(extra))}")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.parquet"
    draft = target.with_suffix(".partial")
    pq.write_table(table, draft, compression="zstd", row_group_size=122_880)
    sync_and_rename(draft, target)
    return target


def sync_and_rename(draft: Path, target: Path) -> None:
    """Give a finished file its name, so that a crash leaves the old state or the new one."""
    with draft.open("rb+") as handle:
        os.fsync(handle.fileno())
    draft.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def seal(folder: Path, run: str) -> Bundle:
    """Write the manifest of a folder whose tables are all there, and give the bundle back."""
    files = {}
    for path in sorted([*folder.glob("*.parquet"), *folder.glob(WEIGHTS)]):
        rows = pq.ParquetFile(path).metadata.num_rows if path.suffix == ".parquet" else 0
        files[path.name] = File(sha256_file(path), rows)
    manifest = {
        "version": VERSION,
        "run": run,
        "files": {name: asdict(file) for name, file in files.items()},
    }
    draft = folder / "manifest.partial"
    draft.write_text(json.dumps(manifest, indent=1, sort_keys=True))
    sync_and_rename(draft, folder / MANIFEST)
    return Bundle(folder, run, files)


def open_bundle(path: Path, *, check: bool = True) -> Bundle:
    """The bundle in a folder, its files compared with the manifest's hashes when `check`.

    Raises:
        BundleError: no folder, no manifest, a newer version, or a file that is missing or changed.
    """
    if not path.is_dir():
        raise BundleError(f"no bundle at {path}", "give the folder that `atlas ingest` printed")
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise BundleError(
            f"bundle {path} is incomplete: it has no {MANIFEST}",
            "run the same `atlas ingest` again: it goes on where it stopped",
        )
    try:
        content = json.loads(manifest.read_text())
        version, run = int(content["version"]), str(content["run"])
        files = {str(name): File(**file) for name, file in content["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"bundle {path}: {MANIFEST} is damaged ({error})", "restore the folder or ingest again"
        ) from error
    if version > VERSION:
        raise BundleError(
            f"bundle {path} has version {version}; this program reads up to {VERSION}",
            "upgrade feature-atlas",
        )
    bundle = Bundle(path, run, files)
    if check:
        _check_files(bundle)
    return bundle


def _check_files(bundle: Bundle) -> None:
    for name, file in bundle.files.items():
        path = bundle.path / name
        if not path.is_file():
            raise BundleError(
                f"bundle {bundle.path}: {name} is missing", "restore the folder or ingest again"
            )
        if sha256_file(path) != file.sha256:
            raise BundleError(
                f"bundle {bundle.path}: {name} is not the file that was written",
                "restore the folder or ingest again",
            )
        table = name.removesuffix(".parquet")
        if name.endswith(".parquet") and table not in TABLES:
            raise BundleError(f"bundle {bundle.path}: unknown table {table}")
