"""Long-prefix and short-prefix induction of every head (PAPER.md section 8), with its controls."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from atlas.errors import ConfigError
from atlas.model import LanguageModel
from atlas.model.probe import attended, embeddings
from atlas.store import prefix as stored
from ingest.config import Count, StudyPart
from ingest.studies import prefix_tables as tables
from ingest.studies import prefix_text as texts
from ingest.studies.prefix_class import LONG, classify
from ingest.studies.prefix_compare import compare, labels
from ingest.studies.prefix_synthetic import LENGTHS, ROOM, Scored, score, sequences
from ingest.studies.prefix_text import CONTROLS, LEAST, LONGEST, Break, Event
from ingest.studies.study import Arrays, Batch, Findings, Study
from ingest.studies.text import start_token

AT_ONCE = 20
"""Places that are broken before what was found is kept."""
CHECKED = 16
"""Sequences that are scored again in float32 where the study runs in another precision."""
SHORTEST = 2 * max(LENGTHS) + ROOM + 2
"""Context in which the longest repeated prefix finds room."""


class PrefixSettings(StudyPart):
    """Settings of the prefix study."""

    sequences: Count = 200
    """Synthetic sequences per prefix length. An attention score between 0 and 1 spreads by at most
    0.5, so that 200 give intervals of at most 0.07 to either side; the paper took 400."""
    threshold: float = 0.3
    """Attention above which a head is taken to look at a source on real text."""
    events: Count = 30
    """Events per head whose prefix is broken, where the text has as many."""
    breaks: Count = 200
    """Places of the text that are broken in all; one serves every head that looks there."""


class Found(NamedTuple):
    """What real text showed."""

    counts: Tensor  # [layer, head, LONGEST + 1], windows by prefix length of their first event
    events: list[Event]


def prefix(study: Study, settings: PrefixSettings) -> Findings:
    """Every head's induction by prefix length, on random tokens and on text with broken prefixes.

    Raises:
        ConfigError: the model's contexts are too short for the synthetic sequences.
    """
    draw = torch.Generator().manual_seed(settings.seed)
    synthetic = _synthetic(study, settings)
    classed = classify({length: one.attention for length, one in synthetic.items()}, draw)
    found = _find(study, settings)
    inducing = {(layer, head) for layer, head in classed.kind.nonzero().tolist()}
    chosen = texts.plan(found.events, settings.events, settings.breaks, inducing)
    after = _break(study, settings, chosen)
    broken = [event for one in chosen for event in one.events]
    led = stored.led_features(study.atlas.evidence, study.info.id)
    key = tables.Key(study.info.id, study.work.run)
    return Findings(
        {
            "prefix_score": tables.scores(key, synthetic, draw),
            "prefix_head": tables.heads(key, classed, found.counts),
            "prefix_break": tables.breaks(key, broken, after, draw),
            "prefix_feature": tables.features(key, classed, led, draw),
            "prefix_compare": compare(key, classed, led, draw, settings.seed),
            "prefix_label": labels(key, classed, led),
        },
        {
            "synthetic sequences per length": settings.sequences,
            "windows of text": len(study.text.text.contexts.tokens),
            "events with a prefix of two or more": len(found.events),
            "places broken": len(chosen),
            "events broken": len(broken),
            "features with examples": len(led),
        },
        _said(study, settings),
    )


def _synthetic(study: Study, settings: PrefixSettings) -> dict[int, Scored]:
    model = study.model
    context = min(128, model.context_length)
    if context < SHORTEST:
        raise ConfigError(
            f"model {model.info.id} takes {context} tokens", f"the study needs {SHORTEST}"
        )
    bos = start_token(model, settings.corpus)
    layers, allowed = range(model.info.n_layers), model.ordinary_tokens()
    reporter = study.work.reporter
    reporter.stage("synthetic", len(LENGTHS) * settings.sequences * context, "tokens")

    def made(length: int) -> Arrays:
        draw = torch.Generator().manual_seed(settings.seed + length)
        drawn = sequences(settings.sequences, length, context, allowed, bos, draw)
        found = score(model, drawn, layers, settings.batch_contexts, reporter.advance)
        return {name: part.numpy() for name, part in found._asdict().items()}

    kept = {n: study.keep(f"synthetic-{n}", lambda n=n: made(n)) for n in LENGTHS}  # type: ignore[misc]
    return {
        n: Scored(*(torch.from_numpy(one[f]) for f in Scored._fields)) for n, one in kept.items()
    }


def _said(study: Study, settings: PrefixSettings) -> tuple[str, ...]:
    """How far the scores are from those in float32, where the study ran in another precision."""
    model = study.model
    if model.dtype == torch.float32:
        return ()
    layers, allowed = range(model.info.n_layers), model.ordinary_tokens()
    context, bos = min(128, model.context_length), start_token(model, settings.corpus)
    draw = torch.Generator().manual_seed(settings.seed)
    drawn = sequences(CHECKED, LONG, context, allowed, bos, draw)

    def made() -> Arrays:
        own, other = (
            score(one, drawn, layers, settings.batch_contexts).attention.mean(0)
            for one in (model, study.model_in("float32"))
        )
        return {"apart": (own - other).abs().numpy()}

    apart = study.keep("check", made)["apart"]
    return (
        f"ran in {str(model.dtype).removeprefix('torch.')}: over {CHECKED} sequences of prefix"
        f" {LONG} the mean attention of a head differs from float32's by {apart.mean():.1e} on"
        f" average and by at most {apart.max():.1e}",
    )


def _find(study: Study, settings: PrefixSettings) -> Found:
    def made() -> Arrays:
        model, counts, events = study.model, None, list[Event]()
        same = texts.same_as(model.vocabulary())
        for batch in study.batches("read text"):
            some, more = look(model, batch, same, settings)
            counts = some if counts is None else counts + some
            events += more
        assert counts is not None
        columns = zip(*events, strict=True) if events else ([] for _ in Event._fields)
        listed = {name: np.array(one) for name, one in zip(Event._fields, columns, strict=True)}
        return {"counts": counts.numpy(), **listed}

    kept = study.keep("events", made)
    rows = zip(*(kept[name].tolist() for name in Event._fields), strict=True)
    return Found(torch.from_numpy(kept["counts"]), [Event(*row) for row in rows])


def look(
    model: LanguageModel, batch: Batch, same: Tensor, settings: PrefixSettings
) -> tuple[Tensor, list[Event]]:
    """Prefix lengths of the first events of a batch, and the first events that can be broken.

    Returns:
        `[layer, head, LONGEST + 1]` windows by the prefix length of their first event; and events.
    """
    start = 0 if settings.corpus.bos == "none" else 1
    layers, pos = range(model.info.n_layers), batch.tokens.shape[1]
    lengths = texts.prefix_lengths(same[batch.tokens], start)
    allowed = texts.pairs(batch.length, pos, start)
    seen = attended(model, batch.tokens, layers).layers
    counts, events = [], []
    for layer in layers:
        pattern = seen[layer].pattern.float().cpu()
        above, rows = pattern > settings.threshold, torch.arange(len(pattern))[:, None]
        found, dst, src = texts.first_events(above, allowed, lengths, 0)
        length = lengths[rows, dst, src]
        counts.append(_tally(length, found))
        found, dst, src = texts.first_events(above, allowed, lengths, LEAST)
        for row, head in found.nonzero().tolist():
            d, s = int(dst[row, head]), int(src[row, head])
            reach, attention = int(lengths[row, d, s]), float(pattern[row, head, d, s])
            events.append(Event(batch.first + row, layer, head, d, s, reach, attention))
    return torch.stack(counts), events


def _tally(length: Tensor, found: Tensor) -> Tensor:
    """`[head, LONGEST + 1]` from `[window, head]`."""
    one_hot = torch.nn.functional.one_hot(length, LONGEST + 1)
    return (one_hot * found[:, :, None]).sum(0)


def _break(study: Study, settings: PrefixSettings, chosen: list[Break]) -> Tensor:
    """`[event, control]`: attention at the same place; NaN where a control found no room."""
    study.text  # noqa: B018 (tokenised now: reading it later would tell another stage)
    study.work.reporter.stage("break", len(chosen), "places")
    parts = [torch.empty(0, len(CONTROLS))]
    for first in range(0, len(chosen), AT_ONCE):
        some = chosen[first : first + AT_ONCE]
        kept = study.keep(f"broken-{first}", lambda some=some: _broken(study, settings, some))  # type: ignore[misc]
        parts.append(torch.from_numpy(kept["after"]))
    return torch.cat(parts)


def _broken(study: Study, settings: PrefixSettings, chosen: list[Break]) -> Arrays:
    model, contexts = study.model, study.text.text.contexts
    windows = torch.from_numpy(contexts.tokens).long()
    text = torch.cat([row[1:n] for row, n in zip(windows, contexts.length.tolist(), strict=True)])
    mean = embeddings(model, windows[: settings.batch_contexts])[:, 1:].flatten(0, 1).mean(0)
    same, allowed = texts.same_as(model.vocabulary()), model.ordinary_tokens()
    rows = []
    for one in chosen:
        draw = torch.Generator().manual_seed(settings.seed + one.window * len(text) + one.src)
        tokens, free = spoil(windows[one.window], one, same, (allowed, text), draw)
        after = read_again(model, one, tokens, mean)
        if not free:
            after[:, CONTROLS.index("elsewhere")] = torch.nan
        rows.append(after)
        study.work.reporter.advance(1)
    return {"after": torch.cat(rows).numpy()}


def spoil(
    window: Tensor, one: Break, same: Tensor, pools: tuple[Tensor, Tensor], draw: torch.Generator
) -> tuple[Tensor, bool]:
    """The window once for every control, and whether there was room elsewhere.

    Args:
        window: `[pos]` tokens.
        one: the place that is broken.
        same: `[token]` classes; what is put in is always of another.
        pools: tokens to draw random and resampled ones from.
        draw: draws them.
    """
    tokens = window[: one.until].repeat(len(CONTROLS), 1)
    old = same[tokens[0, one.place]]
    tokens[0, one.place] = _other(pools[0], same, old, draw)
    tokens[1, one.place] = _other(pools[1], same, old, draw)
    free = texts.elsewhere(one, 1, draw)
    if free is not None:
        tokens[3, free] = _other(pools[0], same, same[tokens[3, free]], draw)
    return tokens, free is not None


def _other(pool: Tensor, same: Tensor, old: Tensor, draw: torch.Generator) -> Tensor:
    """A token of the pool that is another word."""
    while True:
        token = pool[torch.randint(len(pool), (), generator=draw)]
        if same[token] != old:
            return token


def read_again(model: LanguageModel, one: Break, tokens: Tensor, mean: Tensor) -> Tensor:
    """`[event, control]` attention of the events; row 2 gets the mean embedding at the place."""

    def embed(x: Tensor) -> Tensor:
        x = x.clone()
        x[CONTROLS.index("mean"), one.place] = mean
        return x

    layers = sorted({event.layer for event in one.events})
    seen = attended(model, tokens, layers, embed).layers
    rows = [seen[e.layer].pattern[:, e.head, e.dst, e.src].float().cpu() for e in one.events]
    return torch.stack(rows)
