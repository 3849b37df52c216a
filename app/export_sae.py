"""An SAE of an atlas, written for SAELens."""

from pathlib import Path

from atlas.api import Atlas
from atlas.lens.exchange import saelens
from atlas.lens.sae import load


def export_sae(atlas: Atlas, name: str, folder: Path) -> Path:
    """Write one SAE as SAELens' `SAE.load_from_disk` reads it; gives the folder back.

    It reads z as models give it; load the model with `from_pretrained_no_processing`.

    Args:
        atlas: where from.
        name: id of the SAE.
        folder: made; must not be there.

    Raises:
        NotFound: no such SAE.
        ConfigError: the folder is there already or cannot be written.
    """
    found = atlas.sae(name)
    run, model = atlas.run(found.run), atlas.model(found.id.model)
    metadata = {
        "model_name": model.name,
        "hook_name": found.hook,
        "prepend_bos": run.bos != "none",
        "context_size": run.context_length,
        "dataset_path": run.corpus,
        "feature_atlas_id": str(found.id),
    }
    return saelens.write(load(atlas.weights(found.id), str(found.id)), folder, metadata)
