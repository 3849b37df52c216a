"""A two-layer attention-only transformer whose four heads were set by hand.

L0H0 attends to the token before and copies it to a place of its own; L0H1 attends to earlier copies
of the token; L1H0 is an induction head: it looks for the place whose token before is the present
token; L1H1 attends to the first position. Its MLPs are zero.
"""

import json
import random
from pathlib import Path

import torch

from atlas.bundle import Bundle
from atlas.lens.exchange import saelens
from atlas.lens.sae import Sae
from atlas.model import LanguageModel, load
from ingest.config import make_job
from ingest.job import run_job
from tests.models import BOS, EOS, TEXT, VOCAB, a_tokenizer

WIDTH, POSITIONS = 96, 64
TOKEN = slice(0, WIDTH)
PLACE = slice(WIDTH, WIDTH + POSITIONS)
BEFORE = slice(WIDTH + POSITIONS, 2 * WIDTH + POSITIONS)
D_MODEL, D_HEAD = 320, 160
SHARP = 4.0
"""Scores are so large that softmax picks what was meant."""


def embeddings() -> torch.Tensor:
    """`[token, WIDTH]`: nearly orthogonal, length 1, no mean for the norm to take away."""
    vectors = torch.randn(VOCAB, WIDTH, generator=torch.Generator().manual_seed(3))
    return torch.nn.functional.normalize(vectors - vectors.mean(1, keepdim=True), dim=1)


def a_planted_folder(folder: Path) -> Path:
    """Write the model and a tokenizer to `folder`."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=VOCAB,
        n_embd=D_MODEL,
        n_layer=2,
        n_head=2,
        n_positions=POSITIONS,
        bos_token_id=BOS,
        eos_token_id=EOS,
        tie_word_embeddings=False,
    )
    config.architectures = ["GPT2LMHeadModel"]
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.fill_(1.0 if "ln_" in name and name.endswith("weight") else 0.0)
        _embed(model)
        first, second = model.transformer.h
        _previous_token(first.attn)
        _duplicate_token(first.attn)
        _induction(second.attn)
        _first_token(second.attn)
    model.save_pretrained(folder)
    a_tokenizer(folder)
    return folder


def _embed(model) -> None:
    model.transformer.wte.weight[:, TOKEN] = embeddings()
    model.transformer.wpe.weight[:, PLACE] = torch.eye(POSITIONS)
    model.lm_head.weight[:, TOKEN] = embeddings()


def _head(attn, which: str, head: int) -> torch.Tensor:
    """The `[d_model, d_head]` part of c_attn that makes a head's queries, keys or values."""
    start = "qkv".index(which) * D_MODEL + head * D_HEAD
    return attn.c_attn.weight[:, start : start + D_HEAD]


def _out(attn, head: int) -> torch.Tensor:
    return attn.c_proj.weight[head * D_HEAD : (head + 1) * D_HEAD]


def _previous_token(attn) -> None:
    shifted = torch.diag(torch.ones(POSITIONS - 1), -1)  # row p has its one at p - 1
    _head(attn, "q", 0)[PLACE, :POSITIONS] = SHARP * shifted
    _head(attn, "k", 0)[PLACE, :POSITIONS] = torch.eye(POSITIONS)
    _head(attn, "v", 0)[TOKEN, :WIDTH] = torch.eye(WIDTH)
    _out(attn, 0)[:WIDTH, BEFORE] = torch.eye(WIDTH)


def _duplicate_token(attn) -> None:
    """Same token, but not at the same place; the first position where there is none."""
    attn.c_attn.bias[D_HEAD + WIDTH] = SHARP * 6
    _head(attn, "q", 1)[TOKEN, :WIDTH] = SHARP * torch.eye(WIDTH)
    _head(attn, "k", 1)[TOKEN, :WIDTH] = torch.eye(WIDTH)
    _head(attn, "q", 1)[PLACE, WIDTH:] = -SHARP * torch.eye(POSITIONS)
    _head(attn, "k", 1)[PLACE, WIDTH:] = torch.eye(POSITIONS)
    _head(attn, "v", 1)[TOKEN, :WIDTH] = torch.eye(WIDTH)


def _induction(attn) -> None:
    """The place whose token before is this one; the first position where there is none."""
    attn.c_attn.bias[WIDTH] = SHARP * 0.7
    _head(attn, "k", 0)[WIDTH, WIDTH] = 10.0
    _head(attn, "q", 0)[TOKEN, :WIDTH] = SHARP * torch.eye(WIDTH)
    _head(attn, "k", 0)[BEFORE, :WIDTH] = torch.eye(WIDTH)
    _head(attn, "v", 0)[TOKEN, :WIDTH] = torch.eye(WIDTH)
    _out(attn, 0)[:WIDTH, TOKEN] = torch.eye(WIDTH)


def _first_token(attn) -> None:
    attn.c_attn.bias[D_HEAD] = SHARP * 10  # the first query dimension of head 1
    _head(attn, "k", 1)[WIDTH, 0] = SHARP  # position 0


KNOWN = 8
"""Tokens that every planted kind of feature is made for."""
RESTING = [2 * KNOWN, 2 * KNOWN + 1]
THRESHOLDS = (4.0, 0.7)
"""By layer: what is read from the second layer is smaller, as its norm sees more."""


def planted_saes(tokens: list[int]) -> dict[int, Sae]:
    """Known dictionaries on both layers, `[24, 320]`; features that are not named are dead.

    Layer 0: 0 to 7 read the token before (head 0), 8 to 15 an earlier copy (head 1).
    Layer 1: 0 to 7 read what is next by induction (head 0), 16 and 17 what the same head brings
    where nothing stood before: the start token, on which it rests. So it does two things.
    """
    vectors = embeddings()[tokens]
    first, second = torch.zeros(24, D_MODEL), torch.zeros(24, D_MODEL)
    first[:KNOWN, :WIDTH] = vectors
    first[KNOWN : 2 * KNOWN, D_HEAD : D_HEAD + WIDTH] = vectors
    second[:KNOWN, :WIDTH] = vectors
    second[RESTING, :WIDTH] = embeddings()[BOS]
    none = torch.zeros(24)
    return {
        layer: Sae(w, none, w, torch.zeros(D_MODEL), torch.full((24,), THRESHOLDS[layer]))
        for layer, w in ((0, first), (1, second))
    }


def planted_text(folder: Path, model: LanguageModel) -> tuple[Path, list[int]]:
    """Documents of random words said twice, and the tokens that every word may be."""
    words = [f" {word}" for word in sorted(set(TEXT.split()))]
    whole = [ids[0] for word in words if len(ids := model.tokenise(word)) == 1]
    texts = [text for text in model.texts(whole) if text.strip().isalpha()]
    rng = random.Random(0)
    path = folder / "planted.jsonl"
    with path.open("w") as file:
        for _ in range(160):
            half = rng.sample(texts, min(12, len(texts)))
            file.write(json.dumps({"text": "".join(half + half)}) + "\n")
    tokens = [model.tokenise(text)[0] for text in texts]
    return path, tokens


def a_planted_bundle(folder: Path) -> Bundle:
    """An ordinary job on the hand-set model, with the known dictionaries as published SAEs."""
    model = load(str(a_planted_folder(folder / "planted")), device="cpu", dtype="float32")
    path, tokens = planted_text(folder, model)
    for layer, sae in planted_saes(tokens[:KNOWN]).items():
        told = {"hook_name": f"blocks.{layer}.attn.hook_z"}
        saelens.write(sae, folder / f"saes/layer-{layer}", told)
    job = make_job({
        "model": {"name": str(folder / "planted"), "device": "cpu", "dtype": "float32"},
        "corpus": {"name": str(path), "context_length": 40, "min_tokens": 4},
        "sae": {"source": str(folder / "saes"), "layers": (0, 1)},
        "positions": {"sink_norm": None},
        "evaluate": {"tokens": 800},
        "mine": {"tokens": 1500, "logits": 4},
    })  # fmt: skip
    return run_job(job, folder / "made")
