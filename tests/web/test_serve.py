"""How the app is started, and what its module names may not be."""

import importlib.util
import sys
from pathlib import Path

import app.web
from app.web.serve import command


def test_the_server_is_alone_quiet_and_headless():
    made = command(Path("/s"), port=8600, notes="sqlite:///n", api="http://127.0.0.1:8601")
    assert made[0] == sys.executable
    assert {
        "--server.address=127.0.0.1", "--server.port=8600", "--server.headless=true",
        "--browser.gatherUsageStats=false",
    } <= set(made)  # fmt: skip
    own = made[made.index("--") + 1 :]
    assert own == ["--store", "/s", "--notes", "sqlite:///n", "--api", "http://127.0.0.1:8601"]


def test_no_name_beside_the_script_hides_a_module():
    """Streamlit puts the folder of main.py first on sys.path."""
    names = {path.stem for path in Path(app.web.__file__).parent.iterdir()} - {"__init__"}
    assert {"main", "views"} <= names
    assert [name for name in names if importlib.util.find_spec(name)] == []
