"""The SAE as every part of the atlas uses it: encode, decode, head shares, save and load.

Whatever was trained (BatchTopK, JumpReLU, ReLU) is saved in one form: centring and scaling folded
into the weights, b_dec folded into b_enc, a threshold per feature. So one token encodes the same
alone or in any batch. Only TopK keeps a number k.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from atlas.errors import BundleError


class Sae(NamedTuple):
    """Weights of one SAE on z with the heads concatenated, d_in = heads * d_head."""

    w_enc: Tensor  # [d_sae, d_in]
    b_enc: Tensor  # [d_sae]
    w_dec: Tensor  # [d_sae, d_in]
    b_dec: Tensor  # [d_in]
    threshold: Tensor  # [d_sae], a feature fires above it; 0 for ReLU
    k: int = 0  # features that fire per token, for TopK; 0 for all others

    @property
    def d_in(self) -> int:
        return self.w_enc.shape[1]

    @property
    def d_sae(self) -> int:
        return self.w_enc.shape[0]

    @property
    def architecture(self) -> str:
        """`topk`, or `jumprelu` for everything with a threshold."""
        return "topk" if self.k else "jumprelu"

    def to(self, device: str | torch.device, dtype: torch.dtype = torch.float32) -> "Sae":
        """The same SAE elsewhere."""
        return self._replace(**{p: getattr(self, p).to(device, dtype) for p in self._fields[:5]})


def pre_activations(sae: Sae, z_cat: Tensor) -> Tensor:
    """`z_cat @ w_enc.T + b_enc` for `[n, d_in]` inputs: `[n, d_sae]`."""
    return torch.nn.functional.linear(z_cat, sae.w_enc, sae.b_enc)


def fire(sae: Sae, pre: Tensor) -> Tensor:
    """Activations `[n, d_sae]` from pre-activations: what is above threshold, or the top k."""
    if sae.k:
        kept = pre.topk(sae.k, dim=-1)
        pre = torch.zeros_like(pre).scatter(-1, kept.indices, kept.values)
        return pre.relu()
    return above(pre, sae.threshold)


def above(pre: Tensor, threshold: Tensor) -> Tensor:
    """Pre-activations where they lie above a threshold and 0, else 0; shapes that broadcast."""
    return pre * (pre > threshold.clamp(min=0))


def fires(sae: Sae, pre: Tensor) -> Tensor:
    """Which features fire, `[n, d_sae]` bool, from pre-activations; `fire` > 0, in fewer passes."""
    if not sae.k:
        return pre > sae.threshold.clamp(min=0)
    kept = pre.topk(sae.k, dim=-1)
    return torch.zeros_like(pre, dtype=torch.bool).scatter(-1, kept.indices, kept.values > 0)


def encode(sae: Sae, z_cat: Tensor) -> Tensor:
    """Activations `[n, d_sae]` of `[n, d_in]` inputs."""
    return fire(sae, pre_activations(sae, z_cat))


def decode(sae: Sae, acts: Tensor) -> Tensor:
    """Reconstructions `[n, d_in]` of `[n, d_sae]` activations."""
    return acts @ sae.w_dec + sae.b_dec


def shifted(sae: Sae, offset: Tensor) -> Sae:
    """The same SAE for inputs that are larger by `offset` `[d_in]`; activations stay."""
    return sae._replace(b_enc=sae.b_enc - sae.w_enc @ offset, b_dec=sae.b_dec + offset)


def head_shares(w_dec: Tensor, n_heads: int) -> Tensor:
    """Share of every head in every feature by weights, `[d_sae, head]` (PAPER.md section 5.1).

    The ratio of the norms of the decoder row's head slices; rows of zeros give zeros.

    Args:
        w_dec: `[d_sae, d_in]`, head-major.
        n_heads: heads that d_in divides into.
    """
    norms = torch.linalg.vector_norm(w_dec.view(len(w_dec), n_heads, -1), dim=-1)
    shares: Tensor = norms / norms.sum(-1, keepdim=True).clamp(torch.finfo(norms.dtype).tiny)
    return shares


def save(path: Path, saes: Mapping[str, Sae]) -> None:
    """Write SAEs by id into one safetensors file, float32."""
    tensors = {
        f"{name}:{part}": getattr(sae, part).detach().to("cpu", torch.float32, copy=True)
        for name, sae in saes.items()
        for part in Sae._fields[:5]
    }
    save_file(tensors, path, {"k": json.dumps({name: sae.k for name, sae in saes.items()})})


def load(path: Path, name: str, device: str = "cpu") -> Sae:
    """One SAE by id from a file that `save` wrote.

    Raises:
        BundleError: the file is missing or damaged, or has no such SAE.
    """
    try:
        with safe_open(path, "pt", device=device) as file:
            k = json.loads((file.metadata() or {}).get("k", "{}"))
            if name not in k:
                raise BundleError(
                    f"{path.name} has no SAE {name}", f"it has {', '.join(sorted(k))}"
                )
            parts = {part: file.get_tensor(f"{name}:{part}") for part in Sae._fields[:5]}
            return Sae(**parts, k=k[name])
    except (OSError, SafetensorError) as error:
        raise BundleError(
            f"weights {path} cannot be read: {error}", "publish the bundle again"
        ) from error
