"""What importing an entry module brings in: the store host needs no torch, nor Streamlit."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformer_lens", "transformers", "datasets", "openai", "streamlit", "fastapi")


@pytest.mark.parametrize("module", ["atlas.api", "atlas.bundle", "atlas.progress", "app.cli"])
def test_a_light_module_brings_in_nothing_heavy(module):
    code = f"import sys, {module}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []


def test_what_streamlit_puts_first_on_the_path_shadows_nothing():
    names = {path.stem for path in (ROOT / "app" / "web").iterdir()} - {"__init__", "__pycache__"}
    assert not names & sys.stdlib_module_names
    assert not names & {"atlas", "ingest", "app", "migrations", "tests", *HEAVY}
