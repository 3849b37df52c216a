"""What Kissane et al. 2024 report on GPT-2 Small, to stand beside a study of any model."""

from typing import NamedTuple


class Reported(NamedTuple):
    """One finding of the paper."""

    what: str
    value: str


MEASURES = {
    "heads": "What every head looks at and does: metrics, patterns, composition, ablation cost.",
    "families": "Which family each feature belongs to, by rules tested on held-out text.",
    "roles": "What each head does by its top features, and whether that is one thing.",
    "prefix": "Induction of every head by the length of the repeated prefix.",
    "ioi": "Indirect-object identification: which heads and features carry it.",
}
"""Every study and what it measures."""
PAPER: dict[str, tuple[Reported, ...]] = {
    "prefix": (
        Reported("L5H1 by prefix length", "from under 0.3 to over 0.7 past about two tokens"),
        Reported("L5H5 by prefix length", "about 0.7 already at one token"),
        Reported("L5H1, prefix broken on text", "attention 0.55 before, 0.05 after"),
        Reported("L5H5, prefix broken on text", "stays at 0.43"),
        Reported("what is missing there", "no intervals, two heads of one layer"),
    ),
    "families": (
        Reported("induction, in GELU-2L", "about 5 % of the living features, by a detector"),
        Reported("families in GPT-2 Small", "induction, local and high-level context recur"),
    ),
    "heads": (
        Reported("by layer", "features get more abstract up to layer 9, then less"),
        Reported("surprising groupings", "39 of 144 heads show one not seen in an earlier head"),
        Reported("known heads found again", "induction, previous, successor and duplicate token"),
    ),
    "roles": (
        Reported("monosemantic candidates", "14 of 144 heads, by hand from ten features each"),
        Reported("polysemantic", "at least 90 % of heads"),
        Reported("what is missing there", "no numeric score, no null, one group of annotators"),
    ),
    "ioi": (
        Reported("causal features at S2", "three of layer 5"),
        Reported("relation kept, three changes", "about 93 % of the logit difference stays"),
        Reported("“ and” to “ alongside”", "about 43 % of the logit difference stays"),
    ),
}
"""Study to what the paper says; the values are as reviews and the released code give them."""
