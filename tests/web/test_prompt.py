"""The prompt page, on an atlas of a tiny real model; and where no model can be had."""

import pytest

from atlas.api import Atlas
from atlas.store.publish import publish
from ingest.job import run_job
from tests.ingest.jobs import a_job
from tests.web.conftest import page, seen
from tests.web.test_pages import links

TEXT = "the cat sat on the mat"


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    """A store made by a whole job."""
    folder = tmp_path_factory.mktemp("mined")
    publish(folder / "store", [run_job(a_job(folder), folder / "store").path])
    return folder / "store"


def test_what_fires_leads_to_what_made_it_fire(mined):
    test = page(mined, "prompt", text=TEXT)
    html = seen(test)
    assert "Strongest features" in html
    traces = [one for one in links(test) if one.startswith("prompt?") and "feature=" in one]
    assert traces
    assert all("text=the+cat+sat+on+the+mat" in one for one in traces)


def test_a_trace_adds_up_and_goes_on_to_what_wrote_a_source(mined):
    found = Atlas.open(mined).explorer().features(TEXT)
    firing = max(found.layers[-1].firings, key=lambda one: (one.pos, one.act))
    name = str(firing.feature)
    html = seen(page(mined, "prompt", text=TEXT, feature=name, pos=str(firing.pos)))
    assert "= pre-activation" in html
    assert f"Activation {firing.act:.4f} on" in html
    assert "By head" in html
    html = seen(page(mined, "prompt", text=TEXT, feature=name, pos=str(firing.pos), src="1"))
    assert "What wrote" in html
    assert "embedding" in html


def test_one_token_shows_all_that_fires_there(mined):
    html = seen(page(mined, "prompt", text=TEXT, pos="2"))
    assert ", position 2 " in html
    assert "Position" not in html
    assert "No position 99" in seen(page(mined, "prompt", text=TEXT, pos="99"))


def test_the_heads_of_a_mined_layer_have_metrics(mined):
    (sae, *_) = Atlas.open(mined).saes()
    html = seen(page(mined, "head", id=f"{sae.id.model}/L{sae.id.layer}H0"))
    assert "previous token" in html
    html = seen(page(mined, "heads", metric="induction:corpus", other="entropy:corpus"))
    assert "induction on corpus" in html


def test_a_model_that_is_not_here_is_said(store):
    assert 'role="alert"' in seen(page(store, "prompt", text=TEXT))
    assert "No text yet" in seen(page(store, "prompt"))


def test_a_feature_asks_for_a_text_of_your_own(store):
    html = seen(page(store, "prompt", feature="toy/1-t/0"))
    assert "What makes" in html
    assert 'action="prompt?feature=toy/1-t/0&amp;snapshot=000001"' in html
