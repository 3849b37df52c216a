"""Runs: what was ingested, with which settings, and what is running now."""

import json
from collections.abc import Sequence

import streamlit as st
from markupsafe import Markup

from app.web.url import AtRuns, AtSae, link
from app.web.widgets import here
from app.web.widgets.evaluation import evaluations, joint
from app.web.widgets.frame import empty
from app.web.widgets.html import a, html, join, prose, show
from app.web.widgets.reproduce import job_toml
from app.web.widgets.runs import show_in_progress, show_live, show_record
from app.web.widgets.table import Column, facts, table
from app.web.widgets.text import count, duration, when
from atlas import record
from atlas.api import Atlas
from atlas.types import Run, Sae

_COLUMNS = (
    Column("run"),
    Column("kind"),
    Column("model"),
    Column("corpus"),
    Column("trained on", True, "tokens, repeats counted"),
    Column("mined", True, "tokens"),
    Column("took", True),
    Column("device"),
    Column("completed"),
)


def render(atlas: Atlas) -> None:
    """All runs, or the one that the URL names."""
    name = here.place(AtRuns).id
    if name is None:
        _all(atlas)
    elif name in {run.id for run in atlas.runs()}:
        _published(atlas, atlas.run(name))
    else:
        _unpublished(atlas, name)


def _all(atlas: Atlas) -> None:
    snapshot = atlas.snapshot.name
    show(Markup('<h1 class="pagetop">Runs</h1><h2>Now</h2>'))
    if not show_in_progress(atlas.store, snapshot):
        words = "Start a job with `atlas ingest`; its progress shows here."
        show(empty("Nothing is running.", words))
    show(
        html(
            "<h2>In snapshot {}</h2>{}",
            snapshot,
            table(_COLUMNS, (_line(run, snapshot) for run in atlas.runs())),
        ),
        _refused(atlas),
    )


def _published(atlas: Atlas, run: Run) -> None:
    saes = [sae for sae in atlas.saes() if sae.run == run.id]
    show(_one(atlas, run, saes))
    links = {sae.id.layer: link(AtSae(sae.id), atlas.snapshot.name) for sae in saes}
    show_record(atlas.record(run.id), links, "training")
    show(_settings(run), _again(run))
    if "study" not in run.config:
        st.download_button(
            "Settings as a job file",
            job_toml(run.config),
            f"{run.id}.toml",
            "application/toml",
            on_click="ignore",
        )


def _unpublished(atlas: Atlas, name: str) -> None:
    """A run of this store that no snapshot holds: it goes on, stopped, or waits to be published."""
    record.read_now(atlas.store, name)  # raises where there is none
    snapshot = atlas.snapshot.name
    words = "It is not in this snapshot: `atlas publish` takes it in once it is done."
    show(html("{}<h1>{}</h1>", _crumbs(name, snapshot), name), prose(words))
    show_live(atlas.store, name, snapshot)


def _crumbs(name: str, snapshot: str) -> Markup:
    runs = a(AtRuns(), "runs", snapshot)
    return html('<div class="crumbs pagetop">{} / {}</div>', runs, name)


def _settings(run: Run) -> Markup:
    config = json.dumps(run.config, indent=2, ensure_ascii=False)
    folded = html(
        '<details><summary>all of them</summary><pre class="sql">{}</pre></details>', config
    )
    return html("<h2>Settings</h2>{}", folded)


def _again(run: Run) -> Markup:
    """How to make the run again."""
    words = (
        f"`atlas study {run.kind}` runs it again on the newest snapshot, with these settings by"
        " `--set name=value`."
        if "study" in run.config
        else "Give the settings as a job file to `atlas ingest`: the same"
        " settings and corpus make the same run, and on the CPU the same weights."
    )
    return html('<h2>How to make it again</h2><p class="small">{}</p>', prose(words))


def _refused(atlas: Atlas) -> Markup:
    if not atlas.refused:
        return Markup("")
    lines = join(html("<p>{}</p>", why) for why in atlas.refused)
    return html(
        '<div class="notice"><p><b>Newer snapshots cannot be served.</b></p>{}</div>', lines
    )


def _line(run: Run, snapshot: str) -> tuple[object, ...]:
    return (
        a(AtRuns(run.id), run.id, snapshot, "id"),
        run.kind,
        run.model,
        run.corpus,
        count(run.train_tokens),
        count(run.mine_tokens),
        duration(run.seconds),
        run.device,
        when(run.created_at),
    )


def _one(atlas: Atlas, run: Run, saes: Sequence[Sae]) -> Markup:
    snapshot = atlas.snapshot.name
    known = facts(
        (
            ("kind", run.kind),
            ("model", run.model),
            ("corpus", html("{} <code class='soft'>{}</code>", run.corpus, run.corpus_sha256)),
            ("tokens", f"{count(run.train_tokens)} trained on, {count(run.mine_tokens)} mined"),
            ("contexts", f"of {run.context_length} tokens, started by: {run.bos}"),
            ("positions", run.positions),
            ("completed", f"{when(run.created_at)}, after {duration(run.seconds)} on {run.device}"),
            ("software", ", ".join(f"{name} {version}" for name, version in run.versions.items())),
            ("rows", ", ".join(f"{count(rows)} {name}" for name, rows in run.counts.items())),
            ("bundle", html("<code class='soft'>{}</code>", run.bundle_sha256)),
        )
    )
    made = html("<h2>SAEs</h2>{}", evaluations(saes, snapshot)) if saes else Markup("")
    return html(
        "{}<h1>{}</h1>{}{}{}",
        _crumbs(run.id, snapshot),
        run.id,
        known,
        made,
        joint(run.joint) if run.joint else "",
    )
