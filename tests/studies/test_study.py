"""A study's run: what it is handed, what it leaves, how it goes on, what it refuses."""

import numpy as np
import pytest

from atlas.api import Atlas
from atlas.errors import ConfigError, CorpusError, NotFound
from atlas.store.publish import publish
from ingest import corpus as corpora
from ingest.config import Count, StudyPart
from ingest.studies.study import Findings, Kind, Study, run_study
from tests.ingest.jobs import some_text


class Settings(StudyPart):
    tokens: Count = 200
    value: float = 0.5


def made(study: Study, settings: Settings) -> Findings:
    """One metric row for head 0 of layer 0, from the text that was read."""
    read = study.keep("read", lambda: {"tokens": np.array(tokens_of(study))})
    row = {"model": study.info.id, "layer": 0, "head": 0, "metric": "made", "condition": "text"}
    row |= {"value": settings.value, "low": None, "high": None, "n": int(read["tokens"])}
    row |= {"run": study.work.run}
    return Findings({"head_metric": {name: [value] for name, value in row.items()}}, {"heads": 1})


def tokens_of(study: Study) -> int:
    return sum(int(batch.length.sum()) for batch in study.batches("read"))


KIND = Kind("A study made for this test.", Settings, made)


def test_a_study_leaves_rows_that_the_atlas_reads(store):
    bundle = run_study("made", KIND, store, changes=["value=0.25"])
    publish(store, [bundle.path])
    with Atlas.open(store) as atlas:
        (row,) = atlas.studies()
        page = atlas.study("made")
        by_run = atlas.study(bundle.run, limit=0)
    assert (row.study, row.model, row.tables) == ("made", "tiny", {"head_metric": 1})
    assert page.settings["value"] == 0.25
    assert page.samples == {"heads": 1}
    (table,) = page.tables
    assert dict(zip(table.columns, table.rows[0], strict=True))["value"] == 0.25
    assert (by_run.tables[0].rows, by_run.tables[0].total) == ((), 1)


def test_text_is_that_of_documents_no_sae_was_trained_on(tiny, store):
    job, _ = tiny
    seen: list[Study] = []
    kind = KIND._replace(make=lambda study, settings: seen.append(study) or made(study, settings))
    run_study("made", kind, store)
    (study,) = seen
    documents = corpora.read(job.corpus)
    wanted = (job.evaluate.tokens, job.mine.tokens, 10**9)
    bos = study.model.info.bos_token
    whole = corpora.build(documents, study.model.tokenise_many, job.corpus, bos, wanted)
    trained = {whole.doc_ids[doc] for doc in whole.train.doc}
    read = set(study.text.text.doc_ids)
    assert read
    assert not read & trained
    assert "none of them was trained on" in study.text.said


def test_another_corpus_is_read_and_said_to_be_unchecked(store, tmp_path):
    changes = [f"corpus.name={some_text(tmp_path)}", "corpus.context_length=12", "tokens=100"]
    bundle = run_study("made", KIND, store, changes=changes)
    publish(store, [bundle.path])
    with Atlas.open(store) as atlas:
        page = atlas.study("made")
    assert "shared text is not checked" in page.held_out
    assert page.settings["corpus"]["context_length"] == 12


def test_a_study_goes_on_where_it_stopped_and_is_not_made_twice(store):
    calls = []

    def stops(study: Study, settings: Settings) -> Findings:
        calls.append(settings.value)
        found = made(study, settings)
        if len(calls) == 1:
            raise RuntimeError("the power failed")
        return found

    kind = KIND._replace(make=stops)
    with pytest.raises(RuntimeError):
        run_study("made", kind, store)
    (kept,) = store.glob("bundles/made-*/work/read.npz")
    before = kept.stat().st_mtime_ns
    told = []
    first = run_study("made", kind, store, listen=told.append)
    assert "read" not in {one.stage for one in told}
    assert before
    assert not kept.exists()
    assert run_study("made", kind, store).sha256 == first.sha256
    assert len(calls) == 2


def test_publishing_again_and_a_newer_run_replace_nothing_of_others(store):
    first = run_study("made", KIND, store)
    publish(store, [first.path])
    second = run_study("made", KIND, store, changes=["value=0.75"])
    publish(store, [second.path])
    assert publish(store, [first.path]).number == publish(store, []).number
    with Atlas.open(store) as atlas:
        assert {row.run for row in atlas.studies()} == {first.run, second.run}
        (metric,) = [one for one in atlas.head("tiny/L0H0").metrics if one.metric == "made"]
    assert metric.value == 0.75


@pytest.mark.parametrize(
    ("changes", "model", "error", "message"),
    [
        (["valu=1"], None, ConfigError, "unknown setting valu"),
        (["value='x'"], None, ConfigError, "value = 'x'"),
        (["corpus.nam=1"], None, ConfigError, "unknown setting corpus.nam"),
        (["tokens=1000000000"], None, CorpusError, "held-out tokens"),
        ([], "gpt9", NotFound, "no model 'gpt9'"),
    ],
)
def test_what_cannot_work_is_said(store, changes, model, error, message):
    with pytest.raises(error, match=message):
        run_study("made", KIND, store, model, changes)
