"""The button that labels a feature anew: only where an endpoint is set, and failures are shown."""

from streamlit.testing.v1 import AppTest

from app.relabel import labeller
from tests.web.conftest import page, seen
from tests.web.test_writing import press

FEATURE = "toy/1-t/0"


def buttons(test):
    return [one.label for one in test.button if one.label == "Label it anew"]


def configured(monkeypatch):
    monkeypatch.setenv("ATLAS_LABEL_URL", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("ATLAS_LABEL_MODEL", "<b>tiny</b>")
    assert labeller() == "<b>tiny</b>"


def test_without_an_endpoint_the_page_says_how_to_set_one(store, monkeypatch):
    monkeypatch.delenv("ATLAS_LABEL_URL", raising=False)
    test = page(store, "feature", id=FEATURE)
    assert buttons(test) == []
    assert "ATLAS_LABEL_URL" in seen(test)


def test_a_failure_is_shown_and_changes_nothing(own, monkeypatch):
    configured(monkeypatch)
    test = page(own, "feature", id=FEATURE)
    (button,) = buttons(test)
    assert "with &lt;b&gt;tiny&lt;/b&gt;" in seen(test)
    html = seen(press(test, button, seconds=120))
    assert 'role="alert"' in html
    assert "was not labelled" in html
    assert [one.name for one in (own / "snapshots").iterdir()] == ["000001"]


def test_where_nothing_may_be_written_there_is_no_button(store, monkeypatch):
    configured(monkeypatch)
    script = f"""
from app.web.main import Settings, show_page
show_page("feature", Settings({str(store)!r}, read_only=True))
"""
    test = AppTest.from_string(script)
    test.session_state["me"] = ""
    test.query_params["id"] = FEATURE
    test.run(timeout=20)
    assert buttons(test) == []
    assert "read-only" in seen(test)
