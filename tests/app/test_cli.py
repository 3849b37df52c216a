"""The command line: what it prints, and one clear line with exit code 2 for bad input."""

import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from app.cli import main
from atlas.store.publish import publish
from ingest.job import run_job
from tests.builders import a_bundle
from tests.ingest.jobs import a_job

ROOT = Path(__file__).parents[2]


@pytest.fixture
def atlas(tmp_path, monkeypatch, capsys):
    """Run the command line on a small published store; gives (exit code, stdout, stderr)."""
    publish(tmp_path / "store", [a_bundle(tmp_path / "bundle").path])
    return a_runner(tmp_path / "store", monkeypatch, capsys)


def a_runner(store, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["atlas", *arguments])
        monkeypatch.setenv("ATLAS_STORE", str(store))
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        told = capsys.readouterr()
        return exit_.value.code or 0, told.out, told.err

    return run


def test_search_prints_ids_titles_and_the_snapshot(atlas):
    code, out, _ = atlas("search", "board")
    assert code == 0
    assert "toy/0-t/0" in out
    assert "predicts “ board” by induction" in out
    assert "snapshot 000001" in out


def test_search_gives_the_same_as_json(atlas):
    code, out, _ = atlas("search", "board", "--json", "--layer", "1")
    found = json.loads(out)
    assert [hit["row"]["id"] for hit in found["hits"]][:1] == ["toy/1-t/0"]
    assert {hit["row"]["id"].split("/")[1] for hit in found["hits"]} == {"1-t"}


def test_a_page_continues_where_the_last_one_ended(atlas):
    first = json.loads(atlas("search", "--json", "--limit", "4")[1])
    second = json.loads(atlas("search", "--json", "--limit", "40", "--after", first["after"])[1])
    ids = [hit["row"]["id"] for hit in first["hits"] + second["hits"]]
    assert len(ids) == len(set(ids)) == first["total"] == 10


def test_show_prints_a_feature_with_examples_heads_and_exactness(atlas):
    code, out, _ = atlas("show", "toy/0-t/0")
    assert code == 0
    for text in ("predicts “ board” by induction", "H1 95% measured", "exactness", "members"):
        assert text in out


def test_show_prints_the_examples_of_any_kind(atlas):
    lines = {
        kind: len(atlas("show", "toy/0-t/0", "--kind", kind)[1].splitlines())
        for kind in ("near_miss", "top", "all")
    }
    assert lines["near_miss"] < lines["top"] < lines["all"]
    code, _, err = atlas("show", "toy/0-t/0", "--kind", "odd")
    assert code == 2
    assert "known: top, interval, random, decile, near_miss, all" in err


def test_publishing_nothing_only_brings_the_store_up_to_date(atlas):
    assert atlas("publish")[:2] == (0, "snapshot 000001\n")
    code, _, err = atlas("publish", "--store", "nowhere")
    assert code == 2
    assert "nothing to publish in nowhere" in err
    assert not Path("nowhere").exists()


def test_wrong_usage_is_said_without_a_traceback(atlas):
    code, _, err = atlas("search", "--nonsense")
    assert code == 2
    assert "--nonsense" in err
    assert "Traceback" not in err


def test_show_takes_short_forms_and_heads(atlas):
    assert "toy/L1H1" in atlas("show", "1.1")[1]
    assert "toy/1-t/3" in atlas("show", "1-t/3")[1]
    assert "CE recovered against zero ablation: 90.0%" in atlas("show", "toy/0-t")[1]
    assert "n_layers" in atlas("show", "toy")[1]


def test_sql_runs_a_select_and_a_saved_query(atlas):
    code, out, _ = atlas("sql", "SELECT count(*) AS n FROM feature", "--format", "json")
    assert code == 0
    assert "12" in out
    name = atlas("cookbook")[1].split()[0]
    assert atlas("sql", name)[0] == 0


def test_sql_takes_parameters(atlas):
    query = "SELECT id FROM sae WHERE layer = $layer"
    code, out, _ = atlas("sql", query, "--param", "layer=1", "--format", "csv")
    assert (code, out.split()) == (0, ["id", "toy/1-t"])


def test_notes_go_out_and_come_back(atlas, tmp_path):
    from atlas.api import Atlas
    from atlas.note_types import Tag

    with Atlas.open(tmp_path / "store") as opened:
        opened.notes.add(Tag("toy/0-t/1", "odd"), "ada")
    exported = atlas("notes", "export")[1]
    assert '"odd"' in exported
    (tmp_path / "notes.txt").write_text(exported)
    (tmp_path / "other").mkdir()
    assert atlas("notes", "import", str(tmp_path / "notes.txt"), "--store", "other")[0] == 2
    other = str(tmp_path / "other")
    assert atlas("notes", "import", str(tmp_path / "notes.txt"), "--store", other)[0] == 0
    assert atlas("notes", "export", "--store", other)[1] == exported
    assert atlas("notes", "upgrade")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "toy/0-t/99"], "0 to 5"),
        (["show", "toy/7-t/1"], "7-t"),
        (["show", "no such thing"], "nothing is called no such thing"),
        (["search", "--sort", "beauty"], "beauty"),
        (["search", "--after", "zzz"], "zzz"),
        (["search", "--layer", "9"], "9"),
        (["sql", "DROP TABLE feature"], "SELECT"),
        (["sql", "SELECT 1", "--format", "xml"], "'xml' is not known"),
        (["sql", "SELECT 1", "--param", "layer"], "has no '='"),
        (["publish", "nowhere"], "no bundle at nowhere"),
        (["ingest", "nowhere.toml"], r"no job file nowhere.toml"),
        (["ingest", "demo", "--set", "sae.kk=1"], "unknown setting sae.kk"),
        (["ingest", "demo", "--set", "sae.k=99999"], "k = 99999 is larger than d_sae = 2304"),
    ],
)
def test_bad_input_is_one_clear_message_and_exit_code_2(atlas, arguments, message):
    code, out, err = atlas(*arguments)
    if arguments[:2] == ["search", "--layer"] and code == 0:
        assert "nothing found" in out
        return
    assert code == 2
    assert message in err
    assert "Traceback" not in err + out


def test_a_store_without_snapshots_says_what_to_run(tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    for store in ("empty", "missing"):
        code, _, err = a_runner(tmp_path / store, monkeypatch, capsys)("search", "x")
        assert code == 2
        assert "atlas demo" in err


def test_ingest_trains_publishes_and_lists_the_run(tmp_path, monkeypatch, capsys):
    job = a_job(tmp_path)
    path = tmp_path / "job.toml"
    path.write_text(_toml(job.model_dump(mode="json", exclude_none=True)))
    atlas = a_runner(tmp_path / "a store é", monkeypatch, capsys)
    code, out, err = atlas("ingest", str(path), "--set", "mine.top=2")
    assert (code, err) == (0, "")
    assert "published as snapshot 000001" in out
    assert "tokens/s" in out
    assert "layers 0, 2 replaced at once: CE clean" in out
    assert "layers 0, 2 replaced at once: CE clean" in atlas("show", "0-att")[1]
    assert "done" in atlas("runs")[1]
    assert atlas("search", "--limit", "3")[0] == 0


def test_json_logs_are_one_object_a_line(tmp_path, monkeypatch, capsys):
    path = tmp_path / "job.toml"
    path.write_text(_toml(a_job(tmp_path).model_dump(mode="json", exclude_none=True)))
    arguments = ("ingest", str(path), "--log", "json", "--no-publish", "--engine", "local")
    code, out, err = a_runner(tmp_path / "store", monkeypatch, capsys)(*arguments)
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [line["stage"] for line in lines if line["state"] == "done"] == ["seal"]
    assert {"load model", "train", "mine", "attribute"} <= {line["stage"] for line in lines}
    assert "bundle" in err


def test_ctrl_c_stops_an_ingest_cleanly_and_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    path, store = tmp_path / "job.toml", tmp_path / "store"
    endless = a_job(tmp_path, train={"tokens": 10_000_000})
    path.write_text(_toml(endless.model_dump(mode="json", exclude_none=True)))
    command = [sys.executable, "-m", "app.cli", "ingest", str(path), "--store", str(store)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # Where tests run in the background SIGINT is ignored, which children inherit.
    options["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen([*command, "--log", "json"], cwd=ROOT, **options) as process:
        lines = (json.loads(line) for line in process.stdout)
        next(line for line in lines if line["stage"] == "train" and line["done"])
        process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert err.splitlines()[1:] == ["", "stopped; give the same command again to go on"]
    (run,) = json.loads(a_runner(store, monkeypatch, capsys)("runs", "--json")[1])
    assert (run["state"], run["stage"], run["message"]) == ("stopped", "train", "stopped by hand")
    assert 0 < run["done"] < run["total"]


def test_a_job_run_from_python_is_seen_by_runs(tmp_path, monkeypatch, capsys):
    run_job(a_job(tmp_path), tmp_path / "store")
    out = a_runner(tmp_path / "store", monkeypatch, capsys)("runs", "--json")[1]
    assert [run["state"] for run in json.loads(out)] == ["done"]


def _toml(content, prefix=""):
    """Just enough TOML for a job's settings."""
    plain = {k: v for k, v in content.items() if not isinstance(v, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in content.items():
        if isinstance(value, dict):
            lines += [f"[{prefix}{key}]", _toml(value, f"{prefix}{key}.")]
    return "\n".join(lines)


def test_studies_are_listed_and_an_unknown_one_is_refused_by_name(atlas):
    assert atlas("study")[0] == 0
    code, _, err = atlas("study", "nonsense")
    assert code == 2
    assert "no study 'nonsense'" in err


def test_a_store_is_checked_byte_by_byte(atlas, tmp_path):
    code, out, _ = atlas("check")
    assert (code, out.splitlines()[0]) == (0, "snapshot 000001: sound")
    assert "weights" in out
    (weights,) = (tmp_path / "store" / "weights").iterdir()
    weights.write_bytes(b"others")
    code, out, _ = atlas("check")
    assert code == 1
    assert "other bytes than its name says" in out


def test_an_sae_goes_to_neuronpedias_layout_and_comes_back(atlas, tmp_path, monkeypatch, capsys):
    code, out, _ = atlas("export", "toy/1-t", str(tmp_path / "out"), "--format", "neuronpedia")
    assert (code, out.strip()) == (0, str(tmp_path / "out" / "toy" / "1-t"))
    other = a_runner(tmp_path / "other", monkeypatch, capsys)
    code, out, _ = other("import-neuronpedia", out.strip())
    assert (code, out.strip()) == (0, "published as snapshot 000001")
    assert "toy/1-t/0" in other("search", "board")[1]


def test_a_server_for_others_asks_who_writes(atlas, tmp_path):
    code, _, err = atlas("serve", "--host", "0.0.0.0")
    assert code == 2
    assert "everybody could write notes under any name" in err
    code, _, err = atlas("serve", "--tokens", str(tmp_path / "none"))
    assert code == 2
    assert "the token file" in err


def test_a_hypothesis_is_tested_from_a_file_saved_and_tested_again(atlas, tmp_path):
    path = tmp_path / "induced.txt"
    path.write_text("# fires on the token that stood before its source\nsrc.before == dst.token\n")
    code, out, _ = atlas("test", str(path), "--feature", "toy/1-t/0", "--save", "induced",
                         "--author", "Ann")  # fmt: skip
    assert code == 0
    assert "33 (6.1–79)" in out
    again = json.loads(atlas("test", "--json")[1])
    assert [one["target"] for one in again] == ["toy/1-t/0"]
    assert again[0]["pooled"]["recall"]["held"] == 1
    named = json.loads(atlas("test", "induced", "--head", "1.1", "--json")[1])
    assert named[0]["target"] == "toy/L1H1"
    assert named[0]["pooled"]["features"] == 2


def test_a_wrong_hypothesis_and_a_missing_target_are_one_clear_line(atlas):
    code, _, err = atlas("test", "distnce < 5", "--sae", "toy/1-t")
    assert code == 2
    assert "line 1, column 1: unknown name 'distnce'" in err
    assert "0 targets are named" in atlas("test", "earlier")[2]


def test_pairs_are_found_by_their_tokens(atlas):
    code, out, _ = atlas("pairs", "--dst", " mat", "--layer", "1", "--distance-min", "2")
    assert code == 0
    assert "toy/1-t/0" in out
    assert "1 of 3" in out
    code, _, err = atlas("pairs")
    assert (code, "no pair asked for" in err) == (2, True)
