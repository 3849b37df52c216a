"""One prompt as an explorer holds it: run once, every layer seen through an SAE where one is."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atlas.errors import QueryError
from atlas.ids import FeatureId, SaeId
from atlas.lens import pieces as table
from atlas.lens.dfa import source_dfa
from atlas.lens.frozen import Internals, Layer
from atlas.lens.pieces import Lens, Pieces, attribute, look
from atlas.lens.rdfa import Target, feature_target
from atlas.lens.sae import Sae
from atlas.model import LanguageModel
from atlas.prompt_types import Kind, Piece, Prompt

Text = str | Sequence[int]
"""A text, run after the model's start token; or token ids, run as they are."""

MAX_CHARACTERS = 20_000
"""Longest text that is tokenised at all."""


def read_prompt(model: LanguageModel, text: Text, max_tokens: int) -> Prompt:
    """The tokens of a text after the model's start token, or token ids as they are.

    Raises:
        QueryError: it is empty or too long, or has characters or ids that no prompt may have.
    """
    if isinstance(text, str):
        _check_characters(text)
        ids, start = model.tokenise(text), model.info.bos_token
        ids, bos = ([start, *ids], True) if start is not None and ids else (ids, False)
    else:
        ids, bos = list(text), False
    if not ids:
        raise QueryError("the prompt is empty", "give some text")
    if len(ids) > max_tokens:
        raise QueryError(
            f"the prompt has {len(ids)} tokens, the limit is {max_tokens}", "shorten it"
        )
    for token in ids:
        check_token(model, token)
    return Prompt(model.info.id, tuple(ids), tuple(model.texts(ids)), bos)


def check_token(model: LanguageModel, token: int) -> None:
    """Raise QueryError for a token id outside the model's vocabulary."""
    if not isinstance(token, int) or not 0 <= token < model.info.vocab_size:
        raise QueryError(
            f"token {token!r} is outside the vocabulary of {model.info.id}",
            f"its tokens are 0 to {model.info.vocab_size - 1}",
        )


def _check_characters(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise QueryError(
            f"the prompt has {len(text)} characters, the limit is {MAX_CHARACTERS}", "shorten it"
        )
    for at, character in enumerate(text):
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n\r":
            raise QueryError(
                f"character {at} is the control character U+{ord(character):04X}", "remove it"
            )


@dataclass(frozen=True, slots=True)
class PromptRun:
    """A prompt's internals, split into pieces, and targets to attribute to them."""

    prompt: Prompt
    internals: Internals
    layers: Sequence[Layer]
    kv_head: Tensor
    saes: Mapping[int, tuple[SaeId, Sae]]
    """The SAE of each layer that has one."""
    lenses: Sequence[Lens]
    pieces: Pieces
    missing: tuple[str, ...]
    """SAEs that could not be loaded, with the reason."""

    def act(self, feature: FeatureId, pos: int) -> float:
        """Activation of a feature at a position."""
        lens = self.lenses[feature.sae.layer]
        return float(lens.act[(lens.pos == pos) & (lens.feature == feature.index)].sum())

    def peak(self, feature: FeatureId) -> int:
        """Where a feature's pre-activation is largest.

        Position 0 is left out where there are others: the attention sink sits there, and SAEs are
        hardly ever trained on it.
        """
        layer, sae = feature.sae.layer, self.saes[feature.sae.layer][1]
        pre = self.internals.z[layer].flatten(1) @ sae.w_enc[feature.index]
        return int(pre[1:].argmax()) + 1 if len(pre) > 1 else 0

    def dfa(self, feature: FeatureId, pos: int) -> Tensor:
        """DFA of a feature at a position per head and source, `[head, pos + 1]`."""
        taken, layer = self.internals, feature.sae.layer
        row = taken.pattern[layer, :, pos, : pos + 1]
        w = self.saes[layer][1].w_enc[feature.index]
        return source_dfa(row[None], taken.v[layer, : pos + 1][None], w[None], self.kv_head)[0]

    def target(self, feature: FeatureId, pos: int) -> Target:
        """The pre-activation of a feature of one of the run's SAEs."""
        layer = feature.sae.layer
        return feature_target(
            self.internals,
            self.layers[layer],
            self.kv_head,
            layer,
            self.saes[layer][1],
            feature.index,
            pos,
        )

    def target_of(self, row: int) -> Target:
        """The pre-activation of the feature in a row of the table."""
        feature = self.piece(row, 0.0).feature
        assert feature is not None
        return self.target(feature, int(self.pieces.pos[row]))

    def expand(self, targets: Sequence[Target]) -> Tensor:
        """What each piece gives to each target, `[target, n]`."""
        below = max(target.layer for target in targets)
        reads = torch.stack([target.read for target in targets])
        given = attribute(self.internals, self.layers, self.lenses, reads, below)
        for n, target in enumerate(targets):
            given[n, self.pieces.layer >= target.layer] = 0
        return given

    def piece(self, row: int, value: float) -> Piece:
        """The piece in a row of the table, and what it gives."""
        kind: Kind = table.KINDS[int(self.pieces.kind[row])]
        layer, pos = int(self.pieces.layer[row]), int(self.pieces.pos[row])
        if kind == "feature":
            feature = FeatureId(self.saes[layer][0], int(self.pieces.feature[row]))
            return Piece(kind, layer, pos, feature, float(self.pieces.act[row]), value)
        return Piece(kind, layer if layer >= 0 else None, pos, None, None, value)

    def strongest(self, values: Tensor, top: int, rows: Tensor | None = None) -> tuple[Piece, ...]:
        """The `top` pieces by size, then the rest as one piece; together they sum to `values`.

        Args:
            values: `[n]`.
            top: pieces to list.
            rows: `[n]` rows of the table; -1 stands for biases; all rows in order by default.
        """
        best = values.abs().topk(min(top, len(values))).indices.tolist()
        listed = [
            self.piece_or_bias(n if rows is None else int(rows[n]), float(values[n]))
            for n in best
            if values[n] != 0
        ]
        rest = float(values.sum() - values[best].sum())
        return (*listed, Piece("rest", None, None, None, None, rest))

    def share(self, values: Tensor, rows: Tensor, kind: int) -> float:
        """Of the absolute `values` in table `rows`, the part that one kind of pieces makes."""
        size = float(values.abs().sum())
        return float(values[self.pieces.kind[rows] == kind].abs().sum()) / size if size else 0.0

    def piece_or_bias(self, row: int, value: float) -> Piece:
        """Likewise; row -1 stands for biases that are no piece of the residual stream."""
        if row < 0:
            return Piece("bias", None, None, None, None, value)
        return self.piece(row, value)


def see(
    model: LanguageModel,
    prompt: Prompt,
    internals: Internals,
    layers: Sequence[Layer],
    saes: Mapping[int, tuple[SaeId, Sae]],
    missing: tuple[str, ...],
) -> PromptRun:
    """Look at a prompt's z through SAEs, each at its layer."""
    lenses = [
        look(z.flatten(1), saes[layer][1] if layer in saes else None)
        for layer, z in enumerate(internals.z)
    ]
    pieces = table.table(lenses, len(prompt.ids))
    return PromptRun(prompt, internals, layers, model.kv_head, saes, lenses, pieces, missing)
