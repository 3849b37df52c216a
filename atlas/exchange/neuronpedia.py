"""An SAE in the layout of Neuronpedia's public exports, which it and others can import.

    MODEL/SOURCE/ model.jsonl source.jsonl sourceset.jsonl release.jsonl
    MODEL/SOURCE/ features|explanations|activations / batch-0.jsonl.gz, batch-1.jsonl.gz, ...

A source is an SAE (`5-att-kk`), and a batch holds 1,024 features. What that layout has no place
for stays behind: measured head shares, heads of sources, scores, near misses.
"""

import gzip
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from atlas import wire
from atlas.api import Atlas
from atlas.errors import ConfigError
from atlas.store.export import Table
from atlas.types import Sae, histogram_edge

BATCH = 1024
"""Features per file."""
Record = dict[str, Any]


def write_neuronpedia(atlas: Atlas, sae: str, folder: Path, creator: str = "feature-atlas") -> Path:
    """Write one SAE below `folder`; gives the folder of the source back.

    Args:
        atlas: where from; the whole export is of one snapshot.
        sae: the SAE's id.
        folder: where MODEL/SOURCE is made.
        creator: id of the user that Neuronpedia will show as its author.

    Raises:
        NotFound: no such SAE.
        ConfigError: the source's folder is there already.
    """
    atlas = atlas.at()
    found = atlas.sae(sae)
    target = folder / found.id.model / _source(found)
    if target.exists():
        raise ConfigError(f"{target} is there already", "give another folder")
    draft = target.with_name(f"{target.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for name, record in _heads(atlas, found, creator).items():
        (draft / f"{name}.jsonl").write_text(wire.dumps(record) + "\n")
    base = {"modelId": found.id.model, "layer": _source(found)}
    _write(draft / "features", _features(atlas, found, base | {"creatorId": creator}))
    _write(draft / "explanations", _explanations(atlas, found, base | {"authorId": creator}))
    _write(draft / "activations", _activations(atlas, found, base | {"creatorId": creator}))
    draft.rename(target)
    return target


def _source(sae: Sae) -> str:
    return f"{sae.id.layer}-{sae.id.set}"


def _write(folder: Path, records: Iterable[Record]) -> None:
    """Records by feature into files of 1,024 features; the same records give the same bytes."""
    folder.mkdir()
    for batch, some in groupby(records, lambda record: int(record["index"]) // BATCH):
        with (folder / f"batch-{batch}.jsonl.gz").open("wb") as file:
            packed = gzip.GzipFile("", "wb", compresslevel=5, fileobj=file, mtime=0)
            with packed:
                for record in some:
                    packed.write(wire.dumps(record).encode() + b"\n")


def _heads(atlas: Atlas, sae: Sae, creator: str) -> dict[str, Record]:
    """The four files that say what the source is."""
    model, run = atlas.model(sae.id.model), atlas.run(sae.run)
    by = {"creatorId": creator, "visibility": "PUBLIC"}
    named = {"creatorName": creator, "urls": []}
    return {
        "model": by
        | {
            "id": model.id,
            "displayName": model.id,
            "displayNameShort": model.id,
            "owner": model.name,
            "layers": model.n_layers,
            "neuronsPerLayer": 0,
            "dimension": model.d_model,
        },
        "source": by
        | {
            "id": _source(sae),
            "modelId": model.id,
            "setName": sae.id.set,
            "dataset": run.corpus,
            "num_prompts": -(-run.mine_tokens // run.context_length),
            "num_tokens_in_prompt": run.context_length,
            "saelensConfig": {
                "hook_name": sae.hook,
                "architecture": sae.architecture,
                "d_in": sae.d_in,
                "d_sae": sae.d_sae,
            },
        },
        "sourceset": by
        | named
        | {
            "name": sae.id.set,
            "modelId": model.id,
            "description": f"SAEs on attention outputs of {model.id}",
            "type": "att",
            "releaseName": sae.id.set,
            "showDfa": True,
            "showHeadAttribution": True,
        },
        "release": by | named | {"name": sae.id.set, "description": f"run {run.id}"},
    }


def _rows(atlas: Atlas, sae: Sae, table: Table) -> Iterator[Record]:
    for batch in atlas.export(sae.id, table).batches:
        yield from batch.to_pylist()


def _features(atlas: Atlas, sae: Sae, base: Record) -> Iterator[Record]:
    texts = atlas.vocab(sae.id.model)
    shares, near = defaultdict(list), defaultdict(list)
    for row in _rows(atlas, sae, "feature_head"):
        shares[row["feature"]].append(row["weight_share"])
    for row in _rows(atlas, sae, "neighbour"):
        if row["other_sae"] == str(sae.id):
            near[row["feature"]].append((row["other_feature"], row["cosine"]))
    for row in _rows(atlas, sae, "feature"):
        counted = [(b, n) for b, n in enumerate(row["histogram"] or ()) if n]
        yield base | {
            "index": str(row["feature"]),
            "sourceSetName": sae.id.set,
            "hookName": sae.hook,
            "maxActApprox": row["max_act"],
            "frac_nonzero": row["density"],
            "freq_hist_data_bar_values": [histogram_edge(b) for b, _ in counted],
            "freq_hist_data_bar_heights": [n for _, n in counted],
            "pos_str": [texts[token] for token in row["top_tokens"] or ()],
            "pos_values": row["top_logits"] or [],
            "neg_str": [texts[token] for token in row["bottom_tokens"] or ()],
            "neg_values": row["bottom_logits"] or [],
            "decoder_weights_dist": shares[row["feature"]],
            "topkCosSimIndices": [other for other, _ in near[row["feature"]]],
            "topkCosSimValues": [cosine for _, cosine in near[row["feature"]]],
        }


def _explanations(atlas: Atlas, sae: Sae, base: Record) -> Iterator[Record]:
    for n, row in enumerate(_rows(atlas, sae, "label")):
        if row["side"] == "title":
            yield base | {
                "id": f"{sae.id}/label-{n}",
                "index": str(row["feature"]),
                "description": row["text"],
                "typeName": row["prompt"] or row["method"],
                "explanationModelName": row["model"],
            }


def _activations(atlas: Atlas, sae: Sae, base: Record) -> Iterator[Record]:
    texts = atlas.vocab(sae.id.model)
    tokens = {
        row["ctx"]: [texts[token] for token in row["tokens"]]
        for row in _rows(atlas, sae, "context")
    }
    for row in _rows(atlas, sae, "example"):
        if row["kind"] == "near_miss":
            continue
        words = tokens[row["ctx"]]
        values = _spread(len(words), row["act_pos"], row["act_val"])
        dfa = _spread(len(words), row["src_pos"], row["src_dfa"])
        band = "" if row["band"] is None else f"-{row['band']}"
        yield base | {
            "id": f"{sae.id}/{row['feature']}/{row['kind']}{band}-{row['rank']}",
            "index": str(row["feature"]),
            "dataSource": row["kind"],
            "tokens": words,
            "values": values,
            "maxValue": max(values),
            "minValue": min(values),
            "maxValueTokenIndex": values.index(max(values)),
            "dfaValues": dfa,
            "dfaMaxValue": max(dfa),
            "dfaTargetIndex": row["pos"],
        }


def _spread(size: int, positions: list[int] | None, values: list[float] | None) -> list[float]:
    """The values at their positions [token]; 0 where none is known."""
    spread = [0.0] * size
    for position, value in zip(positions or (), values or (), strict=True):
        spread[position] = value
    return spread
