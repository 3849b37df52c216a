"""The induction detector of the paper's first post (PAPER.md section 6.2), made for whole SAEs.

For the tokens X that a feature's decoder boosts most, random sequences [A][X] ... [A] are read. A
feature is found where it fires on the second A, far less on the first one and on other second
copies, and is delivered, by its decoder's weights, mainly by heads that do induction in the same
sequences. One sequence of random tokens said twice tests as many X as it has tokens.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from atlas.ids import SaeId
from atlas.lens.sae import Sae, encode
from ingest.studies.prefix_class import INDUCES
from ingest.studies.study import Arrays, Study
from ingest.studies.text import start_token
from ingest.wilson import wilson

FIRES = 0.5
"""Share of the second A on which a feature must fire."""
TIMES = 2.0
"""How many times as often as on first A, and as on other second copies."""
MAINLY = 0.5
"""Share of its decoder's weight that must lie in known induction heads."""


class Counts(NamedTuple):
    """Firings of one SAE on the sequences; slots are a feature's boosted tokens."""

    tokens: NDArray[np.int64]  # [feature, slot]
    second: NDArray[np.int64]  # [feature, slot], on the A before the second X
    first: NDArray[np.int64]  # [feature, slot], on the A before the first X
    trials: NDArray[np.int64]  # [feature, slot]
    anywhere: NDArray[np.int64]  # [feature], on second copies
    positions: int  # second copies


class Rates(NamedTuple):
    """What decides of one SAE's features, `[feature]`: of the boosted token it fires on most."""

    token: NDArray[np.int64]
    second: NDArray[np.float64]
    first: NDArray[np.float64]
    elsewhere: NDArray[np.float64]  # on second copies that no boosted token follows
    trials: NDArray[np.int64]
    fires: NDArray[np.bool_]


class Detected(NamedTuple):
    """What the detector says of one SAE."""

    rates: Rates
    delivered: NDArray[np.float64]  # [feature], decoder's weight in known induction heads
    heads: tuple[int, ...]  # these heads
    found: NDArray[np.bool_]
    live: NDArray[np.bool_]
    chance: int  # found among living features when each is given another one's tokens


def sequences(
    wanted: NDArray[np.int64],
    trials: int,
    length: int,
    start: int | None,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """`[sequence, pos]`: a start, tokens at random, then the same ones again.

    Every wanted token stands behind another one in `trials` sequences or some more.

    Args:
        wanted: `[n]` different tokens.
        trials: sequences for each of them.
        length: tokens of one copy.
        start: start token, or None.
        rng: draws the orders.
    """
    length = min(length, len(wanted))
    rounds = []
    for _ in range(trials):
        order = rng.permutation(wanted)
        over = len(order) % (length - 1)
        others = np.setdiff1d(wanted, order[len(order) - over :])
        filler = rng.permutation(others)[: -len(order) % (length - 1)]
        order = np.concatenate([order, filler])
        rows = order.reshape(-1, length - 1)
        ahead = np.array([rng.choice(np.setdiff1d(wanted, row)) for row in rows])
        rounds.append(np.concatenate([ahead[:, None], rows], 1))
    copy = np.concatenate(rounds)
    begin = np.full((len(copy), 0 if start is None else 1), start or 0)
    return np.concatenate([begin, copy, copy], 1)


def count(fired: NDArray[Any], following: NDArray[Any], tokens: NDArray[Any]) -> NDArray[np.int64]:
    """`[feature, slot]`: firings at places that a feature's own token follows.

    Args:
        fired: `[n, 2]` place and feature of each firing.
        following: `[place]` the token behind.
        tokens: `[feature, slot]`.
    """
    place, feature = fired.T
    own, slot = np.nonzero(tokens[feature] == following[place][:, None])
    flat = feature[own] * tokens.shape[1] + slot
    found = np.bincount(flat, minlength=tokens.size).reshape(tokens.shape)
    return found.astype(np.int64)


def rates(counts: Counts) -> Rates:
    """The boosted token that a feature fires on most, and what it is held against."""
    trials = np.maximum(counts.trials, 1)
    second = counts.second / trials
    best = second.argmax(1)
    row = np.arange(len(best))
    others = np.maximum(counts.positions - counts.trials.sum(1), 1)
    elsewhere = (counts.anywhere - counts.second.sum(1)) / others
    seen, first = second[row, best], (counts.first / trials)[row, best]
    fires = (seen >= FIRES) & (seen >= TIMES * np.maximum(first, elsewhere))
    return Rates(counts.tokens[row, best], seen, first, elsewhere, counts.trials[row, best], fires)


def detect(study: Study, boosted: int, trials: int) -> dict[SaeId, Detected]:
    """What the detector says of every SAE of the study's model.

    Args:
        study: what to run.
        boosted: tokens per feature that its decoder boosts most.
        trials: sequences in which each of them follows another random token.
    """
    own = {name: _feature_tokens(study, name, boosted) for name in study.saes}
    rng = np.random.default_rng(study.seed)
    other = {name: tokens[rng.permutation(len(tokens))] for name, tokens in own.items()}
    model = study.model
    allowed = set(model.ordinary_tokens().tolist())
    wanted = np.array(sorted({int(t) for some in own.values() for t in some.ravel()} & allowed))
    start = start_token(model, study.corpus)
    room = min(study.corpus.context_length, model.context_length) - (start is not None)
    drawn = sequences(wanted, trials, room // 2, start, rng)
    loaded = {name: study.sae(name) for name in study.saes}
    begin = 0 if start is None else 1
    parts = list(_read(study, loaded, drawn, begin, own, other))
    return {name: _judged(study, name, own[name], other[name], parts) for name in study.saes}


def _feature_tokens(study: Study, name: SaeId, boosted: int) -> NDArray[np.int64]:
    """`[feature, slot]`, the stored tokens whose logits the decoder raises most."""
    tables = [
        pa.Table.from_batches([batch.select(["feature", "top_tokens"])])
        for batch in study.atlas.export(name, "feature").batches
    ]
    rows = pa.concat_tables(tables)["top_tokens"].to_pylist()
    return np.array([(row + [-1] * boosted)[:boosted] for row in rows], np.int64)


def _read(
    study: Study,
    loaded: dict[SaeId, Sae],
    drawn: NDArray[np.int64],
    begin: int,
    own: dict[SaeId, NDArray[np.int64]],
    other: dict[SaeId, NDArray[np.int64]],
) -> Iterator[Arrays]:
    """Counts of some sequences at a time, each kept."""
    step = study.batch_contexts
    study.work.reporter.stage("detect", drawn.size, "tokens")
    for at in range(0, len(drawn), step):
        some = drawn[at : at + step]
        made = partial(_read_some, study, loaded, some, begin, own, other)
        yield study.keep(f"detect-{at:07d}", made)
        study.work.reporter.advance(some.size)


@torch.inference_mode()
def _read_some(
    study: Study,
    loaded: dict[SaeId, Sae],
    some: NDArray[np.int64],
    begin: int,
    own: dict[SaeId, NDArray[np.int64]],
    other: dict[SaeId, NDArray[np.int64]],
) -> Arrays:
    length = (some.shape[1] - begin) // 2
    first = np.arange(begin, begin + length - 1)
    second = first + length
    following = some[:, second + 1].ravel()
    attention = study.model.attention(torch.from_numpy(some), sorted({n.layer for n in loaded}))
    found: Arrays = {"following": following}
    for name, sae in loaded.items():
        layer = attention[name.layer]
        fired = {}
        for which, places in (("first", first), ("second", second)):
            acts = encode(sae, layer.z[:, places].flatten(2).float().flatten(0, 1))
            fired[which] = acts.nonzero().cpu().numpy()
        found |= {
            f"{name}:second": count(fired["second"], following, own[name]),
            f"{name}:first": count(fired["first"], following, own[name]),
            f"{name}:anywhere": np.bincount(fired["second"][:, 1], minlength=len(own[name])),
            f"{name}:other-second": count(fired["second"], following, other[name]),
            f"{name}:other-first": count(fired["first"], following, other[name]),
            f"{name}:heads": layer.pattern[:, :, second, first + 1].float().mean((0, 2)).numpy(
                force=True),
        }  # fmt: skip
    return found


def _judged(
    study: Study,
    name: SaeId,
    own: NDArray[np.int64],
    other: NDArray[np.int64],
    parts: list[Arrays],
) -> Detected:
    def total(what: str) -> NDArray[Any]:
        summed: NDArray[Any] = np.sum([part[f"{name}:{what}"] for part in parts], axis=0)
        return summed

    following = np.concatenate([part["following"] for part in parts])
    sizes = np.bincount(following, minlength=study.info.vocab_size)
    weight = np.array([len(part["following"]) for part in parts])
    scores = np.average([part[f"{name}:heads"] for part in parts], axis=0, weights=weight)
    heads = tuple(int(head) for head in np.nonzero(scores >= INDUCES)[0])
    share, live = _weights(study, name)
    delivered = share[:, list(heads)].sum(1)

    def told(tokens: NDArray[np.int64], prefix: str) -> tuple[Rates, NDArray[np.bool_]]:
        trials = np.where(tokens >= 0, sizes[np.maximum(tokens, 0)], 0)
        counts = Counts(tokens, total(f"{prefix}second"), total(f"{prefix}first"), trials,
                        total("anywhere"), len(following))  # fmt: skip
        found = rates(counts)
        return found, found.fires & (delivered >= MAINLY) & live

    seen, found = told(own, "")
    _, chance = told(other, "other-")
    return Detected(seen, delivered, heads, found, live, int(chance.sum()))


def _weights(study: Study, name: SaeId) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """`[feature, head]` weight shares, and which features ever fired."""
    heads = pa.Table.from_batches(list(study.atlas.export(name, "feature_head").batches))
    share = heads["weight_share"].to_numpy().astype(np.float64).reshape(-1, study.info.n_heads)
    fired = [
        batch.column("firings").to_numpy() for batch in study.atlas.export(name, "feature").batches
    ]
    return np.nan_to_num(share), np.concatenate(fired) > 0


def feature_rows(name: SaeId, one: Detected, rule: NDArray[np.bool_]) -> Iterator[dict[str, Any]]:
    """A row per living feature, those that are found first, then those that fire most often.

    Args:
        name: the SAE.
        one: what the detector says of it.
        rule: `[feature]`, whether the induction rule on measured DFA holds.
    """
    seen = one.rates
    low, high = wilson(np.round(seen.second * seen.trials), seen.trials.astype(np.float64))
    order = np.lexsort((-seen.second, ~seen.fires, ~one.found))
    for feature in order[one.live[order]]:
        yield {
            "sae": str(name),
            "feature": int(feature),
            "token": int(seen.token[feature]) if seen.token[feature] >= 0 else None,
            "second": float(seen.second[feature]),
            "second_low": float(low[feature]),
            "second_high": float(high[feature]),
            "second_n": int(seen.trials[feature]),
            "first": float(seen.first[feature]),
            "elsewhere": float(seen.elsewhere[feature]),
            "delivered": float(one.delivered[feature]),
            "fires": bool(seen.fires[feature]),
            "found": bool(one.found[feature]),
            "by_rule": bool(rule[feature]),
        }


def share_row(name: SaeId, one: Detected, rule: NDArray[np.bool_]) -> dict[str, Any]:
    """How many of an SAE's features are found, and how far the rule on DFA agrees."""
    live = int(one.live.sum())
    found, ruled = one.found & one.live, rule & one.live
    both = int((found & ruled).sum())
    row: dict[str, Any] = {
        "sae": str(name),
        "heads": list(one.heads),
        "live": live,
        "found": int(found.sum()),
        "fires": int((one.rates.fires & one.live).sum()),
        "chance": one.chance,
        "by_rule": int(ruled.sum()),
        "by_both": both,
    }
    for key, number in (("share", row["found"]), ("rule_share", row["by_rule"])):
        low, high = wilson(np.array([number]), np.array([live]))
        row |= {key: number / live if live else None, f"{key}_low": float(low[0]),
                f"{key}_high": float(high[0])}  # fmt: skip
    agree = (live - row["found"] - row["by_rule"] + 2 * both) / max(live, 1)
    p, q = row["found"] / max(live, 1), row["by_rule"] / max(live, 1)
    expected = p * q + (1 - p) * (1 - q)
    kappa = (agree - expected) / (1 - expected) if expected < 1 else None
    return row | {"agreement": agree if live else None, "kappa": kappa}
