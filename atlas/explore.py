"""Opens the prompt explorer of an atlas: its model and the weights of its SAEs."""

from typing import TYPE_CHECKING

from atlas.errors import ModelError, NotFound
from atlas.ids import SaeId
from atlas.lens.sae import Sae, load
from atlas.model import fingerprint
from atlas.model import load as load_model
from atlas.prompt import Explorer

if TYPE_CHECKING:
    from atlas.api import Atlas


def open_explorer(atlas: "Atlas", model: str | None, device: str) -> Explorer:
    """Load a model of the atlas in float32, ready to explore prompts through its SAEs.

    Args:
        atlas: where SAEs and their weights are.
        model: id of the model; None where the atlas has SAEs of one model only.
        device: as `atlas.model.load` takes it.

    Raises:
        NotFound: no such model, none with SAEs, or several to choose from.
        ModelError: it cannot be loaded, does not decompose, or is not the model that was mined.
    """
    known = sorted({sae.id.model for sae in atlas.saes()})
    if not known:
        raise NotFound("this atlas has no SAEs", "make some with `atlas ingest`")
    if model is None and len(known) > 1:
        raise NotFound(f"this atlas has SAEs of {', '.join(known)}", "name the model")
    info = atlas.model(model or known[0])
    loaded = load_model(info.name, id=info.id, device=device, dtype="float32")
    if fingerprint(loaded.bridge.original_model) != info.weights_sha256:
        raise ModelError(
            f"model {info.name} on this machine has other weights than those that were mined",
            "put the weights back that the run used; `atlas show MODEL` has their fingerprint",
        )

    def weights(name: SaeId) -> Sae:
        return load(atlas.weights(name), str(name), loaded.device)

    return Explorer(loaded, [sae.id for sae in atlas.saes()], weights)
