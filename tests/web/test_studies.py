"""Pages of studies, and what studies left on the pages of heads and features."""

import json
import shutil

import pytest

from app.web.widgets.reproduce import job_toml
from atlas.api import Atlas
from atlas.store.publish import publish
from ingest.studies.names import STUDIES
from ingest.studies.study import run_study
from tests.web.conftest import component, page, seen
from tests.web.test_pages import links

SETTINGS = {
    "heads": ["tokens=300", "sequences=6", "repeat_tokens=8", "ablate_contexts=2"],
    "families": ["tokens=600"],
    "roles": [],
    "prefix": ["tokens=400", "sequences=6", "events=2", "breaks=4"],
}


@pytest.fixture(scope="module")
def studied(mined, tmp_path_factory):
    """That atlas with every study run on it; roles rest on families, so they come after."""
    store = tmp_path_factory.mktemp("studied") / "store"
    shutil.copytree(mined, store)
    for names in (("heads", "families", "prefix"), ("roles",)):
        runs = [run_study(name, STUDIES[name], store, changes=SETTINGS[name]) for name in names]
        publish(store, [run.path for run in runs])
    return store


def test_studies_are_listed(studied):
    listed = seen(page(studied, "studies"))
    for name in SETTINGS:
        assert f">{name}</a>" in listed
    assert "Kissane" not in listed


@pytest.mark.parametrize("name", ["heads", "families", "roles"])
def test_a_study_has_its_tables_with_links_and_intervals(studied, name):
    html = seen(page(studied, "studies", study=name))
    assert "rows in SQL" in html
    assert "95 % interval" in html


def test_prefix_curves_are_drawn_with_their_intervals(studied):
    test = page(studied, "studies", study="prefix")
    drawn = json.loads(component(test, "atlas_curves"))
    first = drawn["curves"][0]
    assert [point[0] for point in first["points"]] == sorted(point[0] for point in first["points"])
    assert all(low <= value <= high for _, value, low, high in first["points"])
    assert first["href"].startswith("head?id=tiny/L")
    html = seen(test)
    for words in ("the paper", "rows in SQL", "95 % interval"):
        assert words in html


def test_the_page_of_a_head_shows_what_studies_left(studied):
    test = page(studied, "head", id="tiny/L1H1")
    html = seen(test)
    for words in (
        "By distance", "Looks from", "Sampled, from strong to weak", "Composition partners",
        "What studies say", "induction attention after a prefix of one token", "among all heads",
    ):  # fmt: skip
        assert words in html, words
    assert any(one.startswith("head?id=tiny/L0H") for one in links(test))


def test_the_families_of_a_feature_stand_with_their_evidence(studied):
    with Atlas.open(studied) as atlas:
        (found,) = atlas.sql("SELECT sae, feature FROM feature_family LIMIT 1").rows
        sae = next(one for one in atlas.saes() if one.number == found[0])
        name = f"{sae.id}/{found[1]}"
        claims = atlas.families(name)
    html = seen(page(studied, "feature", id=name))
    assert "held-out firings explained" in html
    assert claims[0].family.replace("_", " ") in html


def test_the_roles_of_a_head_by_its_features_stand_with_their_evidence(studied):
    test = page(studied, "head", id="tiny/L0H1")
    html = seen(test)
    for words in ("Roles by its features", "clusters, the largest with", "by chance", "cohesion"):
        assert words in html, words
    claimed = Atlas.open(studied).machine_roles("tiny/L0H1").roles
    (first, *_) = sorted((one for one in claimed if one.by == "measured"), key=lambda one: one.k)
    assert first.evidence[0].sentence.split(":")[0] in html.replace("&#39;", "'")
    assert f"feature?id={first.features[0]}" in "".join(links(test))


def test_a_head_that_is_not_there_has_no_studies(studied):
    from atlas.errors import NotFound

    with pytest.raises(NotFound):
        Atlas.open(studied).head_studies("tiny/L9H9")


def test_a_run_s_settings_as_a_job_file_make_the_same_run(studied, tmp_path):
    from ingest.config import load_job
    from ingest.job import run_id

    runs = Atlas.open(studied).runs()
    (run,) = (one for one in runs if "study" not in one.config)
    file = tmp_path / "job.toml"
    file.write_text(job_toml(run.config))
    assert run_id(load_job(str(file), [])) == run.id
    html = seen(page(studied, "runs", id=run.id))
    assert "How to make it again" in html
    assert "All 2 layers at once" in html
    again = next(one for one in runs if "study" in one.config)
    assert f"<code>atlas study {again.kind}</code>" in seen(page(studied, "runs", id=again.id))
