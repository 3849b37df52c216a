"""Attention-only transformers whose heads are set by hand, so that what a study finds is known.

Tokens and positions are one-hot in slots of the residual stream. A head is four lists of links
between a slot and its own dimensions; MLPs are zero. LayerNorm stays, as in GPT-2.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.model import LanguageModel, load

WORDS = """<s> </s> , . Mary John Anne Tom Paul Jane Kate Mark Luke Rose Then When After While Once
If and or but with alongside went to the a gave store park school garden ball book ring
cake It was nice day while weather in at of had been walking offered handed decided give
got spent some time some long day they sat down passed arrived left worked first still"""
SIZE = 144
"""Tokens; those behind the words are letters and digits twice over."""
CONTEXT = 48


def words() -> list[str]:
    """Text of every token: specials, punctuation, words with a space before them and without."""
    plain = list(dict.fromkeys(WORDS.split()))
    spaced = [f" {word}" for word in plain[4:]]
    both = plain[:4] + spaced + [word for word in plain if word[0].isupper()]
    return both + [f"x{n}" for n in range(SIZE - len(both))]


class Head(NamedTuple):
    """One head's weights as `[d_model, d_head]` three times and `[d_head, d_model]`."""

    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor


class Space:
    """A residual stream cut into named slots."""

    def __init__(self, d_head: int, **sizes: int) -> None:
        ends = torch.tensor([*sizes.values()]).cumsum(0).tolist()
        self.slots = {
            name: slice(end - size, end)
            for (name, size), end in zip(sizes.items(), ends, strict=True)
        }
        self.d_head, self.d_model = d_head, 2 * d_head
        assert ends[-1] <= self.d_model

    def matrix(self, *links: tuple[str, int, float | Tensor]) -> Tensor:
        """`[d_model, d_head]` with identities (or matrices) from slots to head dimensions."""
        made = torch.zeros(self.d_model, self.d_head)
        for name, start, what in links:
            slot = self.slots[name]
            size = slot.stop - slot.start
            block = what if isinstance(what, Tensor) else torch.eye(size) * what
            made[slot, start : start + block.shape[1]] += block
        return made

    def nothing(self) -> Head:
        """A head that writes nothing."""
        none = self.matrix()
        return Head(none, none, none, none.T)


def plant(folder: Path, space: Space, layers: list[list[Head]]) -> None:
    """Write the model with these heads, two a layer, and its tokenizer.

    Tokens, also unembedded, positions and a constant are one-hot in the slots of their name.
    """
    import transformers

    config = transformers.GPT2Config(
        vocab_size=SIZE,
        n_embd=space.d_model,
        n_layer=len(layers),
        n_head=2,
        n_positions=CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
    )
    config.architectures = ["GPT2LMHeadModel"]
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        model.transformer.wte.weight.zero_()[:, space.slots["token"]] = torch.eye(SIZE)
        model.transformer.wpe.weight.zero_()[:, space.slots["pos"]] = torch.eye(CONTEXT)
        model.transformer.wpe.weight[:, space.slots["const"]] = 1.0
        for block, heads in zip(model.transformer.h, layers, strict=True):
            block.attn.c_attn.weight.copy_(
                torch.cat([getattr(head, part) for part in "qkv" for head in heads], 1)
            )
            block.attn.c_proj.weight.copy_(torch.cat([head.o for head in heads]))
            block.mlp.c_proj.weight.zero_()
    model.save_pretrained(folder)
    _tokenizer(folder)


@functools.cache
def a_planted(recipe: Callable[[Path], None]) -> LanguageModel:
    """The loaded model of one of the recipes below; leave it unchanged."""
    with tempfile.TemporaryDirectory() as folder:
        recipe(Path(folder))
        return load(folder, id="planted", device="cpu", dtype="float32")


def _tokenizer(folder: Path) -> None:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({text: n for n, text in enumerate(words())}, "</s>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?\w+|[^\w\s]"), "isolated")
    raw.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)


def inducing(folder: Path) -> None:
    """Layer 0: heads that look one and two tokens back. Layer 1: head 0 matches one token, head 1
    two; without a match they rest on the start token."""
    space = Space(2 * SIZE + 8, token=SIZE, one=SIZE, two=SIZE, pos=CONTEXT, const=1)
    back = [
        Head(
            space.matrix(("pos", 0, torch.eye(CONTEXT).roll(-steps, 1) * 4.0)),
            space.matrix(("pos", 0, 4.0)),
            space.matrix(("token", 0, 1.0)),
            space.matrix((slot, 0, 0.082)).T,
        )
        for steps, slot in ((1, "one"), (2, "two"))
    ]
    copies = space.matrix(("token", 0, 1.0)), space.matrix(("token", 0, 0.3)).T
    rest_one, rest_two = torch.zeros(SIZE, 1), torch.zeros(SIZE, 1)
    rest_one[0], rest_two[0] = 0.4, 1.4
    strong = 3.0
    one = Head(
        space.matrix(("token", 0, strong), ("const", 2 * SIZE, strong)),
        space.matrix(("one", 0, strong), ("token", 2 * SIZE, rest_one * strong)),
        *copies,
    )
    two = Head(
        space.matrix(("token", 0, strong), ("one", SIZE, strong), ("const", 2 * SIZE, strong)),
        space.matrix(
            ("one", 0, strong), ("two", SIZE, strong), ("token", 2 * SIZE, rest_two * strong)
        ),
        *copies,
    )
    plant(folder, space, [back, [one, two]])


NAMES = ("Mary", "John", "Anne", "Tom", "Paul", "Jane", "Kate", "Mark", "Luke", "Rose")


def name_moving(folder: Path) -> None:
    """Layer 0 head 0 flags a token that stood before; layer 1 head 0 carries the flagged name to
    later places; layer 2 head 0 moves any other name to the output. Second heads do nothing."""
    space = Space(200, token=SIZE, inhibit=SIZE, pos=CONTEXT, const=1, flag=1)
    names, start = torch.zeros(SIZE, 1), torch.zeros(SIZE, 1)
    names[[words().index(f" {name}") for name in NAMES]] = 1.0
    start[0] = 1.0
    wide = SIZE + CONTEXT
    duplicate = Head(
        space.matrix(("token", 0, 3.0), ("pos", SIZE, 3.0), ("const", wide, 3.0)),
        space.matrix(("token", 0, 3.0), ("pos", SIZE, -3.0), ("token", wide, 1.5 * start)),
        space.matrix(("const", 0, 1.0), ("token", 0, -start)),
        space.matrix(("flag", 0, 0.08)).T,
    )
    carry = Head(
        space.matrix(("const", 0, 4.0)),
        space.matrix(("flag", 0, 4.0), ("token", 0, 4.0 * names + 6.0 * start)),
        space.matrix(("token", 0, 1.0)),
        space.matrix(("inhibit", 0, 0.1)).T,
    )
    mover = Head(
        space.matrix(("const", SIZE, 4.0), ("inhibit", 0, -4.0)),
        space.matrix(("token", SIZE, 4.0 * names), ("token", 0, 4.0)),
        space.matrix(("token", 0, 1.0)),
        space.matrix(("token", 0, 0.3)).T,
    )
    idle = space.nothing()
    plant(folder, space, [[duplicate, idle], [carry, idle], [mover, idle]])


def relaying(folder: Path) -> None:
    """Layer 0 head 0 notes the token before; layer 1 head 0 fetches the note from two tokens back:
    at D it has the token at D-3, by way of D-2. Second heads do nothing."""
    space = Space(2 * SIZE + 8, token=SIZE, note=SIZE, far=SIZE, pos=CONTEXT, const=1)

    def fetch(steps: int, read: str, write: str) -> Head:
        return Head(
            space.matrix(("pos", 0, torch.eye(CONTEXT).roll(-steps, 1) * 4.0)),
            space.matrix(("pos", 0, 4.0)),
            space.matrix((read, 0, 1.0)),
            space.matrix((write, 0, 0.3)).T,
        )

    idle = space.nothing()
    plant(folder, space, [[fetch(1, "token", "note"), idle], [fetch(2, "note", "far"), idle]])
