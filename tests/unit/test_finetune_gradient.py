"""Vectors and gradients do not depend on how a batch is cut."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from topics import RECIPE, loaded, make
from transformers import LlamaConfig, LlamaModel, MptModel

from retscale.finetune.config import Recipe
from retscale.finetune.embed import Embedder
from retscale.finetune.gradient import Gradient
from retscale.finetune.loss import info_nce, own_mask, pool_mask
from retscale.model.attention import use_fused
from retscale.study.catalog import merge

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def data(study):
    return loaded(study)


@pytest.fixture
def model(study):
    found = MptModel.from_pretrained(study / "model")
    use_fused(found)
    return found


def embedder(model, data, budget=4096, **options):
    return Embedder(model, data, 0, "mean", budget, CPU, **options)


def gradient(model, data, rows=np.arange(8), micro=8, budget=4096, seeds=None, **recipe):
    """(loss, flat gradient) of the engine."""
    model.zero_grad()
    recipe = Recipe.model_validate(merge(RECIPE, recipe))
    seen = []
    engine = Gradient(Accelerator(cpu=True), embedder(model, data, budget), recipe, micro)
    loss, real, padding = engine(np.asarray(rows), lambda part: (seen.append(part), torch.manual_seed(part)))
    if seeds is not None:
        seeds += seen
    return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()])


def plain(model, data, rows, negatives="own", temperature=0.05):
    """(loss, flat gradient) of a loop without micro-batches, buckets or shared texts."""
    model.zero_grad()
    unit = lambda ids: torch.nn.functional.normalize(
        model(torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state.mean(1), dim=-1
    )[0]
    queries = torch.stack([unit(data.query_tokens[data.query[row]]) for row in rows])
    groups = torch.stack([torch.stack([unit(data.passage_tokens[i]) for i in data.group[row]]) for row in rows])
    ids, positives = torch.from_numpy(data.copy_of[data.group[rows]]), torch.from_numpy(data.positives[rows])
    own = negatives == "own"
    masked = own_mask(ids, positives) if own else pool_mask(ids, positives, 0)
    loss = info_nce(queries, groups, masked, temperature, None if own else 0)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()])


def same(found, expected, tolerance=1e-5):
    assert found[0] == pytest.approx(expected[0], rel=tolerance)
    assert (found[1] - expected[1]).abs().max() / expected[1].abs().max() < tolerance


@pytest.mark.parametrize("micro", [8, 4, 2, 1])
@pytest.mark.parametrize("negatives", ["own", "global"])
@pytest.mark.parametrize("temperature", [0.01, 0.3])
def test_any_split_gives_the_gradient_of_the_plain_loop(model, data, negatives, micro, temperature):
    """With `global` negatives the parts are cached gradients: a lost temperature would scale these."""
    rows = np.array([3, 15, 27, 27, 40, 41, 5, 90])  # one twice, and some that share passages
    found = gradient(model, data, rows, micro, negatives=negatives, temperature=temperature)
    same(found, plain(model, data, rows, negatives, temperature))


@pytest.mark.parametrize("budget", [1, 16, 64, 10_000])
def test_length_buckets_change_nothing(model, data, budget):
    same(gradient(model, data, budget=budget), plain(model, data, np.arange(8)))


def test_the_order_of_a_batch_changes_nothing(model, data):
    same(gradient(model, data, np.arange(8)[::-1].copy()), plain(model, data, np.arange(8)))


def test_cached_gradients_see_the_same_dropout_twice(study, data):
    """Each chunk is encoded twice; were its dropout drawn anew, its gradient would not be that of its loss."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=98,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        attention_dropout=0.5,
    )
    model = LlamaModel(config).train()
    seeds = []
    found = gradient(model, data, micro=4, negatives="global", seeds=seeds)
    assert seeds == [0, 1, 0, 1]
    model.zero_grad()
    embed, parts = embedder(model, data), []
    for part in (0, 1):
        torch.manual_seed(part)
        parts.append(embed(np.arange(8)[part * 4 : part * 4 + 4])[:2])
    queries, groups = map(torch.cat, zip(*parts))
    ids, positives = torch.from_numpy(data.copy_of[data.group[:8]]), torch.from_numpy(data.positives[:8])
    loss = info_nce(queries, groups, pool_mask(ids, positives, 0), 0.05, 0)
    loss.backward()
    same(found, (loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()])))


def test_embed_puts_every_text_in_its_place(model, data):
    rows = np.array([7, 2, 2, 40])
    with torch.no_grad():
        queries, passages, real, padding = embedder(model, data, 40)(rows)
        alone = lambda ids: torch.nn.functional.normalize(
            model(torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state.mean(1), dim=-1
        )[0]
        for i, row in enumerate(rows):
            torch.testing.assert_close(queries[i], alone(data.query_tokens[data.query[row]]), atol=1e-5, rtol=0)
            for n in range(4):
                expected = alone(data.passage_tokens[data.group[row, n]])
                torch.testing.assert_close(passages[i, n], expected, atol=1e-5, rtol=0)
    texts = [data.query_tokens[i] for i in {*data.query[rows]}] + [
        data.passage_tokens[i] for i in {*data.group[rows].flatten()}
    ]
    assert real == sum(map(len, texts)) and padding >= 0  # a text that occurs twice is encoded once
    assert embedder(model, data, 40).padded(rows) == real + padding


@pytest.mark.parametrize("forwards", [0, 3, 9])
def test_more_forwards_than_needed_change_nothing(model, data, forwards):
    """As under FSDP, where all processes must make the same number."""
    calls = []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        queries, passages, real, _ = embedder(model, data)(np.arange(4), forwards)
        made = len(calls)
        expected = embedder(model, data)(np.arange(4))
    handle.remove()
    assert made == max(1, forwards) and real == expected[2]
    torch.testing.assert_close(queries, expected[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(passages, expected[1], atol=1e-6, rtol=0)


def test_a_causal_model_needs_no_mask_and_another_does(model, data):
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(vocab_size=98, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    bert = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for network, differs in ((model.eval(), False), (bert, True)):
            told, blind = (embedder(network, data, needs_mask=masked)(np.arange(8))[1] for masked in (True, False))
            assert ((told - blind).abs().max() > 1e-3) == differs
