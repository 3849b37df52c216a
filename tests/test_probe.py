"""What experiments ask of a model agrees with its own logits, in families of different build."""

import pytest
import torch

from atlas.lens.logits import head_logits
from atlas.model.probe import attended, embeddings, ends_each, z_gradients
from tests.models import a_model, some_tokens

FAMILIES = ("gpt2", "gpt_neox", "llama", "gemma2")


@pytest.mark.parametrize("family", FAMILIES)
def test_ends_under_an_edit_give_the_logits_of_the_edited_run(family):
    model, tokens, at = a_model(family), some_tokens(2), torch.tensor([11, 7])
    edit = {1: lambda z: z * 0.5}
    clean, edited = ends_each(model, tokens, at, [{}, edit])
    columns, bias = model.unembed(torch.arange(model.info.vocab_size))
    for end, edits in ((clean, {}), (edited, edit)):
        logits = model.passes.run(tokens, ["unembed.hook_out"], edits=edits)[0]["unembed.hook_out"]
        torch.testing.assert_close(end @ columns.T + bias, logits[torch.arange(2), at])


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_foretell_what_a_small_step_of_z_does(family):
    model, tokens, at = a_model(family), some_tokens(2), torch.tensor([11, 7])
    draw = torch.Generator().manual_seed(0)
    direction = torch.randn(2, 32, generator=draw)
    found = z_gradients(model, tokens, at, direction, [0, 1, 2])
    step = torch.randn(found[1].shape, generator=draw) * 1e-3
    clean, moved = ends_each(model, tokens, at, [{}, {1: lambda z: z + step}])
    change = ((moved - clean) * direction).sum(-1)
    torch.testing.assert_close(change, (found[1] * step).sum((1, 2, 3)), rtol=0.03, atol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_direct_effects_of_the_last_layers_heads_are_what_they_add_to_a_logit(family):
    model, tokens, layer = a_model(family), some_tokens(2), 2
    seen, rows, at = attended(model, tokens, [layer]), torch.arange(2), torch.tensor([11, 7])
    column, _ = model.unembed(torch.tensor([5, 9]))
    read = model.final_norm.pull(column, seen.final_scale[rows, at])
    z, own, post = seen.layers[layer].z[rows, at], model.layer(layer), seen.post_scale[layer]
    given = head_logits(z, own, post[rows, at], read)
    for head in range(4):
        out = own.post.apply(z[:, head].float() @ own.w_o[head], post[rows, at])
        normed = model.final_norm.apply(out, seen.final_scale[rows, at])
        torch.testing.assert_close(given[:, head], (normed * column).sum(-1))


def test_an_edit_of_embeddings_changes_what_comes_after_and_nothing_before():
    model, tokens = a_model("llama"), some_tokens(2)
    mean = embeddings(model, tokens)[:, 1:].mean((0, 1))

    def edit(x):
        x = x.clone()
        x[:, 5] = mean
        return x

    plain, edited = (attended(model, tokens, [2], e).layers[2].z for e in (None, edit))
    assert torch.equal(plain[:, :5], edited[:, :5])
    assert (plain[:, 5:] - edited[:, 5:]).abs().amax((1, 2, 3)).min() > 1e-4
