"""What a unit of work needs to be done in another process: where the job is, and its model."""

from typing import NamedTuple

from atlas.model import LanguageModel, load
from ingest.config import Job


class Where(NamedTuple):
    """Where another process finds everything: plain text, so that it travels."""

    job: str
    """The job as JSON."""
    folder: str
    """Where the bundle grows, seen by all machines alike."""


def load_model(job: Job, dtype: str) -> LanguageModel:
    """The job's model in a precision."""
    return load(job.model.name, id=job.model.id, device=job.model.device, dtype=dtype)
