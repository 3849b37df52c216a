"""Mining one whole SAE, here and with SAEDashboard, on the same model, SAE and tokens.

    python -m tests.benchmarks.mining prepare FOLDER      # model, SAE and tokens, once
    python -m tests.benchmarks.mining ours FOLDER
    OTHER/python -P tests/benchmarks/mining.py peer FOLDER   # where `sae-dashboard` is installed

SAEDashboard needs an older TransformerLens, so it has an environment of its own. It computes, for
128 features at a time, over all tokens: activations, histograms, top and quantile sequences, logit
effects, correlations within the 128, and with --dfa the attribution of one destination per prompt
over source positions. Here one pass computes for all features: firing counts with intervals,
histograms, the DFA of every head at every firing, top, interval, random, decile and near-miss
examples; then, for the kept examples, exact DFA by head and source; logit effects, nearest
directions, counted co-firing, labels by rule, head metrics; and writes the tables. The peer does a
few of its batches, once one and once several, and its time for a whole SAE is extrapolated from
the price of a further one. Times are CPU seconds, which other work on the machine changes little.
"""

import argparse
import os
import platform
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

LAYER, LENGTH, FIRES = 8, 128, 16
"""Layer, tokens per context and features that fire per token."""
BATCH = 128
"""Features that the peer does at once."""


def main() -> None:
    """Do one of the three."""
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("what", choices=("prepare", "ours", "peer"))
    ask.add_argument("folder", type=Path)
    ask.add_argument("--contexts", type=int, default=128)
    ask.add_argument("--d-sae", type=int, default=2304)
    ask.add_argument("--batches", type=int, default=3, help="2 or more, for the peer")
    ask.add_argument("--dfa", action="store_true", help="have the peer attribute too")
    ask.add_argument("--cached", action="store_true", help="let the peer keep z on disk")
    ask.add_argument("--dtype", default="float32", help="of our counting pass: float32, bfloat16")
    ask.add_argument("--threads", type=int, default=os.cpu_count())
    setting = ask.parse_args()
    torch.set_num_threads(setting.threads)
    if setting.what == "prepare":
        prepare(setting.folder, setting.contexts, setting.d_sae)
    elif setting.what == "ours":
        ours(setting.folder, setting.dtype)
    else:
        peer(setting.folder, setting.batches, setting.dfa, setting.cached)


def prepare(folder: Path, contexts: int, d_sae: int) -> None:
    """Leave the model, a random SAE with the given L0, and token ids in a folder."""
    from safetensors.torch import save_file

    from atlas.model import load
    from atlas.model.fetch import locate
    from ingest.config import CorpusPart
    from ingest.corpus import build, read

    model = load("smollm2-135m", device="cpu", dtype="float32")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(locate("smollm2-135m"), folder / "model", dirs_exist_ok=True)
    part = CorpusPart(context_length=LENGTH, min_tokens=LENGTH)
    corpus = build(read(part), model.tokenise_many, part, 1, (LENGTH, contexts * LENGTH, LENGTH))
    tokens = torch.from_numpy(corpus.mine.tokens[:contexts]).long()
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(d_sae, model.d_in, generator=generator)
    w = torch.nn.functional.normalize(rows, dim=1)
    z = model.z(tokens[:8], [LAYER])[LAYER].flatten(2)[:, 1:].flatten(0, 1)
    threshold = (z @ w.T).quantile(1 - FIRES / d_sae, dim=0).clamp(min=1e-6)
    tensors = {"w": w.contiguous(), "threshold": threshold, "tokens": tokens}
    save_file(tensors, folder / "mining.safetensors")
    print(f"{len(tokens)} contexts of {LENGTH} tokens, {d_sae:,} features, in {folder}")


def ours(folder: Path, dtype: str) -> None:
    """Mine the whole SAE and write its tables."""
    import tempfile

    from atlas.lens.sae import Sae
    from atlas.model import load
    from atlas.progress import Reporter
    from ingest.config import EnginePart
    from ingest.engine import open_engine
    from ingest.mine.evidence import write_evidence

    found = _tensors(folder)
    d_sae, tokens = len(found["w"]), found["tokens"].int()
    model = load("smollm2-135m", device="cpu", dtype=dtype)
    zero = torch.zeros(d_sae)
    sae = Sae(found["w"], zero, found["w"], torch.zeros(model.d_in), found["threshold"])
    mining = some_mining(model, {LAYER: sae}, tokens, dtype)
    mining.exact()  # neither side is charged for loading models
    with tempfile.TemporaryDirectory() as out, open_engine(EnginePart()) as engine:
        place = Path(out)
        (place / "work").mkdir()
        stages: list[tuple[str, float]] = []

        def listen(now: Any) -> None:
            if not stages or stages[-1][0] != now.stage:
                stages.append((now.stage, time.process_time()))

        begun, busy = time.monotonic(), time.process_time()
        write_evidence(mining, place, "run", Reporter(place, "run", listen, time.monotonic), engine)
        seconds, cpu = time.monotonic() - begun, time.process_time() - busy
    print(_machine("feature-atlas", ("torch", "transformer-lens")))
    print(
        f"{d_sae:,} features on {tokens.numel():,} tokens, counted in {dtype}: {cpu:.1f} s of CPU "
        f"({seconds:.1f} s), {d_sae / cpu:.1f} features per CPU second"
    )
    ends = [at for _, at in stages[1:]] + [busy + cpu]
    print(
        ", ".join(f"{name} {end - at:.1f} s" for (name, at), end in zip(stages, ends, strict=True))
    )


def some_mining(
    model: Any, saes: dict[int, Any], tokens: torch.Tensor, dtype: str, batch: int = 16
) -> Any:
    """SAEs by layer that are to be mined on whole contexts, `[context, pos]`."""
    from functools import cache

    import numpy as np

    from ingest.config import make_job
    from ingest.corpus import Contexts, Corpus
    from ingest.mine.passes import Mining
    from ingest.mine.units import exact

    count, width = tokens.shape
    zeros = np.zeros(count, np.int32)
    contexts = Contexts(tokens.int().numpy(), np.full(count, width, np.int32), zeros, zeros)
    job = make_job(
        {
            "model": {"device": model.device, "dtype": dtype, "batch_contexts": batch},
            "corpus": {"context_length": width},
            "sae": {"layers": tuple(saes), "d_sae": next(iter(saes.values())).d_sae},
            "mine": {"tokens": tokens.numel()},
        }
    )
    return Mining(
        job,
        model,
        cache(lambda: exact(job, model)),
        saes,
        torch.full((len(saes),), torch.inf),
        Corpus(contexts, contexts, contexts, ["text"], ["builtin"], ""),
        {layer: f"{model.info.id}/{layer}-random" for layer in saes},
        "",
    )


def peer(folder: Path, batches: int, dfa: bool, cached: bool) -> None:
    """Have SAEDashboard do one batch of 128 features, then several in one run.

    What the several take beyond the one is the price of a further batch; a whole SAE is then the
    first batch and as many further ones as it has.
    """
    from sae_dashboard.sae_vis_data import SaeVisConfig
    from sae_dashboard.sae_vis_runner import SaeVisRunner

    found = _tensors(folder)
    model, sae = _peer_model(folder / "model"), _peer_sae(found)

    def run(count: int, cache: Path | None) -> tuple[float, float]:
        config = SaeVisConfig(
            hook_point=f"blocks.{LAYER}.attn.hook_z",
            features=list(range(BATCH * count)),
            minibatch_size_features=BATCH,
            minibatch_size_tokens=16,
            use_dfa=dfa,
            cache_dir=cache,
            device="cpu",
        )
        begun, busy = time.monotonic(), time.process_time()
        SaeVisRunner(config).run(encoder=sae, model=model, tokens=found["tokens"])
        return time.monotonic() - begun, time.process_time() - busy

    kept = [folder / f"cache-{os.getpid()}-{count}" if cached else None for count in (1, batches)]
    (clock, cpu), (clocks, cpus) = run(1, kept[0]), run(batches, kept[1])
    for path in filter(None, kept):
        shutil.rmtree(path)
    d_sae = len(found["w"])
    further = (cpus - cpu) / (batches - 1)
    print(_machine("SAEDashboard", ("sae-dashboard", "sae-lens", "transformer-lens", "torch")))
    print(
        f"on {found['tokens'].numel():,} tokens, {'with' if dfa else 'without'} DFA"
        f"{', z kept on disk' if cached else ''}: "
        f"{BATCH} features {cpu:.1f} s of CPU ({clock:.1f} s), {BATCH * batches} features "
        f"{cpus:.1f} s of CPU ({clocks:.1f} s); so {further:.1f} s of CPU for a further batch"
    )
    whole = cpu + further * (-(-d_sae // BATCH) - 1)
    print(f"{d_sae:,} features, extrapolated by that: {whole:.0f} s of CPU")


def _peer_model(folder: Path) -> Any:
    from sae_lens import HookedSAETransformer
    from transformer_lens import HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions import convert_llama_weights
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    raw = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)
    own = raw.config
    config = HookedTransformerConfig(
        n_layers=own.num_hidden_layers, d_model=own.hidden_size, n_ctx=2048,
        d_head=own.hidden_size // own.num_attention_heads, n_heads=own.num_attention_heads,
        d_mlp=own.intermediate_size, d_vocab=own.vocab_size, act_fn="silu",
        normalization_type="RMS", positional_embedding_type="rotary", rotary_base=100_000,
        rotary_dim=64, rotary_adjacent_pairs=False, final_rms=True, gated_mlp=True,
        n_key_value_heads=own.num_key_value_heads, eps=own.rms_norm_eps, device="cpu",
        original_architecture="LlamaForCausalLM",
    )  # fmt: skip
    # The tokenizer's class is one that older transformers do not know; its file they read.
    words = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
    )
    words.save_pretrained(folder / "words")
    words = PreTrainedTokenizerFast.from_pretrained(folder / "words")
    model = HookedSAETransformer(config, tokenizer=words)
    model.load_state_dict(convert_llama_weights(raw, config), strict=False)
    return model.eval()


def _peer_sae(found: dict[str, torch.Tensor]) -> Any:
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

    d_sae, d_in = found["w"].shape
    config = JumpReLUSAEConfig(
        d_in=d_in, d_sae=d_sae, dtype="float32", device="cpu", apply_b_dec_to_input=False,
        reshape_activations="hook_z",
    )  # fmt: skip
    config.metadata.hook_name = f"blocks.{LAYER}.attn.hook_z"
    config.hook_name = config.metadata.hook_name  # where its DFA looks for it
    sae = JumpReLUSAE(config)
    with torch.no_grad():
        sae.W_enc.copy_(found["w"].T)
        sae.W_dec.copy_(found["w"])
        sae.threshold.copy_(found["threshold"])
    return sae


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "mining.safetensors"))


def _machine(what: str, libraries: tuple[str, ...]) -> str:
    told = ", ".join(f"{name} {version(name)}" for name in libraries)
    return (
        f"{what}: {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"{torch.get_num_threads()} threads; Python {sys.version.split()[0]}, {told}"
    )


if __name__ == "__main__":
    main()
