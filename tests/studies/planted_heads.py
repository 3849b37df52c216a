"""A two-layer attention-only transformer whose four heads were set by hand.

L0H0 attends to the token before and copies it to a place of its own; L0H1 attends to earlier copies
of the token; L1H0 is an induction head: it looks for the place whose token before is the present
token; L1H1 attends to the first position. Its MLPs are zero.
"""

from pathlib import Path

import torch

from tests.models import BOS, EOS, VOCAB, a_tokenizer

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
    """Same token, but not at the same place."""
    _head(attn, "q", 1)[TOKEN, :WIDTH] = SHARP * torch.eye(WIDTH)
    _head(attn, "k", 1)[TOKEN, :WIDTH] = torch.eye(WIDTH)
    _head(attn, "q", 1)[PLACE, WIDTH:] = -SHARP * torch.eye(POSITIONS)
    _head(attn, "k", 1)[PLACE, WIDTH:] = torch.eye(POSITIONS)
    _head(attn, "v", 1)[TOKEN, :WIDTH] = torch.eye(WIDTH)


def _induction(attn) -> None:
    _head(attn, "q", 0)[TOKEN, :WIDTH] = SHARP * torch.eye(WIDTH)
    _head(attn, "k", 0)[BEFORE, :WIDTH] = torch.eye(WIDTH)
    _head(attn, "v", 0)[TOKEN, :WIDTH] = torch.eye(WIDTH)
    _out(attn, 0)[:WIDTH, TOKEN] = torch.eye(WIDTH)


def _first_token(attn) -> None:
    attn.c_attn.bias[D_HEAD] = SHARP * 10  # the first query dimension of head 1
    _head(attn, "k", 1)[WIDTH, 0] = SHARP  # position 0
