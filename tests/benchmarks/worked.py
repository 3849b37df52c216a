"""One prompt taken apart: what makes the next token likely, what made that, and does it matter?

python -m tests.benchmarks.worked STORE "When Mary and John went to the store, John gave it to" \
    --other "When Anna and Paul went to the store, Paul gave it to"
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from atlas.api import Atlas
from atlas.ids import FeatureId
from atlas.prompt import Explorer
from atlas.prompt_types import Edit, Graph, Piece

NAMED = 5


def main() -> None:
    """Print the chain, its exactness, and what taking it away does."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("store", type=Path)
    ask.add_argument("prompt")
    ask.add_argument("--other", help="a prompt of as many tokens, to resample from")
    given = ask.parse_args()
    torch.set_num_threads(2)
    with Atlas.open(given.store) as atlas:
        started = time.perf_counter()
        explorer = atlas.explorer()
        explorer.features("load the SAEs")
        print(f"model and SAEs loaded in {time.perf_counter() - started:.1f} s")
        Worked(atlas, explorer, given.prompt, given.other).tell()


class Worked:
    """One prompt with the token that the model finds likeliest next."""

    def __init__(self, atlas: Atlas, explorer: Explorer, text: str, other: str | None) -> None:
        self.atlas, self.explorer, self.text, self.other = atlas, explorer, text, other
        self.logit = explorer.logit(text, top=400)
        self.last = self.logit.pos

    def tell(self) -> None:
        """Print everything."""
        logit = self.logit
        print(f"prompt: {self.text!r}")
        print(
            f"next token: {logit.text!r}, logit {logit.value:.3f}, residual {logit.residual:.1e},"
            f" share of SAE errors {logit.share_error:.2f}"
        )
        found = [p for p in logit.pieces if p.feature is not None and p.value > 0][:NAMED]
        print("features that give most to it directly:")
        for piece in found:
            print(f"  {self.said(piece)}")
        best = found[0]
        assert best.feature is not None
        self.trace(best.feature)
        for skip in (False, True):
            self.chain(best.feature, skip)
        self.take_away([p.feature for p in found if p.feature is not None])

    def trace(self, feature: FeatureId) -> None:
        """Where the feature got it from, and through which heads."""
        trace = self.explorer.trace(self.text, feature, self.last)
        tokens = trace.prompt.tokens
        sources = sorted(trace.sources, key=lambda one: -one.dfa)[:4]
        print(f"{feature} fires {trace.act:.2f}; residual {trace.residual:.1e}; from " + ", ".join(
            f"{one.pos} {tokens[one.pos]!r} {one.dfa:+.2f}" for one in sources) + "; by "
            + ", ".join(f"H{h} {v:+.2f}" for v, h in sorted(
                ((v, h) for h, v in enumerate(trace.heads)), reverse=True)[:3]))  # fmt: skip

    def chain(self, feature: FeatureId, skip: bool) -> None:
        """The feature recursively, with and without features of the first position expanded."""
        started = time.perf_counter()
        graph = self.explorer.graph(self.text, feature, self.last, 3, 6, skip_start=skip)
        took = time.perf_counter() - started
        print(f"three steps back{', the first position left alone' if skip else ''}"
              f" ({took * 1000:.0f} ms): {graph.value:.3f} = "
              + " ".join(f"{value:+.3f} {kind}" for kind, value in graph.by_kind)
              + f"; residual {graph.residual:.1e}; {graph.cancellation:.1f} times its size flows;"
              f" shown {graph.share_shown:.2f}, SAE errors {graph.share_error:.2f}")  # fmt: skip
        for line in self.path(graph):
            print(f"  {line}")

    def path(self, graph: Graph) -> list[str]:
        """The features expanded, each with what it reads most."""
        nodes = {node.id: node.piece for node in graph.nodes}
        lines = []
        for node in graph.nodes:
            if node.expanded:
                into = sorted((e for e in graph.edges if e.dst == node.id), key=lambda e: -e.flow)
                read = "; ".join(f"{self.said(nodes[e.src])} → {e.flow:+.2f}" for e in into[:3])
                lines.append(f"{self.said(node.piece)}  reads  {read}")
        return lines

    def said(self, piece: Piece) -> str:
        """A piece in words."""
        at = "" if piece.pos is None else f"@{piece.pos} {self.logit.prompt.tokens[piece.pos]!r}"
        if piece.feature is None:
            where = "" if piece.layer is None else f" of layer {piece.layer}"
            return f"{piece.kind}{where} {at} {piece.value:+.2f}"
        title = self.atlas.feature(piece.feature).row.title
        return f"{piece.feature}{at} {piece.value:+.2f} [{title}]"

    def take_away(self, named: Sequence[FeatureId]) -> None:
        """What edits of the features named do, beside as many others that fire there."""
        print(f"{'edit at the last position':44} probability of {self.logit.text!r}, KL")
        ways: list[tuple[str, dict[str, object]]] = [("zero", {}), ("mean", {})]
        ways += [("resample", {"reference": self.other})] if self.other else []
        others = self.others(named)
        for name, features in (("the strongest", named[:1]), (f"the {len(named)} named", named),
                               (f"{len(others)} others that fire there", others)):  # fmt: skip
            for how, more in ways:
                edits = [Edit(one, how, positions=(self.last,), **more) for one in features]  # type: ignore[arg-type]
                done = self.explorer.ablate(self.text, edits, top=2000)
                change = next(t for t in done.tokens if t.token == self.logit.token)
                print(f"{name + ', ' + how:44} {change.before:.4f} → {change.after:.4f},"
                      f" {done.kl:.4f}")  # fmt: skip

    def others(self, named: Sequence[FeatureId]) -> list[FeatureId]:
        """As many features of the same layers that fire at the last position."""
        firings = [
            one.feature
            for layer in self.explorer.all_firings(self.text).layers
            for one in layer.firings
            if one.pos == self.last and one.feature not in named
        ]
        layers = [one.sae.layer for one in named]
        same = [one for one in firings if one.sae.layer in layers]
        return same[: len(named)]


if __name__ == "__main__":
    main()
