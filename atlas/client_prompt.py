"""Prompts run by a served atlas: the same methods and answers as an explorer's, over HTTP."""

from collections.abc import Sequence
from typing import Any, TypeVar

from atlas.client_server import Parameters, Server
from atlas.ids import FeatureId, parse_feature
from atlas.prompt_types import (
    Ablation,
    Comparison,
    Edit,
    Features,
    Graph,
    Logit,
    PromptSearch,
    RankBy,
    Score,
    Step,
    Trace,
)

T = TypeVar("T")
Text = str | Sequence[int]


class PromptClient:
    """Explores prompts on a server. Every method raises the errors of the explorer's own.

    Besides, Busy where too many prompts wait or one takes too long, and AtlasError where the
    server runs none.
    """

    def __init__(self, server: Server, held: Parameters, model: str | None) -> None:
        self._server, self._held, self._model = server, tuple(held), model

    def features(self, text: Text, *, set: str | None = None, top: int = 10) -> Features:
        """What fires on a prompt, by layer and position."""
        return self._of(Features, "", prompt=text, model=self._model, set=set, top=top)

    def search(self, text: Text, limit: int = 25, by: RankBy = "relative") -> PromptSearch:
        """The features that fire most on a text, each where it is strongest."""
        body = {"prompt": text, "model": self._model, "limit": limit, "by": by}
        return self._of(PromptSearch, "/search", **body)

    def trace(self, text: Text, feature: FeatureId | str, pos: int | None = None) -> Trace:
        """A feature's pre-activation by head and by source position."""
        return self._of(Trace, "/trace", prompt=text, feature=_full(feature), pos=pos)

    def step(self, text: Text, feature: FeatureId | str, pos: int, src: int, top: int = 20) -> Step:
        """What wrote a source position, as one feature reads it from another position."""
        body = {"prompt": text, "feature": _full(feature), "pos": pos, "src": src, "top": top}
        return self._of(Step, "/step", **body)

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
        """A feature explained by upstream pieces, the strongest features expanded in turn."""
        body = {"prompt": text, "feature": _full(feature), "pos": pos, "depth": depth, "top": top}
        return self._of(Graph, "/graph", **body, skip_start=skip_start)

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
        """Why a head looked from one position at another: its score by pairs of pieces."""
        body = {"layer": layer, "head": head, "dst": dst, "src": src, "set": set, "top": top}
        return self._of(Score, "/qk", prompt=text, model=self._model, **body)

    def logit(
        self,
        text: Text,
        pos: int | None = None,
        token: int | None = None,
        *,
        set: str | None = None,
        top: int = 20,
    ) -> Logit:
        """What each piece gives directly to one token's logit."""
        body = {"pos": pos, "token": token, "set": set, "top": top}
        return self._of(Logit, "/logit", prompt=text, model=self._model, **body)

    def ablate(
        self, text: Text, edits: Sequence[Edit], pos: int | None = None, top: int = 20
    ) -> Ablation:
        """What editing features and heads does to predictions, loss and later features."""
        return self._of(Ablation, "/ablate", prompt=text, edits=tuple(edits), pos=pos, top=top)

    def compare(
        self, text_a: Text, text_b: Text, *, set: str | None = None, top: int = 50
    ) -> Comparison:
        """Features and next tokens of two prompts side by side."""
        body = {"a": text_a, "b": text_b, "model": self._model, "set": set, "top": top}
        return self._of(Comparison, "/compare", **body)

    def _of(self, kind: type[T], path: str, /, **body: Any) -> T:
        return self._server.send(kind, "POST", f"/prompt{path}", self._held, **body)


def _full(feature: FeatureId | str) -> FeatureId:
    return parse_feature(feature) if isinstance(feature, str) else feature
