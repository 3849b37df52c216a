"""A host without the extras: what it cannot do is said in one line, with what to install."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
sys.argv = ["atlas", *sys.argv[2:]]
from app.cli import main
main()
"""


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("torch", ("ingest", "demo"), "ingest"),
        ("torch", ("verify",), "ingest"),
        ("openai", ("label", "--dry-run"), "ingest"),
        ("uvicorn", ("serve",), "app"),
    ],
)
def test_a_command_that_needs_an_extra_says_which(module, arguments, extra, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, module, *arguments],
        cwd=ROOT,
        env={"ATLAS_STORE": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert f"this needs {module}, which is not installed here" in done.stderr
    assert f"pip install 'feature-atlas[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr
