"""Settings: declared once, refused by name when wrong."""

import pytest

from atlas.errors import ConfigError
from ingest.config import load_job, make_job, presets


def test_every_preset_is_valid():
    assert {"demo", "gpt2"} <= set(presets())
    for name in presets():
        assert load_job(name).sae.layers


def test_changes_win_over_the_file(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text('name = "a"\n[sae]\nlayers = [1]\nk = 4\n')
    job = load_job(str(path), ["sae.k=8", "corpus.name=my text.txt", "sae.layers=[2, 3]"])
    assert (job.sae.k, job.corpus.name, job.sae.layers) == (8, "my text.txt", (2, 3))


def test_a_forward_pass_is_larger_on_a_gpu_unless_its_size_is_set():
    job = make_job({"sae": {"layers": (1,)}, "corpus": {"context_length": 512}})
    assert (job.batch_contexts, job.on("cpu").batch_contexts) == (4, 4)
    assert job.on("cuda:1").batch_contexts == 16
    assert make_job({"sae": {"layers": (1,)}}).on("cuda").batch_contexts == 64
    fixed = make_job({"sae": {"layers": (1,)}, "model": {"batch_contexts": 3}})
    assert fixed.on("cuda").batch_contexts == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sae.kk=3", r"unknown setting sae\.kk.*known there: .*\bk\b"),
        ("colour=3", r"unknown setting colour.*known there: name, model"),
        ("sae.k=true", r"sae\.k = True: .*integer"),
        ("sae.k=0", r"sae\.k = 0: .*greater than 0"),
        ("sae.k=99999", r"k = 99999 is larger than d_sae"),
        ("sae.d_sae=1048577", r"sae\.d_sae = 1048577: .*less than or equal to 1048576"),
        ("sae.layers=[1, 1]", r"layers \[1, 1\] name a layer twice"),
        ("sae.layers=[]", r"sae\.layers names no layer"),
        ("sae.set=a/b", r"set 'a/b' is no name"),
        ("train.batch=999999999", r"train\.tokens = 480000 is less than train\.batch"),
        ("positions.skip_first=127", r"leaves nothing of contexts"),
        ("name.x=1", r"unknown setting name\.x: name is a value"),
        ("nonsense", r"has no '='"),
    ],
)
def test_a_wrong_setting_is_named(change, message):
    with pytest.raises(ConfigError, match=message):
        load_job("demo", [change])


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no job file nowhere\.toml.*demo"):
        load_job("nowhere.toml")
    (tmp_path / "bad.toml").write_text("[sae\n")
    with pytest.raises(ConfigError, match=r"bad\.toml cannot be read"):
        load_job(str(tmp_path / "bad.toml"))


def test_a_job_survives_the_way_through_json():
    job = load_job("demo")
    assert make_job(job.model_dump(mode="json")) == job
