"""What is installed from the wheel works without the checkout, its data files included."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.builders import a_bundle

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what the wheel holds, the only copy of the project that Python will see."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


def the_command_line(installed, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=installed,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_wheel_holds_the_three_packages_and_nothing_else(installed):
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"atlas", "ingest", "app"}
    assert not list(installed.rglob("test_*.py"))


def test_every_data_file_of_the_packages_is_in_the_wheel(installed):
    command = ["git", "ls-files", "atlas", "ingest", "app"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    listed = done.stdout.split()
    assert "app/web/widgets/style.css" in listed
    assert [name for name in listed if not (installed / name).is_file()] == []


def test_a_bundle_is_published_and_searched_from_the_wheel_alone(installed, tmp_path):
    bundle, store = a_bundle(tmp_path / "bundle").path, str(tmp_path / "store")
    the_command_line(installed, "publish", str(bundle), "--store", store)
    assert "toy/0-t/0" in the_command_line(installed, "search", "board", "--store", store)
    assert "polysemantic_heads" in the_command_line(installed, "cookbook", "--store", store)
    assert "up to date" in the_command_line(installed, "notes", "upgrade", "--store", store)
