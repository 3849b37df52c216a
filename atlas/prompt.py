"""Explore a prompt: which features fire, what made them, why a head looked there, what edits do.

Every number is exact for the prompt in the sense that its parts sum to it within float32 rounding
(`residual` says how far off), and every answer says what was frozen to make it so.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from atlas.errors import ModelError, QueryError
from atlas.ids import FeatureId, HeadId, SaeId, parse_feature
from atlas.lens import logits, qk, rdfa
from atlas.lens.dfa import head_dfa
from atlas.lens.logits import logit_target
from atlas.lens.pieces import ERROR, Lens
from atlas.lens.sae import Sae
from atlas.model import LanguageModel
from atlas.prompt_edits import Prepared, ablate, compare, prepare
from atlas.prompt_graph import draw, score
from atlas.prompt_run import PromptRun, Text, check_token
from atlas.prompt_shelf import Shelf
from atlas.prompt_types import (
    Ablation,
    Comparison,
    Edit,
    Features,
    Firing,
    Graph,
    LayerFeatures,
    Logit,
    Pattern,
    Prompt,
    Score,
    SourceShare,
    Step,
    Trace,
)

MOST = 100_000
"""Longest list that any answer gives."""


class Explorer:
    """A model and its SAEs, ready for prompts. Threads may share one."""

    def __init__(
        self,
        model: LanguageModel,
        saes: Sequence[SaeId],
        weights: Callable[[SaeId], Sae],
        max_tokens: int = 256,
    ) -> None:
        """Check that attribution is exact on this model; SAEs are loaded when first needed.

        Args:
            model: the model, in float32.
            saes: SAEs of the model; those of other models are passed over.
            weights: gives an SAE's weights or raises an AtlasError; they stay in memory.
            max_tokens: longest prompt.

        Raises:
            ModelError: the model is not in float32 or does not decompose, with the reason.
        """
        if model.dtype != torch.float32:
            raise ModelError(
                f"model {model.info.id} is in {str(model.dtype).removeprefix('torch.')}",
                "attribution is exact in float32 only: load it with dtype = 'float32'",
            )
        model.check_attributable()
        self.model = model
        self._shelf = Shelf(model, saes, weights, min(max_tokens, model.context_length))

    @property
    def saes(self) -> tuple[SaeId, ...]:
        """The SAEs it has."""
        return self._shelf.ids

    def features(self, text: Text, *, set: str | None = None, top: int = 10) -> Features:
        """What fires on a prompt, by layer and position.

        Args:
            text: the prompt.
            set: name of the SAE set to prefer where a layer has several.
            top: firings to list per layer and position.

        Raises:
            QueryError: the prompt is refused.
        """
        _check_top(top)
        run = self._shelf.run(text, set)
        layers = []
        for layer, (sae, _) in sorted(run.saes.items()):
            lens, z = run.lenses[layer], run.internals.z[layer].flatten(1)
            spread = (z - z.mean(0)).pow(2).sum()
            l0 = lens.pos.bincount(minlength=len(z))
            firings = tuple(
                Firing(FeatureId(sae, feature), pos, act)
                for pos, feature, act in zip(*_strongest(lens, l0, top), strict=True)
            )
            fvu = float(lens.error.pow(2).sum() / spread) if spread > 0 else None
            layers.append(LayerFeatures(sae, tuple(l0.tolist()), fvu, firings))
        return Features(run.prompt, tuple(layers), run.missing)

    def all_firings(self, text: Text, *, set: str | None = None) -> Features:
        """What fires on a prompt, every firing listed. Raises QueryError as `features`."""
        return self.features(text, set=set, top=MOST)

    def acts(self, text: Text, feature: FeatureId | str) -> tuple[float, ...]:
        """A feature's activation at every position, 0 where it does not fire.

        Raises:
            QueryError: the prompt is refused.
            NotFound: the explorer has no such feature.
        """
        run, feature, _ = self._place(text, feature, 0)
        lens, layer = run.lenses[feature.sae.layer], feature.sae.layer
        own = lens.feature == feature.index
        acts = run.internals.z[layer].new_zeros(len(run.prompt.ids))
        acts[lens.pos[own]] = lens.act[own]
        return tuple(acts.tolist())

    def pattern(self, text: Text, head: HeadId) -> Pattern:
        """Where a head looks from every position of a prompt.

        Raises:
            QueryError: the prompt is refused.
            NotFound: the model has no such head.
        """
        self._shelf.check(head)
        run = self._shelf.run(text, None)
        rows = run.internals.pattern[head.layer, head.head].tolist()
        return Pattern(
            run.prompt, head, tuple(tuple(row[: dst + 1]) for dst, row in enumerate(rows))
        )

    def trace(self, text: Text, feature: FeatureId | str, pos: int | None = None) -> Trace:
        """A feature's pre-activation by head and by source position.

        Args:
            text: the prompt.
            feature: a feature of one of the explorer's SAEs.
            pos: the destination; by default where the feature is strongest, position 0 left out.

        Raises:
            QueryError: the prompt or the position is refused.
            NotFound: the explorer has no such feature.
        """
        run, feature, pos = self._place(text, feature, pos)
        w = run.saes[feature.sae.layer][1].w_enc[feature.index][None]
        bias = run.target(feature, pos).bias
        heads = head_dfa(run.internals.z[feature.sae.layer, pos][None], w)[0]
        by_source = run.dfa(feature, pos)
        pre = float(heads.sum()) + bias
        return Trace(
            run.prompt,
            feature,
            pos,
            run.act(feature, pos),
            pre,
            bias,
            tuple(heads.tolist()),
            tuple(
                SourceShare(src, sum(given), tuple(given))
                for src, given in enumerate(by_source.T.tolist())
            ),
            pre - bias - float(by_source.sum()),
            ("attention patterns",),
        )

    def step(self, text: Text, feature: FeatureId | str, pos: int, src: int, top: int = 20) -> Step:
        """What wrote a source position, as one feature reads it from another position.

        Args:
            text: the prompt.
            feature: a feature of one of the explorer's SAEs.
            pos: the destination, where the feature is looked at.
            src: the source, at or before `pos`.
            top: pieces to list.

        Raises:
            QueryError: the prompt or a position is refused.
            NotFound: the explorer has no such feature.
        """
        _check_top(top)
        run, feature, pos = self._place(text, feature, pos)
        _check_order(run.prompt, pos, src)
        target = run.target(feature, pos)
        here = (run.pieces.pos == src).nonzero()[:, 0]
        given = run.expand([target])[0, here]
        total, const = float(run.dfa(feature, pos)[:, src].sum()), float(target.const[src])
        return Step(
            run.prompt,
            feature,
            pos,
            src,
            total,
            const,
            run.strongest(given, top, here),
            run.share(given, here, ERROR),
            total - const - float(given.sum()),
            rdfa.FROZEN,
        )

    def graph(
        self,
        text: Text,
        feature: FeatureId | str,
        pos: int | None = None,
        depth: int = 2,
        top: int = 8,
        *,
        skip_start: bool = False,
    ) -> Graph:
        """A feature explained by upstream pieces, the strongest features expanded in turn.

        Args:
            text: the prompt.
            feature: a feature of one of the explorer's SAEs.
            pos: the destination; by default where the feature is strongest, position 0 left out.
            depth: how often to expand, 0 to 4.
            top: features to expand each time and pieces to show of each, 1 to 25.
            skip_start: never expand features at the first position. Attention rests there when it
                has nothing to fetch, so they are large and say little about this prompt.

        Raises:
            QueryError: the prompt, the position or a bound is refused.
            NotFound: the explorer has no such feature.
        """
        if not (0 <= depth <= 4 and 1 <= top <= 25):
            raise QueryError(
                f"depth {depth} and top {top} are too much", "depth is 0 to 4 and top 1 to 25"
            )
        run, feature, pos = self._place(text, feature, pos)
        target = run.target(feature, pos)
        flow = rdfa.grow(target, run.pieces, run.expand, run.target_of, rounds=depth, top=top,
                         first=int(skip_start))  # fmt: skip
        return draw(run, feature, pos, target, flow, top)

    def qk(
        self,
        text: Text,
        layer: int,
        head: int,
        dst: int,
        src: int,
        *,
        set: str | None = None,
        top: int = 20,
    ) -> Score:
        """Why a head looked from one position at another: its score by pairs of pieces.

        Args:
            text: the prompt.
            layer: the head's layer.
            head: the head.
            dst: the position that looks.
            src: the position looked at, at or before `dst`.
            set: name of the SAE set to prefer where a layer has several.
            top: pairs and pieces to list.

        Raises:
            QueryError: the prompt or a position is refused.
            ModelError: there is no such head, or its scores do not decompose, with the reason.
        """
        _check_top(top)
        run = self._shelf.run(text, set)
        _check_order(run.prompt, dst, src)
        scoring = self.model.scoring(run.internals.tokens, layer, head)
        if reason := qk.objection(scoring, run.internals, layer, head):
            raise self.model.refusal(reason)
        return score(run, scoring, HeadId(self.model.info.id, layer, head), dst, src, top)

    def logit(
        self,
        text: Text,
        pos: int | None = None,
        token: int | None = None,
        *,
        set: str | None = None,
        top: int = 20,
    ) -> Logit:
        """What each piece gives directly to one token's logit.

        Args:
            text: the prompt.
            pos: the position that predicts; the last one by default.
            token: the token predicted; the most likely one by default.
            set: name of the SAE set to prefer where a layer has several.
            top: pieces to list.

        Raises:
            QueryError: the prompt, the position or the token is refused.
            ModelError: the model's logits do not decompose.
        """
        _check_top(top)
        run = self._shelf.run(text, set)
        pos = len(run.prompt.ids) - 1 if pos is None else pos
        _check_pos(run.prompt, pos)
        token = int(run.internals.unembedded[pos].argmax()) if token is None else token
        check_token(self.model, token)
        column, bias = self.model.unembed(torch.tensor([token]))
        target = logit_target(
            run.internals, self.model.final_norm, column[0], float(bias), token, pos
        )
        here = (run.pieces.pos == pos).nonzero()[:, 0]
        given = run.expand([target])[0, here]
        const = float(target.const.sum()) + target.bias
        residual = target.value - const - float(given.sum())
        if abs(residual) > 1e-3 * float(given.abs().sum()):
            raise self.model.refusal("its logits are not a linear map of the last residual stream")
        return Logit(
            run.prompt,
            pos,
            token,
            self.model.texts([token])[0],
            target.value,
            const,
            run.strongest(given, top, here),
            run.share(given, here, ERROR),
            residual,
            logits.FROZEN,
        )

    def ablate(
        self, text: Text, edits: Sequence[Edit], pos: int | None = None, top: int = 20
    ) -> Ablation:
        """What editing features and heads does to predictions, loss and later features.

        Args:
            text: the prompt.
            edits: applied together; those of one layer in the order given.
            pos: where to look at the next token; the last position by default.
            top: tokens and features to list.

        Raises:
            QueryError: the prompt, a position or an edit is refused.
            NotFound: an edit names a feature or head that is not here.
        """
        _check_top(top)
        if not edits:
            raise QueryError("there is nothing to ablate", "give at least one edit")
        sets = [edit.target.sae.set for edit in edits if isinstance(edit.target, FeatureId)]
        run = self._shelf.run(text, sets[0] if sets else None)
        pos = len(run.prompt.ids) - 1 if pos is None else pos
        _check_pos(run.prompt, pos)
        prepared = [self._prepare(run, edit) for edit in edits]
        return ablate(self.model, run, prepared, pos, top)

    def compare(
        self, text_a: Text, text_b: Text, *, set: str | None = None, top: int = 50
    ) -> Comparison:
        """Features and next tokens of two prompts side by side.

        Raises:
            QueryError: a prompt is refused.
        """
        _check_top(top)
        return compare(self.model, self._shelf.run(text_a, set), self._shelf.run(text_b, set), top)

    def _prepare(self, run: PromptRun, edit: Edit) -> Prepared:
        self._shelf.check(edit.target)
        for pos in edit.positions or ():
            _check_pos(run.prompt, pos)
        sae = self._shelf.sae(edit.target.sae) if isinstance(edit.target, FeatureId) else None
        other = None if edit.reference is None else self._shelf.run(edit.reference, None)
        return prepare(run, edit, sae, other)

    def _place(
        self, text: Text, feature: FeatureId | str, pos: int | None
    ) -> tuple[PromptRun, FeatureId, int]:
        """The run, with the feature's own SAE at its layer, and the destination."""
        feature = parse_feature(feature) if isinstance(feature, str) else feature
        self._shelf.check(feature)
        run = self._shelf.run(text, feature.sae.set)
        pos = run.peak(feature) if pos is None else pos
        _check_pos(run.prompt, pos)
        return run, feature, pos


def _strongest(lens: Lens, l0: Tensor, top: int) -> tuple[list[int], list[int], list[float]]:
    """Positions, features and activations of the `top` firings of each position."""
    order = lens.act.argsort(descending=True)
    order = order[lens.pos[order].argsort(stable=True)]
    rank = torch.arange(len(order), device=order.device) - (l0.cumsum(0) - l0)[lens.pos[order]]
    kept = order[rank < top]
    return lens.pos[kept].tolist(), lens.feature[kept].tolist(), lens.act[kept].tolist()


def _check_top(top: int) -> None:
    if not 1 <= top <= MOST:
        raise QueryError(f"top {top} cannot be listed", f"top is 1 to {MOST}")


def _check_pos(prompt: Prompt, pos: int) -> None:
    if not 0 <= pos < len(prompt.ids):
        raise QueryError(
            f"the prompt has no position {pos}", f"its positions are 0 to {len(prompt.ids) - 1}"
        )


def _check_order(prompt: Prompt, dst: int, src: int) -> None:
    _check_pos(prompt, dst)
    _check_pos(prompt, src)
    if src > dst:
        raise QueryError(
            f"position {src} comes after {dst}", "a head looks at its own position or before"
        )
