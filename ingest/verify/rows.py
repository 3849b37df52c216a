"""What the rows of a snapshot should hold, from the model, the SAEs' weights and stored tokens."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from atlas.lens.dfa import head_dfa, source_dfa
from atlas.lens.sae import Sae, encode, head_shares, pre_activations
from atlas.model import LanguageModel
from atlas.store.sample import Rows
from ingest.mine.tables import entropy
from ingest.verify.compare import Value
from ingest.wilson import wilson


class Parts(NamedTuple):
    """What everything is computed from."""

    model: LanguageModel
    """In float32."""
    saes: Mapping[str, Sae]
    """By id."""
    skip_first: Mapping[str, int]
    """By SAE: leading positions that its run left out."""


def example_name(row: Mapping[str, Any]) -> str:
    """Such as `example gpt2/5-att/7 interval 3`."""
    return f"example {row['sae_id']}/{row['feature']} {row['kind']} {row['rank']}"


@torch.inference_mode()
def example_values(parts: Parts, rows: Rows) -> Iterator[tuple[str, Value]]:
    """Kind of check and value for every column of examples that the model decides."""
    by_context = sorted(rows, key=lambda row: (row["ctx"], row["layer"]))
    for (_, layer), group in groupby(by_context, key=lambda row: (row["ctx"], row["layer"])):
        some = list(group)
        tokens = torch.tensor(some[0]["tokens"], dtype=torch.long)
        found = parts.model.attention(tokens[None], [layer])[layer]
        z, v, pattern = found.z[0].float(), found.v[0].float(), found.pattern[0].float()
        for row in some:
            yield from _example(parts, _trimmed(row), z, v, pattern)


def _trimmed(row: dict[str, Any]) -> dict[str, Any]:
    """Without sources after the position, which older programs listed and which give nothing."""
    before = [place for place, pos in enumerate(row["src_pos"]) if pos <= row["pos"]]
    return row | {
        name: [row[name][place] for place in before] for name in ("src_pos", "src_dfa", "src_head")
    }


def _example(
    parts: Parts, row: dict[str, Any], z: Tensor, v: Tensor, pattern: Tensor
) -> Iterator[tuple[str, Value]]:
    name, sae = example_name(row), parts.saes[row["sae_id"]]
    feature, pos = row["feature"], row["pos"]
    w, flat = sae.w_enc[feature][None], z.flatten(1)
    acts = encode(sae, flat)[:, feature].clone()
    acts[: parts.skip_first[row["sae_id"]]] = 0
    pre = pre_activations(sae, flat[pos : pos + 1])[0, feature]
    here = pre if row["kind"] == "near_miss" else acts[pos]
    yield "activations", Value(name, "act", row["act"], float(here))
    yield "activations", Value(name, "token", row["token"], row["tokens"][pos])
    fires = acts.nonzero()[:, 0]
    yield "windows", Value(name, "act_pos", row["act_pos"], fires.tolist())
    yield "windows", Value(name, "act_val", row["act_val"], acts[fires].tolist())
    heads = head_dfa(z[pos : pos + 1], w)[0]
    yield "DFA by head", Value(name, "head_dfa", row["head_dfa"], heads.tolist())
    whole = source_dfa(pattern[:, pos][None], v[None], w, parts.model.kv_head)[0]  # [head, src]
    by_source = whole.sum(0)
    listed = torch.tensor(row["src_pos"], dtype=torch.long, device=by_source.device)
    yield "DFA by source", Value(name, "src_dfa", row["src_dfa"], by_source[listed].tolist())
    strongest = by_source.abs().topk(len(listed)).values
    sizes = np.abs(row["src_dfa"])
    yield "DFA by source", Value(name, "src_pos", sizes, strongest.tolist())
    rest = by_source.sum() - by_source[listed].sum()
    yield "DFA by source", Value(name, "src_rest", row["src_rest"], float(rest))
    carried = whole[torch.tensor(row["src_head"], dtype=torch.long), listed].abs()
    yield (
        "DFA by source",
        Value(name, "src_head", carried.tolist(), whole.abs().max(0).values[listed].tolist()),
    )
    from_source = row["pos"] - row["distance"]
    yield "DFA by source", Value(name, "src_token", row["src_token"], row["tokens"][from_source])
    top = by_source[listed].max()
    yield "DFA by source", Value(name, "distance", float(by_source[from_source]), float(top))
    residual = pre - sae.b_enc[feature] - whole.sum()
    yield "DFA by source", Value(name, "residual", row["residual"], float(residual))


@torch.inference_mode()
def feature_values(parts: Parts, rows: Rows) -> Iterator[tuple[str, Value]]:
    """Kind of check and value for every column of features that weights or arithmetic decide."""
    for row in rows:
        name, sae = f"feature {row['sae_id']}/{row['feature']}", parts.saes[row["sae_id"]]
        feature, layer = row["feature"], row["layer"]
        yield "weights", Value(name, "bias", row["bias"], float(sae.b_enc[feature]))
        own = sae.w_dec[feature][None]
        shares = head_shares(own, parts.model.info.n_heads)[0].cpu().numpy()
        stored = [head["weight_share"] for head in row["heads"]]
        yield "weights", Value(name, "feature_head.weight_share", stored, shares.tolist())
        yield "weights", Value(name, "weight_share", row["weight_share"], shares.max())
        yield "weights", Value(name, "weight_head", shares[row["weight_head"]], shares.max())
        bits = entropy(shares[None].astype(np.float64))[0]
        yield "weights", Value(name, "weight_entropy", row["weight_entropy"], bits)
        effects = parts.model.logit_effects(parts.model.writes(layer, own))[0]
        for side, sign in (("top", 1), ("bottom", -1)):
            at = torch.tensor(row[f"{side}_tokens"], dtype=torch.long, device=effects.device)
            stored, extremes = row[f"{side}_logits"], (sign * effects).topk(len(at)).values * sign
            yield "logits", Value(name, f"{side}_tokens", stored, effects[at].tolist())
            yield "logits", Value(name, f"{side}_logits", stored, extremes.tolist())
        yield from _arithmetic(name, row)


def _arithmetic(name: str, row: dict[str, Any]) -> Iterator[tuple[str, Value]]:
    """What follows from other columns of the same row."""
    low, high = wilson(np.array(row["firings"]), float(row["tokens"]))
    density = row["firings"] / max(row["tokens"], 1)
    # Densities are small: they are compared as counts.
    scale = max(row["tokens"], 1)
    for column, now in (("density", density), ("density_low", low), ("density_high", high)):
        yield "arithmetic", Value(name, column, row[column] * scale, float(now) * scale)
    yield "arithmetic", Value(name, "histogram", sum(row["histogram"]), row["firings"])
    if row["firings"]:
        shares = [head["dfa_share"] for head in row["heads"]]
        yield "arithmetic", Value(name, "feature_head.dfa_share", sum(shares), 1.0)
        yield "arithmetic", Value(name, "dfa_share", row["dfa_share"], max(shares))
        won = sum(head["won"] for head in row["heads"])
        yield "arithmetic", Value(name, "feature_head.won", won, 1.0)


@torch.inference_mode()
def neighbour_values(parts: Parts, rows: Rows) -> Iterator[tuple[str, Value]]:
    """The cosine of what two features write."""
    for row in rows:
        name = (
            f"neighbour {row['sae_id']}/{row['feature']} and "
            f"{row['other_id']}/{row['other_feature']}"
        )
        one = parts.saes[row["sae_id"]].w_dec[row["feature"]][None]
        other = parts.saes[row["other_id"]].w_dec[row["other_feature"]][None]
        cosine = torch.nn.functional.cosine_similarity(
            parts.model.writes(row["layer"], one), parts.model.writes(row["other_layer"], other)
        )
        yield "cosines", Value(name, "cosine", row["cosine"], float(cosine))
