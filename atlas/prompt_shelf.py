"""What an explorer keeps in memory: the SAEs it has used and the last prompts it has run."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from atlas.errors import AtlasError, ModelError, NotFound
from atlas.ids import FeatureId, HeadId, SaeId
from atlas.lens.sae import Sae
from atlas.model import LanguageModel
from atlas.prompt_run import PromptRun, Text, read_prompt, see
from atlas.prompt_types import Prompt

KEPT = 3
"""Prompts that stay in memory."""


class Shelf:
    """A model, its SAEs and its last prompts. Threads may share one."""

    def __init__(
        self,
        model: LanguageModel,
        ids: Sequence[SaeId],
        weights: Callable[[SaeId], Sae],
        max_tokens: int,
    ) -> None:
        self.model = model
        self.ids = tuple(id for id in ids if id.model == model.info.id)
        self.max_tokens = max_tokens
        self._weights = weights
        self._layers = [model.layer(n) for n in range(model.info.n_layers)]
        self._saes: dict[SaeId, Sae] = {}
        self._runs: OrderedDict[tuple[tuple[int, ...], str | None], PromptRun] = OrderedDict()
        self._lock = threading.RLock()

    def check(self, id: FeatureId | HeadId) -> None:
        """Raise NotFound for a feature or head that is not here."""
        info, layer = self.model.info, id.sae.layer if isinstance(id, FeatureId) else id.layer
        model = id.sae.model if isinstance(id, FeatureId) else id.model
        if model != info.id:
            raise NotFound(f"{id} belongs to another model", f"this is {info.id}")
        if isinstance(id, FeatureId):
            d_sae = self.sae(id.sae).d_sae
            if not 0 <= id.index < d_sae:
                raise NotFound(f"no feature {id}", f"{id.sae} has features 0 to {d_sae - 1}")
        elif not (0 <= layer < info.n_layers and 0 <= id.head < info.n_heads):
            last = HeadId(info.id, info.n_layers - 1, info.n_heads - 1)
            raise NotFound(f"no head {id}", f"the last one is {last}")

    def sae(self, id: SaeId) -> Sae:
        """An SAE's weights.

        Raises:
            NotFound: it is not one of the shelf's.
            AtlasError: its weights cannot be had on this machine, or are for another model.
        """
        if id not in self.ids:
            raise NotFound(f"no SAE {id}", f"there are {', '.join(map(str, self.ids)) or 'none'}")
        with self._lock:
            if id not in self._saes:
                sae = self._weights(id).to(self.model.device)
                if sae.d_in != self.model.d_in or not 0 <= id.layer < self.model.info.n_layers:
                    raise ModelError(
                        f"SAE {id} with inputs of width {sae.d_in} does not fit {id.model}",
                        f"its z has width {self.model.d_in} in {len(self._layers)} layers",
                    )
                self._saes[id] = sae
            return self._saes[id]

    def run(self, text: Text, prefer: str | None) -> PromptRun:
        """A prompt, run and seen through one SAE per layer.

        Args:
            text: the prompt.
            prefer: name of the SAE set to take where a layer has several.

        Raises:
            QueryError: the prompt is refused.
            NotFound: there is no set of that name.
        """
        known = sorted({id.set for id in self.ids})
        if prefer is not None and prefer not in known:
            raise NotFound(f"no SAE set {prefer}", f"there are {', '.join(known) or 'none'}")
        prompt = read_prompt(self.model, text, self.max_tokens)
        key = (prompt.ids, prefer)
        with self._lock:
            if key not in self._runs:
                self._runs[key] = self._make(prompt, prefer)
            self._runs.move_to_end(key)
            while len(self._runs) > KEPT:
                self._runs.popitem(last=False)
            return replace(self._runs[key], prompt=prompt)

    def _make(self, prompt: Prompt, prefer: str | None) -> PromptRun:
        chosen: dict[int, tuple[SaeId, Sae]] = {}
        missing = []
        for id in sorted(self.ids, key=lambda id: (id.layer, id.set != prefer)):
            if id.layer in chosen:
                continue
            try:
                chosen[id.layer] = (id, self.sae(id))
            except AtlasError as error:
                missing.append(str(error))
        internals = self.model.internals(torch.tensor(prompt.ids))
        return see(self.model, prompt, internals, self._layers, chosen, tuple(missing))
