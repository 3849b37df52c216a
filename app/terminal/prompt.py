"""How an explored prompt looks in a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from app.terminal.names import look_up
from app.terminal.table import ACTIVATION, SOURCE
from atlas.api import Atlas
from atlas.errors import NotFound
from atlas.ids import FeatureId
from atlas.prompt_types import Ablation, Features, Graph, Node, Piece, Prompt, PromptSearch, Trace
from atlas.types import Feature


class Titles:
    """Titles of features, looked up when first asked for."""

    def __init__(self, atlas: Atlas) -> None:
        self._atlas, self._known = atlas, dict[FeatureId, str]()

    def __call__(self, feature: FeatureId) -> str:
        """The feature's title, or that it has none."""
        if feature not in self._known:
            self._known[feature] = self._atlas.feature(feature).row.title or "no label"
        return self._known[feature]


def feature_id(atlas: Atlas, text: str) -> FeatureId:
    """The feature that an id or a short form names. Raises NotFound for anything else."""
    found = look_up(atlas, text)
    if not isinstance(found, Feature):
        raise NotFound(f"{text} is no feature", "a feature id looks like gpt2/5-att-kk/123")
    return found.id


def show_features(console: Console, found: Features, titles: Titles) -> None:
    """Token by token, the strongest features of every layer."""
    for layer in found.layers:
        fvu = "" if layer.fvu is None else f", FVU {layer.fvu:.3f} on this prompt"
        console.print(f"[bold]{layer.sae}[/bold]  {sum(layer.l0)} firings{fvu}")
        for pos, token in enumerate(found.prompt.tokens):
            here = [one for one in layer.firings if one.pos == pos]
            if found.prompt.bos and pos == 0:
                continue
            told = " · ".join(
                f"{one.act:.2f} {one.feature.index} {titles(one.feature)}" for one in here
            )
            console.print(f"{pos:>4} {_shown(token):<14} {told or '–'}", markup=False)
    for reason in found.missing:
        console.print(f"left out: {reason}", markup=False)


def show_ranked(console: Console, found: PromptSearch) -> None:
    """The features that fire most on a text."""
    for hit in found.hits:
        share = "new" if hit.relative is None else f"{hit.relative:.0%}"
        token = _shown(found.prompt.tokens[hit.pos])
        title = hit.row.title or "no label"
        console.print(f"{share:>5} {hit.act:7.2f}  {hit.row.id} at {hit.pos} {token}  {title}",
                      markup=False)  # fmt: skip
    console.print(f"{len(found.hits)} of {found.fired:,} that fire; % of the largest activation"
                  " that was mined", markup=False)  # fmt: skip
    for reason in found.missing:
        console.print(f"left out: {reason}", markup=False)


def show_trace(console: Console, trace: Trace, titles: Titles, top: int) -> None:
    """A feature's pre-activation by head and by source."""
    console.print(f"[bold]{trace.feature}[/bold]  {escape(titles(trace.feature))}")
    console.print(_marked(trace.prompt, trace.pos, _strongest_source(trace)))
    console.print(
        f"at {trace.pos} {_shown(trace.prompt.tokens[trace.pos])!r}: activation {trace.act:.4f}, "
        f"pre-activation {trace.pre:.4f} = bias {trace.bias:+.4f} + DFA",
        markup=False,
    )
    layer = trace.feature.sae.layer
    heads = sorted(enumerate(trace.heads), key=lambda one: -abs(one[1]))
    told = " · ".join(f"L{layer}H{head} {value:+.4f}" for head, value in heads[: max(top, 4)])
    console.print(f"   heads  {told}", markup=False)
    for source in sorted(trace.sources, key=lambda one: -abs(one.dfa))[: max(top, 4)]:
        head = max(range(len(source.heads)), key=lambda k: abs(source.heads[k]))
        token = _shown(trace.prompt.tokens[source.pos])
        part = f"most of it by L{layer}H{head} ({source.heads[head]:+.4f})"
        console.print(
            f"  source  {source.pos:>4} {token:<14} {source.dfa:+.4f}  {part}", markup=False
        )
    console.print(f"exact within {abs(trace.residual):.1e}; frozen: {', '.join(trace.frozen)}")


def show_graph(console: Console, graph: Graph, titles: Titles) -> None:
    """The tree of what made a feature fire, down to embeddings and MLPs."""
    nodes = {node.id: node for node in graph.nodes}
    into: dict[str, list[tuple[Node, float]]] = {}
    for edge in sorted(graph.edges, key=lambda one: -abs(one.flow)):
        into.setdefault(edge.dst, []).append((nodes[edge.src], edge.value))
    root = graph.nodes[0]
    tree = Tree(f"[bold]{graph.feature}[/bold] at {graph.pos}: {graph.value:.4f}")
    _grow(tree, root, into, graph.prompt, titles, {root.id})
    console.print(tree)
    kinds = " · ".join(f"{kind} {value:+.3f}" for kind, value in graph.by_kind)
    console.print(f"by kind: {kinds}", markup=False)
    console.print(
        f"shown {graph.share_shown:.0%} of the absolute flow, SAE errors {graph.share_error:.0%}; "
        f"parts cancel: their sizes add up to {graph.cancellation:.1f} times the value"
    )
    console.print(f"exact within {abs(graph.residual):.1e}; frozen: {', '.join(graph.frozen)}")


def _grow(
    tree: Tree,
    node: Node,
    into: dict[str, list[tuple[Node, float]]],
    prompt: Prompt,
    titles: Titles,
    path: set[str],
) -> None:
    for source, value in into.get(node.id, []):
        branch = tree.add(escape(f"{value:+.4f}  {_piece(source.piece, prompt, titles)}"))
        if source.id not in path:
            _grow(branch, source, into, prompt, titles, path | {source.id})


def _piece(piece: Piece, prompt: Prompt, titles: Titles) -> str:
    where = "" if piece.pos is None else f" at {piece.pos} {_shown(prompt.tokens[piece.pos])!r}"
    if piece.feature is not None:
        return f"{piece.feature}{where}: {titles(piece.feature)}"
    layer = "" if piece.layer is None else f" of layer {piece.layer}"
    names = {"error": "SAE error", "mlp": "MLP", "attention": "attention", "bias": "biases"}
    return f"{names.get(piece.kind, piece.kind)}{layer}{where}"


def show_ablation(console: Console, done: Ablation, titles: Titles) -> None:
    """Next tokens, loss and later features before and after."""
    what = ", ".join(f"{edit.how} {edit.target}" for edit in done.edits)
    console.print(f"[bold]{escape(what)}[/bold] (SAE errors kept)")
    after = _shown(done.prompt.tokens[done.pos])
    console.print(f"next token after {done.pos} {after!r}: KL {done.kl:.4f} nats", markup=False)
    for token in done.tokens[:10]:
        change = f"{token.before:7.3%} → {token.after:7.3%}"
        console.print(f"  {_shown(token.text):<14} {change}", markup=False)
    before, later = (
        sum(losses) / max(len(losses), 1) for losses in (done.loss_before, done.loss_after)
    )
    console.print(f"loss per token {before:.4f} → {later:.4f} nats")
    for one in done.downstream[:10]:
        told = f"{one.before:8.3f} → {one.after:8.3f}  {one.feature} at {one.pos}"
        console.print(f"{told}: {titles(one.feature)}", markup=False)


def _strongest_source(trace: Trace) -> int:
    return max(trace.sources, key=lambda one: one.dfa).pos


def _marked(prompt: Prompt, pos: int, source: int) -> str:
    styles = {source: SOURCE, pos: ACTIVATION}
    words = (escape(_shown(token)) for token in prompt.tokens)
    return "".join(
        f"[{styles[at]}]{word}[/]" if at in styles else word for at, word in enumerate(words)
    )


def _shown(token: str) -> str:
    return token.replace("\n", "↵").replace("\t", "⇥").replace("\r", "")
