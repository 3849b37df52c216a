"""What features are called, for studies that list them."""

from atlas.ids import SaeId
from ingest.studies.study import Study


def titles(study: Study, name: SaeId) -> dict[int, str]:
    """The best supported title of each feature that has one."""
    found: dict[int, tuple[float, str]] = {}
    for batch in study.atlas.export(name, "label").batches:
        for row in batch.select(["feature", "side", "text", "support"]).to_pylist():
            score = row["support"] or 0.0
            if row["side"] == "title" and score >= found.get(row["feature"], (0.0, ""))[0]:
                found[row["feature"]] = (score, row["text"])
    return {feature: text for feature, (_, text) in found.items()}
