"""Kinds of SAE: an objective says which features fire and what else the loop does for its kind."""

from ingest.config import SaePart, TrainPart
from ingest.train.objectives.batchtopk import BatchTopK
from ingest.train.objectives.jumprelu import JumpRelu
from ingest.train.objectives.objective import Objective, Pass, Stack
from ingest.train.objectives.relu import Relu
from ingest.train.objectives.topk import TopK

__all__ = ["Objective", "Pass", "Stack", "make_objective"]

_KINDS: dict[str, type[Objective]] = {
    "batchtopk": BatchTopK,
    "topk": TopK,
    "jumprelu": JumpRelu,
    "relu": Relu,
}


def make_objective(sae: SaePart, part: TrainPart, steps: int) -> Objective:
    """The objective of a job that trains for `steps` steps."""
    return _KINDS[sae.objective](sae, part, steps)
