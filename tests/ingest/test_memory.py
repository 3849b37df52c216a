"""The memory a job needs: hand-computed sizes, and a job that cannot fit is refused at once."""

import pytest

from atlas import progress
from atlas.errors import ConfigError
from ingest.config import EnginePart, make_job
from ingest.job import run_job
from ingest.memory import BASE, Shape, check_room, phases
from tests.ingest.jobs import a_job

CUDA = Shape(1_000, 2, 64, 4, 64, 500, "cuda:0")
JOB = make_job(
    {
        "corpus": {"context_length": 32},
        "sae": {"layers": (1, 2), "d_sae": 256},
        "train": {"tokens": 10_000, "batch": 128, "buffer_tokens": 1_000},
    }
)


def parts(name, device, shape=CUDA):
    (phase,) = [one for one in phases(JOB, shape) if (one.name, one.device) == (name, device)]
    return {part.what: part.size for part in phase.parts}


def test_training_holds_weights_gradients_and_moments_and_three_times_the_buffer():
    found = parts("training", "cuda:0")
    sae = 2 * 4 * (2 * 256 * 64 + 3 * 256 + 64)
    assert found["the model"] == 2_000
    assert found["SAEs with gradients and moments"] == 5 * sae
    assert found["the buffer of activations"] == 3 * 1_148 * 2 * 64 * 2  # 2 % and a batch more
    acts = 128 * (256 * 11 + 8 * 32 * 48)  # k is 32
    both = 2 * (acts + 256 * 64 * 12)
    assert found["one step"] == both + 128 * 4 * 2 * 64 * 4


def test_on_the_host_a_step_holds_one_layer_at_a_time():
    found = parts("training", "cpu", CUDA._replace(device="cpu"))
    assert found["one step"] == 128 * (256 * 14 + 4 * 2 * 64 * 4)


def test_a_phase_on_the_host_has_the_libraries_and_the_checkpoint_with_it():
    found = parts("training", "cpu", CUDA._replace(device="cpu"))
    assert found["Python and its libraries"] == BASE
    assert found["SAEs with gradients and moments"] == 7 * 2 * 4 * (2 * 256 * 64 + 3 * 256 + 64)
    assert "the model in float32" in parts("mining", "cuda:0")
    assert "merged counts and kept firings" in parts("mining", "cpu")


def test_firings_are_tallied_where_the_model_runs():
    """Kept ones twice, since as many may wait; while one layer is sorted, 8 times more of it."""
    kept = 16 * (20 + 64 * 4 + (10 + 20 + 15 + 50) + 6 + 64)
    counts = 8 * (64 + 4 + 3 * 4)
    found = parts("mining", "cuda:0")["counts and kept firings"]
    assert found == 256 * (2 * (2 * kept + counts) + 8 * kept)


def test_examples_count_by_layer_or_by_unit_whichever_is_more():
    examples = 256 * (20 + 5 * 3 + 10 + 5 + 10)
    row = 32 * 4 + 4 * 4 + 12 * 8 + 64
    assert parts("mining", "cpu")["examples"] == 3 * examples * row
    few = JOB.model_copy(update={"mine": JOB.mine.model_copy(update={"tokens": 1000})})
    found = {part.what: part.size for phase in phases(few, CUDA) for part in phase.parts}
    assert found["examples"] == 2 * 2 * examples * row


def test_a_job_that_fits_is_told_its_largest_need():
    needs = check_room(JOB, CUDA, lambda _: 10**12)
    assert needs == max(phase.size for phase in phases(JOB, CUDA))


def test_a_job_that_cannot_fit_names_the_phase_and_what_to_change():
    tight = JOB.model_copy(
        update={"train": JOB.train.model_copy(update={"buffer_tokens": 10**7, "tokens": 10**7})}
    )
    with pytest.raises(ConfigError, match="training needs 7.84 GB of cuda:0 memory") as refused:
        check_room(tight, CUDA, lambda _: 10**9)
    assert "the buffer of activations 7.83 GB" in refused.value.message
    assert refused.value.hint.startswith("lower train.buffer_tokens first")
    assert refused.value.hint.endswith(
        "or raise engine.train_groups, so that fewer layers are trained at once"
    )


def test_groups_of_layers_hold_only_their_own_layers():
    apart = JOB.model_copy(update={"engine": EnginePart(train_groups=2)})
    whole, half = (phases(job, CUDA)[0] for job in (JOB, apart))
    sizes = [{part.what: part.size for part in phase.parts} for phase in (whole, half)]
    for what in ("SAEs with gradients and moments", "the buffer of activations", "one step"):
        assert sizes[1][what] * 2 == sizes[0][what]


def test_such_a_job_is_refused_before_any_work(tmp_path):
    told = []
    with pytest.raises(ConfigError, match=r"training needs 0\.90 GB of cpu memory"):
        run_job(a_job(tmp_path), tmp_path / "store", told.append, room=lambda _: 500_000_000)
    assert {one.stage for one in told} == {"load model"}
    (failed,) = progress.read_all(tmp_path / "store")
    assert failed.state == "failed"
