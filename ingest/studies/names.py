"""Every study by name: the one place where a study is registered."""

from collections.abc import Mapping

from atlas.errors import NotFound
from ingest.studies.families import FamiliesPart, study_families
from ingest.studies.heads import HeadsPart, study_heads
from ingest.studies.ioi import ioi
from ingest.studies.ioi_ablate import IoiSettings
from ingest.studies.prefix import PrefixSettings, prefix
from ingest.studies.roles import RolesPart, study_roles
from ingest.studies.study import Kind

STUDIES: Mapping[str, Kind] = {
    "heads": Kind(
        "Metrics, patterns, composition and ablation cost of every head.", HeadsPart, study_heads
    ),
    "families": Kind(
        "The family of every feature by rule, tested on held-out text.",
        FamiliesPart,
        study_families,
    ),
    "roles": Kind(
        "What each head does by its top features, and whether that is one thing.",
        RolesPart,
        study_roles,
        reads=("heads", "families"),
    ),
    "prefix": Kind(
        "Induction of every head by prefix length, on random tokens and on text, prefixes broken.",
        PrefixSettings,
        prefix,
        reads=("families",),
    ),
    "ioi": Kind(
        "Indirect-object identification: whether the model does it, its heads and features.",
        IoiSettings,
        ioi,
    ),
}
"""Name to study; the name is `run.kind` of its runs and what `atlas study` takes."""


def kind_of(name: str) -> Kind:
    """The study of that name. Raises NotFound, naming those that exist."""
    if name not in STUDIES:
        raise NotFound(f"no study {name!r}", f"studies: {', '.join(sorted(STUDIES))}")
    return STUDIES[name]
