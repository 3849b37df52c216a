"""Direct feature attribution: how much each head and each source position gave to a feature.

With w the feature's encoder row in head slices w_k, and attention patterns taken as given
(PAPER.md section 5.2): DFA_{k,S}(D) = A^k[D,S] * (v_k[S] . w_k), which sums over sources to
DFA_k(D) = z_k(D) . w_k and over heads and sources to the pre-activation minus the bias.
"""

from torch import Tensor


def head_dfa(z: Tensor, w: Tensor) -> Tensor:
    """DFA per head, `[n, head]`.

    Args:
        z: `[n, head, d_head]`, z at the destinations.
        w: `[n, d_in]`, each destination's encoder row, head-major.
    """
    return (z * w.view_as(z)).sum(-1)


def source_dfa(pattern: Tensor, v: Tensor, w: Tensor, kv_head: Tensor) -> Tensor:
    """DFA per head and source, `[n, head, src]`.

    Args:
        pattern: `[n, head, src]`, the attention rows at the destinations.
        v: `[n, src, kv_head, d_head]`, values of the destinations' contexts.
        w: `[n, d_in]`, each destination's encoder row, head-major.
        kv_head: `[head]`, the key/value head that each query head reads.
    """
    return pattern * value_dfa(v, w[:, None], kv_head)[:, 0]


def context_dfa(pattern: Tensor, v: Tensor, w: Tensor, kv_head: Tensor) -> Tensor:
    """DFA per head and source for several destinations of one context, `[n, head, src]`.

    Args:
        pattern: `[head, n, src]`, the attention rows at the destinations.
        v: `[src, kv_head, d_head]`, the context's values.
        w: `[n, d_in]`, each destination's encoder row, head-major.
        kv_head: `[head]`, the key/value head that each query head reads.
    """
    return value_dfa(v, w, kv_head) * pattern.transpose(0, 1)


def value_dfa(v: Tensor, w: Tensor, kv_head: Tensor) -> Tensor:
    """v_k[S] . w_k: DFA per unit of attention, `[..., n, head, src]` (PAPER.md section 5.2).

    Args:
        v: `[..., src, kv_head, d_head]`, values of one context or several.
        w: `[..., n, d_in]`, encoder rows for each context, head-major.
        kv_head: `[head]`, the key/value head that each query head reads.
    """
    by_head = w.unflatten(-1, (len(kv_head), -1)).transpose(-2, -3)  # [..., head, n, d_head]
    found: Tensor = by_head @ v[..., kv_head, :].movedim(-3, -1)
    return found.transpose(-2, -3)
