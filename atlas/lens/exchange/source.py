"""Where published SAEs lie: a local folder or a repository of the Hugging Face hub.

A source may hold many SAEs, in either layout; the layers asked for are picked by what their
configurations say. From the hub come first the configurations alone, then the weights needed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from atlas.errors import ConfigError
from atlas.lens.exchange import paper, saelens
from atlas.lens.exchange.published import Published, layer_of
from atlas.model.fetch import is_reachable

Fetch = Callable[[Path], None]
"""Makes sure that a file is there."""


def read(source: str, layers: Sequence[int]) -> dict[int, Published]:
    """The SAEs of `layers` from a local folder, or from `owner/repository[/folder]` of the hub.

    Raises:
        ConfigError: there is no such source or it cannot be reached; a layer has no SAE in it, or
            several; a file is damaged. The message names it.
    """
    local = Path(source).expanduser()
    if local.is_dir():
        return _read(local, layers, lambda _: None)
    if source.startswith((".", "/", "~")) or source.count("/") < 1:
        raise ConfigError(f"no folder {source}", "give a folder, or owner/repository of the hub")
    root, fetch = _of_hub(source)
    return _read(root, layers, fetch)


def _read(root: Path, layers: Sequence[int], fetch: Fetch) -> dict[int, Published]:
    found: dict[int, Path] = {}
    for config in _configs(root):
        layer = _layer(config)
        if layer in found and layer in layers and not paper.is_later(config, found[layer]):
            raise ConfigError(
                f"layer {layer} has two SAEs: {found[layer]} and {config}", "name one's own folder"
            )
        if layer is not None:
            found[layer] = config
    if missing := [layer for layer in layers if layer not in found]:
        known = ", ".join(map(str, sorted(found))) or "none at all"
        raise ConfigError(f"{root} has no SAE on z of layer {missing[0]}", f"it has: {known}")
    return {layer: _one(found[layer], fetch) for layer in layers}


def _configs(root: Path) -> list[Path]:
    ours = sorted(root.rglob(f"*{paper.CONFIG}"), key=paper.version_of)
    return [*sorted(root.rglob(saelens.CONFIG)), *ours]


def _layer(config: Path) -> int | None:
    """The layer whose z it reads; None for an SAE on something else."""
    told: dict[str, Any] = (
        saelens.read_config(config.parent)
        if config.name == saelens.CONFIG
        else paper.read_config(config)
    )
    try:
        return layer_of(told.get("hook_name"), config)
    except ConfigError:
        return None


def _one(config: Path, fetch: Fetch) -> Published:
    if config.name == saelens.CONFIG:
        fetch(config.parent / saelens.WEIGHTS)
        return saelens.read(config.parent)
    fetch(paper.weights_of(config))
    return paper.read(config)


def _of_hub(source: str) -> tuple[Path, Fetch]:
    """The folder with a repository's configurations, and what downloads more of it."""
    from huggingface_hub import (  # noqa: PLC0415 (slow import)
        constants,
        hf_hub_download,
        snapshot_download,
    )
    from huggingface_hub.errors import (  # noqa: PLC0415
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    owner, name, *inner = source.split("/")
    repository = f"{owner}/{name}"
    offline = constants.is_offline_mode() or not is_reachable(constants.ENDPOINT)
    try:
        root = Path(
            snapshot_download(repository, allow_patterns="*.json", local_files_only=offline)
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = (
            f"{constants.ENDPOINT} cannot be reached" if offline else str(error).splitlines()[0]
        )
        raise ConfigError(
            f"SAEs {source!r} are not on this machine and {reason}",
            "give a local folder, or owner/repository of a hub that this machine reaches",
        ) from error

    def fetch(path: Path) -> None:
        try:
            hf_hub_download(repository, path.relative_to(root).as_posix(), local_files_only=offline)
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            raise ConfigError(f"{path.name} of {source} cannot be fetched: {error}") from error

    return root.joinpath(*inner), fetch
