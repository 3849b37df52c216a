"""The Triton kernels against the same in plain torch: on a GPU, or in Triton's interpreter."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from atlas.errors import ConfigError
from ingest.train import stacked
from ingest.train.params import Params
from ingest.train.stacked import Hits
from tests.ingest.train import gathered
from tests.ingest.train.test_stacked import inputs, oracle, same, some_params, zeros

FILE = Path(stacked.__file__).with_name("kernels.py")
HERE = "cuda" if torch.cuda.is_available() else "cpu"
if HERE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it when it is first imported
WHY = "triton is not installed: CUDA builds of PyTorch on Linux bring it"


@pytest.fixture(scope="module")
def kernels():
    pytest.importorskip("triton", reason=WHY)
    from ingest.train import kernels

    return kernels


def test_without_triton_the_reason_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    spec = importlib.util.spec_from_file_location("kernels_without_triton", FILE)
    with pytest.raises(ConfigError, match=r"needs Triton.*set train\.step = 'dense'"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def a_case(count=160):
    params, x = Params(*(part.to(HERE) for part in some_params())), inputs().to(HERE)
    pre = stacked.pre_activations(params, x, torch.float32)
    return params, x, stacked.largest_of_batch(pre, count)


@pytest.mark.parametrize("count", [160, 3, 1200])
def test_by_token_is_the_plain_formula(kernels, count):
    params, x, chosen = a_case(count)
    starts = stacked._starts(chosen.rows, x.shape[1])
    given = x, params, params.w_dec, starts, chosen.columns
    for one, other in zip(kernels.by_token(*given), gathered.by_token(*given), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_by_feature_is_the_plain_formula_and_gives_the_same_bits_again(kernels):
    params, x, chosen = a_case()
    g = torch.Generator().manual_seed(3)
    residual, weights = (
        torch.randn(x.shape, generator=g).to(HERE),
        torch.randn(2, 3, 160, generator=g).to(HERE),
    )
    fires = chosen.values > 0.5
    keys, order = chosen.columns.masked_fill(~fires, 30).sort(dim=1, stable=True)
    weights = weights * fires
    hits = Hits(order, stacked._starts(keys, 30), chosen.rows, *weights)
    ours, again, theirs = (zeros(params) for _ in range(3))
    for where, by in ((ours, kernels), (again, kernels), (theirs, gathered)):
        by.by_feature(where, x, residual, hits)
    for name in ("w_enc", "b_enc", "w_dec"):
        assert torch.allclose(getattr(ours, name), getattr(theirs, name), atol=1e-4), name
        assert torch.equal(getattr(ours, name), getattr(again, name)), name


def test_the_whole_step_is_the_oracles(kernels):
    params, x, chosen = a_case()
    gradients = zeros(params)
    done = stacked.sparse(params, gradients, x, chosen, torch.float32, kernels)
    theirs, expected = oracle(params, x, 160)
    same(gradients, theirs, done, expected)


def test_rows_gathered_in_bfloat16_differ_by_its_rounding_alone(kernels):
    params, x, chosen = a_case()
    gradients = [zeros(params), zeros(params)]
    for by, into in ((kernels, gradients[0]), (gathered, gradients[1])):
        stacked.sparse(params, into, x, chosen, torch.bfloat16, by)
    exact, _ = oracle(params, x, 160)
    for name in ("w_enc", "b_enc", "w_dec", "b_dec"):
        one, other, truth = (getattr(it, name) for it in (*gradients, exact))
        assert torch.allclose(one, other, atol=1e-6), name
        assert (one - truth).norm() < 0.02 * truth.norm(), name


def test_projecting_is_the_plain_formula(kernels):
    ours, theirs = ([a_case()[0] for _ in range(2)] for _ in range(2))
    params, gradients = ours
    gradients.w_enc.mul_(3)
    theirs[1].w_enc.mul_(3)
    assert torch.allclose(kernels.project(params, gradients), gathered.project(*theirs), rtol=1e-5)
    assert torch.allclose(gradients.w_dec, theirs[1].w_dec, atol=1e-6)
    assert torch.equal(gradients.w_enc, theirs[1].w_enc)


@pytest.mark.parametrize("renormalise", [True, False])
def test_a_step_of_adam_is_the_plain_formula(kernels, renormalise):
    gradient = a_case()[0].w_enc
    factor = torch.tensor([0.5, 1.0, 0.1], device=HERE)
    found = []
    for by in (kernels, gathered):
        weights = a_case()[0].w_dec
        moments = [gradient / 3, gradient.square() / 5]
        rest = (factor, 0.01, (0.9, 0.99), [0.5, 0.3], renormalise)
        by.adam(weights, gradient, moments, *rest)
        found.append([weights, *moments])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


COMPILE = """
import subprocess, tempfile
from pathlib import Path
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from ingest.train import kernels

OBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
ROWS = {"WIDTH": 1024, "HITS": kernels.HITS}
for name, types, constants, warps in (
    ("_tokens", "*fp32 *fp32 *fp32 *bf16 *fp32 *i64 *i64" + 4 * " *fp32" + 4 * " i32", ROWS, 8),
    ("_features", "*bf16 *bf16 *i64 *i64 *i64" + 5 * " *fp32" + 4 * " i32", ROWS, 8),
    ("_projected", 4 * "*fp32 " + "i32 i32", {"WIDTH": 1024}, 4),
    ("_adam", 5 * "*fp32 " + 5 * "fp32 " + "i32 i32", {"RENORMALISE": True, "WIDTH": 1024}, 4),
):
    function, kinds = getattr(kernels, name), types.split()
    signature = dict(zip(function.arg_names, kinds + len(constants) * ["constexpr"], strict=True))
    aligned = {(n,): [["tt.divisibility", 16]] for n, kind in enumerate(kinds) if kind != "fp32"}
    source = ASTSource(function, signature, constants, aligned)
    built = compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(built.asm["cubin"])
        command = [OBJDUMP, "--dump-resource-usage", file.name]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    print(name, *[word for word in told.split() if word.startswith(("STACK:", "LOCAL:"))])
"""


def test_they_compile_for_the_architecture_of_an_h100_and_spill_no_register():
    """Needs no GPU; in a process of its own, without the interpreter."""
    pytest.importorskip("triton", reason=WHY)
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    names = ("_tokens", "_features", "_projected", "_adam")
    assert done.stdout.splitlines() == [f"{name} STACK:0 LOCAL:0" for name in names]
