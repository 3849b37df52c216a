"""Which way a training step takes, by the device and the sizes."""

from importlib.util import find_spec
from typing import Literal

from atlas.errors import ConfigError
from ingest.config import SaePart
from ingest.train.objectives import Objective

Path = Literal["layered", "dense", "sparse"]
SPARSE_FROM: float | None = None
"""d_sae / k from which the sparse step was measured to be quicker than the dense one on a GPU.

None: not measured yet, so `auto` never takes it. `python -m tests.benchmarks.gpu` measures it;
docs/gpu.md has what is derived."""


def choose_path(asked: str, device: str, objective: Objective) -> Path:
    """The path of a training.

    - layered: layer by layer over the firings alone (ingest/train/step.py). The quickest on a CPU,
      and the oracle of the others; waits for the device several times per layer.
    - dense: layers stacked, fixed shapes, products with all activations (ingest/train/stacked.py).
      What `auto` takes on CUDA: plain PyTorch operations, tested against the first on the CPU.
    - sparse: the same with Triton kernels over the firings alone; BatchTopK and TopK only. A run
      begins with a comparison with the dense path on its own first batch, and stops when they
      differ.

    Args:
        asked: `train.step`: `auto` or a path.
        device: where training runs.
        objective: what is trained.

    Raises:
        ConfigError: the sparse step cannot do this objective, or not here.
    """
    if asked == "layered" or (asked == "auto" and device == "cpu"):
        return "layered"
    reason = _no_sparse(device, objective)
    if asked == "sparse" and reason:
        raise ConfigError(f"train.step = 'sparse' {reason}", "set train.step = 'dense'")
    if asked == "sparse" or (asked == "auto" and not reason and _is_quicker(objective.sae)):
        return "sparse"
    return "dense"


def _is_quicker(sae: SaePart) -> bool:
    return SPARSE_FROM is not None and sae.d_sae / sae.k >= SPARSE_FROM


def _no_sparse(device: str, objective: Objective) -> str:
    """Why the sparse step is not possible; empty when it is."""
    if not objective.is_bounded or len(objective.edges) > 1:
        return "knows batchtopk without prefixes and topk only"
    if device == "cpu":
        return "runs on a GPU only"
    if find_spec("triton") is None:
        return "needs Triton, and it is not installed"
    return ""
