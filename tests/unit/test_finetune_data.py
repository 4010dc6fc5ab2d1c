"""Which examples there are, and in which order they are seen."""

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from topics import RECIPE, describe, loaded, make

from retscale.common.copies import fingerprints
from retscale.errors import UserError
from retscale.finetune.config import Recipe
from retscale.finetune.data import Order, thinned
from retscale.finetune.groups import Known, Mined, Passages, groups
from retscale.finetune.loss import own_mask, pool_mask
from retscale.finetune.schedule import learning_rate
from retscale.model.load import load_tokenizer
from retscale.model.prompt import Prompt
from retscale.model.tokenize import token_ids


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make(tmp_path_factory.mktemp("study"))


def test_texts_are_those_of_the_tables(study):
    data, tokenizer = loaded(study, max_pairs=50), load_tokenizer(study / "model")
    passages = pd.read_parquet(study / "passages.parquet").set_index("passage_id")["text"]
    pairs, prompt = pd.read_parquet(study / "pairs.parquet"), Prompt(**RECIPE["prompt"])
    rows = thinned(len(pairs), 50)
    positives = [data.passage_tokens[i] for i in data.group[:, 0]]
    for tokens, texts, side in (
        ([data.query_tokens[i] for i in data.query], pairs["query"].iloc[rows], "query"),
        (positives, passages[pairs["passage_id"].iloc[rows]], "passage"),
    ):
        expected = token_ids(tokenizer, texts.tolist(), prompt, side).ids
        assert all(map(np.array_equal, tokens, expected)) and len(tokens) == len(expected) == 50


def one(seed=5, batch=7, size=30, steps=60):
    return Order.make(seed, batch, (size,), [None], steps)


def test_order_is_a_permutation_and_stateless():
    seen = np.concatenate([one().rows(step) for step in range(60)])
    assert len(seen) == 420
    for epoch in range(14):
        assert sorted(seen[epoch * 30 : (epoch + 1) * 30]) == list(range(30))
    assert one().rows(42).tolist() == seen[42 * 7 : 43 * 7].tolist()
    assert not np.array_equal(seen[:30], seen[30:60])
    assert one(seed=6).rows(0).tolist() != one().rows(0).tolist()


def test_order_does_not_depend_on_how_long_the_training_is():
    assert [one(steps=9).rows(step).tolist() for step in range(9)] == [one().rows(step).tolist() for step in range(9)]


@pytest.mark.parametrize("weights, shares", [([1.0, 3.0, 4.0], [0.125, 0.375, 0.5]), ([None] * 3, [0.5, 0.2, 0.3])])
def test_data_sets_take_turns_by_their_weights(weights, shares):
    sizes = (100, 40, 60)
    order = Order.make(1, 8, sizes, weights, 80)
    had = np.zeros(3)
    seen = [[], [], []]
    for step in range(80):
        rows = order.rows(step)
        which = {int(np.searchsorted(np.cumsum(sizes), row, side="right")) for row in rows}
        assert len(which) == 1  # a batch is of one data set
        had[which.copy().pop()] += 1
        seen[which.pop()] += rows.tolist()
        assert (np.abs(had - np.array(shares) * (step + 1)) < 1.5).all()
    for rows, size in zip(seen, sizes):
        epochs = [sorted(rows[i : i + size]) for i in range(0, len(rows) - size + 1, size)]
        assert all(epoch == sorted(set(rows)) and len(epoch) == size for epoch in epochs)
    unseen = sum(size - len(set(rows)) for rows, size in zip(seen, sizes))
    assert order.unseen() == unseen


def test_learning_rate_rises_to_the_peak_and_falls_to_the_floor():
    rates = [learning_rate(step, 100, 1.0, 0.06, 0.02) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 6) and rates[5] == 1.0 and rates[6] == 1.0
    assert rates[-1] == pytest.approx(0.02) and all(a >= b for a, b in zip(rates[5:], rates[6:]))
    assert rates[52] == pytest.approx(0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * 46 / 93)))
    assert [learning_rate(0, 1, 1.0, 0.0, 0.02)] == [1.0]


def test_a_linear_decay_falls_by_the_same_at_every_step():
    rates = [learning_rate(step, 12, 3.0, 0.17, 0.0, "linear") for step in range(12)]
    assert rates[:2] == [1.5, 3.0] and rates[-1] == 0.0
    assert [a - b for a, b in zip(rates[2:], rates[3:])] == pytest.approx([3.0 / 9] * 9)


def grouped(pairs, negatives, n=2, too_few="refuse", passages="abcdefgh", seed=0, **texts):
    """Ids of the passages of each group; a passage's text is its id, or as given."""
    table = Passages.make([pa.array([*passages])], [fingerprints(texts.get(id, id) for id in passages)])
    queries, rows = np.array([query for query, _ in pairs]), table.rows(pa.array([id for _, id in pairs]))
    query = np.unique(queries, return_inverse=True)[1]
    lengths = np.cumsum([0, *map(len, negatives.values())])
    mined = Mined(
        pa.array([*negatives], pa.large_string()),
        table.rows(pa.array([id for ids in negatives.values() for id in ids], pa.string())),
        lengths,
    )
    recipe = Recipe(n_negatives=n, too_few=too_few)
    rows_of_groups, filled = groups(queries, query, rows, Known.make(query, rows), mined, recipe, seed, table)
    return [[passages[row] for row in group] for group in rows_of_groups.tolist()], filled


def test_groups_start_with_the_pairs_own_positive():
    rows_of_groups, filled = grouped([("q", "a"), ("q", "b"), ("r", "a")], {"q": ["c", "d", "e"], "r": ["d", "c", "e"]})
    assert rows_of_groups == [["a", "c", "d"], ["b", "c", "d"], ["a", "d", "c"]] and filled == 0


@pytest.mark.parametrize("negatives, says", [({"q": ["c"]}, "query q has 1 mined"), ({}, "query q has no mined")])
def test_too_few_negatives_are_refused(negatives, says):
    with pytest.raises(UserError, match=f"{says} negatives, but the recipe's n_negatives is 2"):
        grouped([("q", "a")], negatives)


def test_or_filled_in_from_passages_that_are_neither_positive_nor_negative():
    pairs = [("q", "a"), ("q", "b"), ("r", "a")]
    rows_of_groups, filled = grouped(pairs, {"q": ["c"]}, n=5, too_few="fill")
    assert filled == 4 + 4 + 5
    for (_, positive), known, group in zip(pairs, ("ab", "ab", "a"), rows_of_groups):
        assert group[0] == positive and len(set(group)) == 6 and not set(group[1:]) & set(known)
    assert (
        rows_of_groups[0][1] == rows_of_groups[1][1] == "c" and rows_of_groups[0][2:] == rows_of_groups[1][2:]
    )  # by query
    assert rows_of_groups != grouped(pairs, {"q": ["c"]}, n=5, too_few="fill", seed=1)[0]
    alone = grouped(pairs[2:], {}, n=5, too_few="fill")[0]
    assert alone == rows_of_groups[2:]  # whatever else there is
    with pytest.raises(UserError, match="query q is short of 6 negatives, but only 5 passages can replace them"):
        grouped(pairs, {"q": ["c"]}, n=7, too_few="fill")


def test_no_copy_of_a_positive_or_a_negative_fills_in():
    copies = {"b": "A!", "e": "(c)", "g": "f"}
    rows_of_groups, _ = grouped([("q", "a")], {"q": ["c"]}, n=4, too_few="fill", **copies)
    assert rows_of_groups[0][:2] == ["a", "c"] and set(rows_of_groups[0][2:]) - {"f", "g"} == {"d", "h"}
    with pytest.raises(UserError, match="query q is short of 4 negatives, but only 3 passages can replace them"):
        grouped([("q", "a")], {"q": ["c"]}, n=5, too_few="fill", **copies)


def test_copies_of_a_positive_are_masked_and_a_passage_counts_once(tmp_path):
    """p090 to p095 copy p000, a positive that no example has, p001 and p002."""
    folder = make(tmp_path)
    pairs, passages = (pd.read_parquet(folder / f"{name}.parquet") for name in ("pairs", "passages"))
    pairs = pairs[:3].assign(query_id=["q", "q", "r"], query=["t1w0", "t1w0", "t2w0"])
    for copy, text in zip(range(90, 96), [*passages["text"][:3]] * 2):
        passages.loc[copy, "text"] = f"Title -- {text.upper()}."
    negatives = {"query_id": ["q", "r"], "negatives": [["p090", "p010", "p094"], ["p091", "p011", "p094"]]}
    pairs.to_parquet(folder / "pairs.parquet")
    passages.to_parquet(folder / "passages.parquet")
    pd.DataFrame(negatives).to_parquet(folder / "negatives.parquet")
    describe(folder)
    data = loaded(folder, max_pairs=1)
    assert len(data) == 1
    ids, positives = (torch.from_numpy(x) for x in (data.copy_of[data.group], data.positives))
    assert own_mask(ids, positives).tolist() == [[False, True, False, True]]
    data = loaded(folder)
    ids, positives = (torch.from_numpy(x) for x in (data.copy_of[data.group], data.positives))
    assert own_mask(ids, positives).tolist() == [[False, True, False, True]] * 2 + [[False, False, False, True]]
    # Of the three groups: (p000 p090 p010 p094) (p001 p090 p010 p094) (p002 p091 p011 p094); p094 is p001 again.
    assert pool_mask(ids, positives, 0).tolist() == [
        [False, True, False, True] + [True] * 4 + [False, True, False, True],
        [True, True, False, True, False, True, True, True] + [False, True, False, True],
        [False, True, False, False] + [True] * 4 + [False, True, False, True],
    ]


def test_max_pairs_takes_the_same_spread_of_pairs(study):
    assert thinned(101, 5).tolist() == [0, 25, 50, 75, 100] and thinned(101, 101).tolist() == [*range(101)]
    assert len(loaded(study, max_pairs=10)) == 10


def test_a_positive_that_was_thinned_out_is_known_all_the_same(tmp_path):
    folder = make(tmp_path)
    pairs = pd.read_parquet(folder / "pairs.parquet")
    pairs.loc[1, "query_id"] = "q000"  # two positives, p000 and p001, of which one is left
    negatives = pd.read_parquet(folder / "negatives.parquet")
    negatives.at[95, "negatives"] = np.array(["p001", "p002", "p003", "p004"])
    pairs.to_parquet(folder / "pairs.parquet")
    negatives.to_parquet(folder / "negatives.parquet")
    describe(folder)
    data = loaded(folder, max_pairs=2)
    assert len(data) == 2
    assert {*data.copy_of[[data.group[1, 1], data.group[0, 0]]]} <= {*data.positives[0]}


def test_two_data_sets_share_texts_by_id(study):
    """The same data set twice has twice the examples and no text twice."""
    once, twice = loaded(study), loaded(study, times=2)
    assert once.sizes == (96,) and twice.sizes == (96, 96)
    assert len(twice.passage_tokens) == len(once.passage_tokens)
    assert np.array_equal(twice.group, np.concatenate([once.group] * 2))


@pytest.mark.slow
def digest(study: Path) -> str:
    data = loaded(study, too_few="fill", n_negatives=6)
    arrays = (data.group, data.copy_of, data.positives, data.query)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def test_examples_depend_on_no_hash_seed_and_no_order_of_files(study, tmp_path):
    program = (
        "import sys; from pathlib import Path; sys.path[:0] = sys.argv[2:]; "
        "from test_finetune_data import digest; print(digest(Path(sys.argv[1])))"
    )
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    for path in study.iterdir():
        (shuffled / path.name).symlink_to(path)
    for name in ("passages", "negatives"):
        (shuffled / f"{name}.parquet").unlink()
        table = pd.read_parquet(study / f"{name}.parquet")
        table.sample(frac=1, random_state=1).to_parquet(shuffled / f"{name}.parquet")
    (shuffled / "pairs.json").unlink()
    describe(shuffled)
    elsewhere = subprocess.run(
        [sys.executable, "-c", program, str(shuffled), *(str(place) for place in Path(__file__).parents[:2])],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert digest(study) == elsewhere.strip()
