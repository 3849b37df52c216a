"""A whole job on a tiny model, small enough to run in seconds."""

from pathlib import Path

from ingest.config import Job, make_job
from tests.models import TEXT, a_folder

SETTINGS = {
    "name": "tiny",
    "model": {"device": "cpu", "dtype": "float32", "batch_contexts": 4},
    "corpus": {"context_length": 16, "min_tokens": 4},
    "sae": {"layers": [0, 2], "d_sae": 24, "k": 3},
    "train": {
        "tokens": 2560,
        "batch": 32,
        "buffer_tokens": 400,
        "lr": 0.003,
        "dead_tokens": 2000,
        "checkpoint_seconds": 0.0001,
    },
    "evaluate": {"tokens": 150},
    "mine": {
        "tokens": 500,
        "top": 3,
        "per_band": 1,
        "random": 3,
        "logits": 4,
        "sources": 4,
        "neighbours": 2,
        "shard_contexts": 8,
    },
}


def some_text(folder: Path) -> Path:
    """Thirty documents of changing order, as JSONL would have them."""
    import json

    words = TEXT.split()
    path = folder / "text.jsonl"
    rows = (" ".join(words[n:] + words[:n]) for n in range(30))
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return path


def a_job(folder: Path, family: str = "llama", **parts) -> Job:
    """A job on a random model and text that are written to `folder`."""
    model = folder / "model"
    if not model.exists():
        a_folder(model, family)
    content = {name: dict(v) if isinstance(v, dict) else v for name, v in SETTINGS.items()}
    content["model"]["name"] = str(model)
    content["model"]["id"] = "tiny"
    content["corpus"]["name"] = str(some_text(folder))
    for name, changes in parts.items():
        content[name] = {**content[name], **changes}
    return make_job(content)
