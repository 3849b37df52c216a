"""Forward passes through transformer_lens: keep what passes hooks, edit z, stop early, resume."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from atlas import types
from atlas.errors import ModelError

Replace = Callable[[Tensor], Tensor]
"""Edits z `[batch, pos, head, d_head]` of one layer."""

Edits = Mapping[int, Replace]
"""Layer to what replaces its z."""


class _Enough(Exception):  # noqa: N818 (no error: everything asked for has been seen)
    """Ends a forward pass early."""


def hook_name(layer: int, part: str) -> str:
    """The name of a block's hook, such as `blocks.3.attn.hook_z`."""
    return f"blocks.{layer}.{part}"


def layer_of(name: str) -> int:
    """The layer of a block's hook; 0 for hooks outside the blocks."""
    return int(name.split(".")[1]) if name.startswith("blocks.") else 0


class Passes:
    """Runs one model, one pass at a time: its hooks are shared by all threads."""

    def __init__(self, bridge: Any, info: types.Model, device: str) -> None:
        self._bridge = bridge
        self._info = info
        self._device = device
        self._lock = threading.RLock()

    def check_layers(self, layers: Sequence[int]) -> None:
        """Raise ModelError when the model lacks one of `layers`."""
        for layer in layers:
            if not 0 <= layer < self._info.n_layers:
                raise ModelError(
                    f"model {self._info.id} has no layer {layer}",
                    f"its layers are 0 to {self._info.n_layers - 1}",
                )

    def run(
        self,
        tokens: Tensor,
        names: Sequence[str] = (),
        *,
        edits: Edits | None = None,
        embed: Replace | None = None,
        resume: tuple[int, Tensor] | None = None,
        whole: bool = True,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """One forward pass: what passed the hooks `names`, and the logits.

        Args:
            tokens: `[batch, pos]` token ids.
            names: hooks to keep, each as it was before any edit of it.
            edits: what replaces z of some layers.
            embed: what replaces the token embeddings `[batch, pos, width]`.
            resume: the first layer to run and the residual stream `[batch, pos, d_model]`
                entering it.
            whole: False ends the pass once every hook was seen; the logits are then empty.

        Raises:
            ModelError: there is no such layer, or the model never passes one of the hooks.
        """
        self.check_layers([*(edits or {}), *(layer_of(name) for name in names)])
        kept: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[..., None]:
            def hook(value: Tensor, hook: Any) -> None:  # noqa: ARG001 (passed by name)
                kept[name] = value
                if not whole and len(kept) == len(names):
                    raise _Enough

            return hook

        hooks: list[tuple[str, Callable[..., Tensor | None]]] = [(n, keep(n)) for n in names]
        hooks += [(hook_name(n, "attn.hook_z"), _as_hook(f)) for n, f in (edits or {}).items()]
        hooks += [("hook_embed", _as_hook(embed))] if embed else []
        logits = torch.empty(0)
        # Families whose attention transformers computes itself show patterns only when asked.
        more = {"output_attentions": True} if any("pattern" in name for name in names) else {}
        with self._lock, self._resumed(resume), suppress(_Enough):
            logits = self._bridge.run_with_hooks(tokens.to(self._device), fwd_hooks=hooks, **more)
        if missing := set(names) - set(kept):
            raise ModelError(
                f"model {self._info.id} ({self._info.family}) does not show {min(missing)}",
                "its attention is computed in a way that cannot be read",
            )
        return kept, logits

    @contextmanager
    def _resumed(self, resume: tuple[int, Tensor] | None) -> Iterator[None]:
        """Let the blocks below give the stored residual stream.

        transformer_lens has start_at_layer for this, but it runs the blocks below all the same.
        """
        first, entering = resume or (0, None)
        skipped = list(self._bridge.blocks)[:first]
        output = (entering, *self._besides) if skipped and self._besides is not None else entering
        for block in skipped:
            # A plain assignment would go through to the wrapped block, and stay there.
            object.__setattr__(block, "forward", lambda *_, **__: output)
        try:
            yield
        finally:
            for block in skipped:
                object.__delattr__(block, "forward")

    @cached_property
    def _besides(self) -> tuple[None, ...] | None:
        """What follows the residual stream in a block's output; None where it comes bare."""
        outputs = []
        handle = self._bridge.blocks[0].register_forward_hook(lambda *call: outputs.append(call[2]))
        self._bridge(torch.zeros(1, 1, dtype=torch.long, device=self._device))
        handle.remove()
        return (None,) * (len(outputs[0]) - 1) if isinstance(outputs[0], tuple) else None


def _as_hook(function: Replace) -> Callable[..., Tensor]:
    def hook(z: Tensor, hook: Any) -> Tensor:  # noqa: ARG001 (transformer_lens passes it by name)
        return function(z)

    return hook
