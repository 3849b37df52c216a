"""Labelling one feature anew from its page: `atlas label` in a process of its own.

Pages know nothing of how labels are made, and a process that fails or hangs takes no page with it.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from atlas.errors import LabelError
from atlas.ids import FeatureId

LIMIT = 300.0
"""Seconds that one feature may take."""


def labeller(environment: Mapping[str, str] = os.environ) -> str | None:
    """The model that would label, as ATLAS_LABEL_MODEL says; None where no endpoint is set."""
    return environment.get("ATLAS_LABEL_MODEL") if environment.get("ATLAS_LABEL_URL") else None


def relabel(store: Path, feature: FeatureId, seconds: float = LIMIT) -> str:
    """Have one feature labelled and scored anew and the result published; waits for it.

    The endpoint is that of ATLAS_LABEL_URL, ATLAS_LABEL_MODEL and ATLAS_LABEL_KEY. The next read
    of the atlas shows the new label, beside those of people and of other labellers.

    Args:
        store: the store's folder.
        feature: one that exists.
        seconds: when to give up.

    Returns:
        What the command said last.

    Raises:
        LabelError: no endpoint is set, it does not work, or it takes too long.
    """
    if labeller() is None:
        raise LabelError(
            "no endpoint is set", "start the server with ATLAS_LABEL_URL and ATLAS_LABEL_MODEL"
        )
    command = [sys.executable, "-m", "app.cli", "label", "--store", str(store)]
    command += ["--sae", str(feature.sae), "--feature", str(feature), "--again"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise LabelError(f"{feature} was not labelled within {seconds:g} s") from error
    if done.returncode != 0:
        said = done.stderr.removeprefix("error: ").strip()
        raise LabelError(f"{feature} was not labelled: {said}")
    return done.stdout.strip()
