"""A loaded language model: forward passes, what they compute on the way, edits of z."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from atlas import types
from atlas.errors import ModelError
from atlas.lens.circuits import Circuit, fold
from atlas.lens.frozen import Internals, Layer, Norm, objection
from atlas.lens.qk import Scoring
from atlas.model import weights
from atlas.model.passes import Edits, Passes, hook_name


class Attention(NamedTuple):
    """What one layer's attention computed."""

    z: Tensor  # [batch, pos, head, d_head], before W_O
    v: Tensor  # [batch, pos, kv_head, d_head]
    pattern: Tensor  # [batch, head, dst, src], rows sum to 1


ATTENTION = ("attn.hook_z", "attn.hook_v", "attn.hook_pattern")
"""Hooks of a block, in the order of Attention's fields."""
_PARTS = {
    "hook_attn_out": "attn_out",
    "hook_mlp_out": "mlp_out",
    "attn.hook_z": "z",
    "attn.hook_v": "v",
    "attn.hook_pattern": "pattern",
}
_SCALES = {"ln1.hook_scale": "norm_scale", "ln1_post.hook_scale": "post_scale"}
"""Hooks of a block and the fields of Internals they fill; not every family has both norms."""


class LanguageModel:
    """A loaded model: runs tokens, gives attention internals, takes edits of z.

    Threads may share one: forward passes wait for each other.
    """

    def __init__(self, bridge: Any, info: types.Model, device: str) -> None:
        self.bridge = bridge
        self.info = info
        self.device = device
        self.passes = Passes(bridge, info, device)

    @property
    def d_in(self) -> int:
        """Width of z with the heads concatenated, head-major."""
        return self.info.n_heads * self.info.d_head

    @property
    def kv_head(self) -> Tensor:
        """`[head]`: the key/value head that each query head reads."""
        group = self.info.n_heads // self.info.n_kv_heads
        return torch.arange(self.info.n_heads, device=self.device) // group

    @property
    def context_length(self) -> int:
        """Most tokens the model takes at once."""
        return int(self.bridge.cfg.n_ctx)

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are kept in."""
        return self.bridge.W_U.dtype  # type: ignore[no-any-return]

    def check_layers(self, layers: Sequence[int]) -> None:
        """Raise ModelError when the model lacks one of `layers`."""
        self.passes.check_layers(layers)

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer. Raises ModelError when it came without one."""
        if self.bridge.tokenizer is None:
            raise ModelError(f"model {self.info.id} has no tokenizer", "add one to its folder")
        return self.bridge.tokenizer

    def tokenise(self, text: str) -> list[int]:
        """Token ids of `text`, without any start or end token."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def tokenise_many(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without any start or end token; quicker than one by one."""
        return list(self.tokenizer(list(texts), add_special_tokens=False)["input_ids"])

    def texts(self, tokens: Sequence[int]) -> list[str]:
        """Text of each token by itself, spaces and newlines as they are."""
        return [self.tokenizer.decode([token]) for token in tokens]

    def vocabulary(self) -> list[str]:
        """Text of every token id, spaces and newlines as they are."""
        return self.texts(range(self.info.vocab_size))

    @torch.no_grad()
    def z(self, tokens: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        """Attention outputs before W_O; the forward pass ends with the last one asked for.

        Args:
            tokens: `[batch, pos]` token ids.
            layers: layers to keep.

        Returns:
            Layer to `[batch, pos, head, d_head]`.
        """
        kept, _ = self.passes.run(
            tokens, [hook_name(layer, "attn.hook_z") for layer in layers], whole=False
        )
        return {layer: kept[hook_name(layer, "attn.hook_z")] for layer in layers}

    @torch.no_grad()
    def attention(self, tokens: Tensor, layers: Sequence[int]) -> dict[int, Attention]:
        """z, values and pattern of `layers`, for `[batch, pos]` token ids."""
        names = [hook_name(layer, part) for layer in layers for part in ATTENTION]
        kept, _ = self.passes.run(tokens, names, whole=False)
        return {
            layer: Attention(*(kept[hook_name(layer, part)] for part in ATTENTION))
            for layer in layers
        }

    @torch.no_grad()
    def losses(self, tokens: Tensor, replace: Edits | None = None) -> Tensor:
        """Loss per token, nats, with z of some layers edited on the way.

        Args:
            tokens: `[batch, pos]` token ids.
            replace: layer to a function from and to z `[batch, pos, head, d_head]`.

        Returns:
            `[batch, pos - 1]`: loss of predicting token p + 1 at position p.
        """
        _, logits = self.passes.run(tokens, edits=replace or {})
        return _losses(logits, tokens.to(self.device))

    @torch.no_grad()
    def losses_each(self, tokens: Tensor, edits: Sequence[Edits]) -> list[Tensor]:
        """Losses under each of several edits, as `losses` gives them one by one.

        Layers below an edit's first one are computed once for all; an empty edit is the clean run.

        Args:
            tokens: `[batch, pos]` token ids.
            edits: any number of edits.

        Returns:
            For each edit `[batch, pos - 1]`.
        """
        firsts = {min(edit) for edit in edits if edit}
        kept, logits = self.passes.run(
            tokens,
            [hook_name(layer, "hook_resid_pre") for layer in firsts],
            whole=not all(edits),
        )
        tokens = tokens.to(self.device)
        losses = []
        for edit in edits:
            if edit:
                start = min(edit)
                entering = kept[hook_name(start, "hook_resid_pre")]
                _, logits = self.passes.run(tokens, edits=edit, resume=(start, entering))
            losses.append(_losses(logits, tokens))
        return losses

    @torch.no_grad()
    def logits(self, tokens: Tensor, replace: Edits | None = None) -> Tensor:
        """Logits `[batch, pos, vocab]` of `[batch, pos]` tokens, with z of some layers edited."""
        return self.passes.run(tokens, edits=replace or {})[1]

    @torch.no_grad()
    def run(
        self, tokens: Tensor, layers: Sequence[int], replace: Edits | None = None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Logits `[batch, pos, vocab]` and z of `layers` as they were before their own edit."""
        names = [hook_name(layer, "attn.hook_z") for layer in layers]
        kept, logits = self.passes.run(tokens, names, edits=replace or {})
        return logits, {layer: kept[hook_name(layer, "attn.hook_z")] for layer in layers}

    @torch.no_grad()
    def internals(self, tokens: Tensor) -> Internals:
        """Everything that attribution needs of one prompt, `[pos]` token ids, in one pass."""
        blocks = range(self.info.n_layers)
        learned = self.bridge.cfg.positional_embedding_type == "standard"
        ends = [hook_name(0, "hook_resid_pre"), "ln_final.hook_scale", "unembed.hook_out"]
        parts = [
            *_PARTS,
            *(scale for scale in _SCALES if hook_name(0, scale) in self.bridge.hook_dict),
        ]
        names = [hook_name(n, part) for n in blocks for part in parts] + ends
        kept, _ = self.passes.run(tokens[None], names + ["hook_pos_embed"] * learned)

        def stack(part: str) -> Tensor:
            return torch.stack([kept[hook_name(n, part)][0] for n in blocks]).float()

        no_scale = torch.ones(len(blocks), len(tokens), 1, device=self.device)
        entering = kept[hook_name(0, "hook_resid_pre")][0].float()
        position = kept["hook_pos_embed"][0].float() if learned else torch.zeros_like(entering)
        return Internals(
            tokens=tokens.to(self.device),
            embed=entering - position,
            position=position,
            **{field: stack(part) for part, field in _PARTS.items()},
            **{
                field: stack(scale).view_as(no_scale) if scale in parts else no_scale
                for scale, field in _SCALES.items()
            },
            final_scale=kept["ln_final.hook_scale"][0].float(),
            unembedded=kept["unembed.hook_out"][0].float(),
        )

    def check_attributable(self) -> None:
        """Raise ModelError, with the reason, when attribution would not be exact on this model."""
        probe = torch.arange(min(16, self.info.vocab_size, self.context_length))
        try:
            internals = self.internals(probe)
            layers = [self.layer(n) for n in range(self.info.n_layers)]
        except (AttributeError, KeyError, RuntimeError, TypeError) as error:
            reason: str | None = f"its parts cannot be read ({error})"
        else:
            tolerance = 1e-3 if self.dtype == torch.float32 else 2e-2
            reason = objection(internals, layers, self.kv_head, tolerance)
        if reason:
            raise self.refusal(reason)

    def refusal(self, reason: str) -> ModelError:
        """The error that says why this model is not attributed."""
        return ModelError(
            f"model {self.info.id} ({self.info.family}) cannot be decomposed: {reason}",
            "take a model with plain attention, such as GPT-2, Pythia, Llama, Gemma 2 or Qwen",
        )

    @torch.no_grad()
    def layer(self, n: int) -> Layer:
        """Value-side weights of layer `n`, float32."""
        self.check_layers([n])
        return weights.read_layer(self.bridge.blocks[n], self.info)

    @torch.no_grad()
    def scoring(self, tokens: Tensor, layer: int, head: int) -> Scoring:
        """How one head scores on one prompt, `[pos]` token ids.

        Raises:
            ModelError: there is no such layer or head, or its queries cannot be taken apart.
        """
        self.check_layers([layer])
        if not 0 <= head < self.info.n_heads:
            raise ModelError(
                f"model {self.info.id} has no head {head}",
                f"its heads are 0 to {self.info.n_heads - 1}",
            )
        wanted = ["ln1.hook_scale", *weights.ROTARY, *weights.QK_NORMS]
        known = self.bridge.hook_dict
        names = {part: hook_name(layer, part) for part in wanted if hook_name(layer, part) in known}
        kept, _ = self.passes.run(tokens[None], [*names.values()], whole=False)
        taken = {part: kept[name] for part, name in names.items()}
        before = taken.get("ln1.hook_scale", torch.ones(1, len(tokens), 1, device=self.device))
        try:
            return weights.read_scoring(
                self.bridge.blocks[layer], self.info, head, taken, before.float()[0].view(-1, 1)
            )
        except (AttributeError, RuntimeError) as error:
            raise self.refusal(f"its queries and keys cannot be read ({error})") from error

    @torch.no_grad()
    def circuit(self, n: int) -> Circuit:
        """The heads of layer `n` by their weights, norms folded in; rotary positions left out."""
        w_q, w_k = weights.read_qk(self.bridge.blocks[n])
        return fold(self.layer(n), w_q, w_k, self.kv_head)

    @torch.no_grad()
    def direct_path(self) -> Tensor:
        """`[d_model, d_model]`: unembedding times embedding, the final norm's weight folded in."""
        w_u = self.bridge.W_U.float()
        read = self.final_norm.pull(w_u.T, torch.ones(1, device=w_u.device))
        path: Tensor = read.T @ self.bridge.W_E.float()
        return path

    @property
    def is_rotary(self) -> bool:
        """Whether queries and keys are turned by their positions."""
        return str(self.bridge.cfg.positional_embedding_type) == "rotary"

    def value_bias(self, layer: int) -> Tensor:
        """c_V `[d_in]`: what value biases and the norm's bias add to z, wherever a head looks.

        The rows of a pattern sum to 1, so z less c_V is z of the weights that TransformerLens gives
        after its default processing (PAPER.md section 1, trap 1).
        """
        own = self.layer(layer)
        by_head = own.b_v + own.norm.bias @ own.w_v
        return by_head[self.kv_head].flatten()

    def w_o(self, layer: int) -> Tensor:
        """Output weights `[head, d_head, d_model]` of one layer, float32."""
        return self.layer(layer).w_o

    @torch.no_grad()
    def writes(self, layer: int, z: Tensor) -> Tensor:
        """Directions `[n, d_model]` that z directions `[n, d_in]` write to the residual stream.

        Where a norm follows the attention (Gemma 2), its weight is applied and its scale, which
        depends on the prompt, left out.
        """
        own = self.layer(layer)
        out = z.to(self.device, torch.float32) @ own.w_o.flatten(0, 1)
        return own.post.apply(out, torch.ones(1, device=self.device))

    @property
    def final_norm(self) -> Norm:
        """The norm before the unembedding."""
        return weights.read_norm(self.bridge.ln_final, like=self.bridge.W_U[:, 0])

    @torch.no_grad()
    def unembed(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Columns `[n, d_model]` and biases `[n]` of the unembedding for `[n]` token ids."""
        return self.bridge.W_U[:, tokens].T.float(), self.bridge.b_U[tokens].float()

    @cached_property
    def mean_column(self) -> Tensor:
        """`[d_model]`: mean column of the unembedding, what the mean logit reads."""
        return self.bridge.W_U.detach().float().mean(1)  # type: ignore[no-any-return]

    def ordinary_tokens(self) -> Tensor:
        """`[n]`: token ids that stand for text, without special tokens and unused rows."""
        known = range(min(len(self.tokenizer), self.info.vocab_size))
        special = set(self.tokenizer.all_special_ids)
        return torch.tensor([token for token in known if token not in special])

    @torch.no_grad()
    def logit_effects(self, directions: Tensor) -> Tensor:
        """What residual directions do to the logits, with the final norm's scale left out.

        The final norm's weight is applied and, for LayerNorm, the mean removed; its scale depends
        on the prompt, so effects compare tokens, not prompts (PAPER.md section 11, panel 4).

        Args:
            directions: `[n, d_model]`.

        Returns:
            `[n, vocab]`.
        """
        directions = directions.to(self.device, torch.float32)
        normed = self.final_norm.apply(directions, torch.ones(1, device=self.device))
        effects: Tensor = normed @ self.bridge.W_U.float()
        return effects


def _losses(logits: Tensor, tokens: Tensor) -> Tensor:
    """A few positions at a time: a whole batch of float32 logits does not fit a CPU's caches."""
    few = 8 if logits.device.type == "cpu" else 4096
    rows = [
        torch.nn.functional.cross_entropy(some.float(), wanted, reduction="none")
        for context, ids in zip(logits[:, :-1], tokens[:, 1:], strict=True)
        for some, wanted in zip(context.split(few), ids.split(few), strict=True)
    ]
    return torch.cat(rows).view(tokens.shape[0], -1)
