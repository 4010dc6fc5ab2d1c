"""Training examples as token ids and passage numbers, and the order in which they are seen."""

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from retscale.common import seeds
from retscale.common.copies import fingerprints, key
from retscale.errors import UserError
from retscale.finetune.config import Recipe
from retscale.model.tokenize import token_ids


@dataclass(frozen=True)
class Examples:
    """One example per pair, data set after data set.

    sizes: examples of each data set; query: (pairs,) number of the query text; group: (pairs, 1 + n) numbers of its
    passages, the positive first; copy_of: (passages,) the first passage that each is a copy of, itself if there is none;
    positives: (pairs, m) all known positives of the query in numbers of `copy_of`, padded with -1; query_tokens,
    passage_tokens: token ids of each text, by number; counts: what was cut or filled in, counted.
    """

    sizes: tuple[int, ...]
    query: np.ndarray
    group: np.ndarray
    copy_of: np.ndarray
    positives: np.ndarray
    query_tokens: list[np.ndarray]
    passage_tokens: list[np.ndarray]
    counts: dict[str, int]

    def __len__(self) -> int:
        return len(self.query)


def examples(
    sources: list[tuple[Path, Path]], recipe: Recipe, seed: int, tokenizer: PreTrainedTokenizerBase
) -> Examples:
    """The examples of each data set, given as (folder of pairs.parquet and passages.parquet, negatives.parquet).

    Only texts that an example uses are tokenized, each once: an id means the same text in every data set.
    Raises UserError for an empty text, and for too few negatives if the recipe refuses them.
    """
    tables, collections, texts, known, groups_of_pairs, n_filled = [], [], {}, defaultdict(set), [], 0
    for folder, _ in sources:
        pairs = pd.read_parquet(folder / "pairs.parquet")
        for query_id, passage_id in zip(pairs["query_id"], pairs["passage_id"]):
            known[query_id].add(passage_id)
        tables.append(thinned(pairs, recipe.max_pairs))
        passages = pd.read_parquet(folder / "passages.parquet").set_index("passage_id")["text"].to_dict()
        collections.append(sorted(passages))
        texts |= passages
    for pairs, collection, (_, negatives) in zip(tables, collections, sources):
        new_groups, n_new = groups(pairs, known, pd.read_parquet(negatives), recipe, seed, collection, texts)
        groups_of_pairs, n_filled = [*groups_of_pairs, *new_groups], n_filled + n_new
    pairs = pd.concat(tables, ignore_index=True)
    used = sorted({id for ids in groups_of_pairs for id in ids})
    # A positive that is in no group may have a copy that is.
    passages = [*used, *sorted({id for query_id in pairs["query_id"] for id in known[query_id]}.difference(used))]
    queries = dict(zip(pairs["query_id"], pairs["query"]))
    for kind, ids, text in (("passage", passages, texts), ("query", queries, queries)):
        for id in ids:
            if not text.get(id, "").strip():
                raise UserError(
                    f"{kind} {id} is {'empty' if id in text else 'missing from passages.parquet'}; run the pairs stage again"
                )
    _, first, inverse = np.unique(fingerprints(texts[id] for id in passages), return_index=True, return_inverse=True)
    copy_of = first[inverse]
    number = {id: i for i, id in enumerate(passages)}
    query_number = {id: i for i, id in enumerate(queries)}
    positives = np.full((len(pairs), max(map(len, known.values()))), -1)
    for row, id in zip(positives, pairs["query_id"]):
        row[: len(known[id])] = sorted(copy_of[[number[passage] for passage in known[id]]])
    query_tokens = token_ids(tokenizer, list(queries.values()), recipe.prompt, "query")
    passage_tokens = token_ids(tokenizer, [texts[id] for id in used], recipe.prompt, "passage")
    return Examples(
        sizes=tuple(map(len, tables)),
        query=pairs["query_id"].map(query_number).to_numpy(),
        group=np.array([[number[id] for id in ids] for ids in groups_of_pairs]),
        copy_of=copy_of[: len(used)],
        positives=positives,
        query_tokens=query_tokens.ids,
        passage_tokens=passage_tokens.ids,
        counts={"queries_cut": query_tokens.cut, "passages_cut": passage_tokens.cut, "negatives_filled": n_filled},
    )


def thinned(pairs: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """At most `limit` pairs, spread over the table, which may be sorted; the same for every seed and checkpoint."""
    if limit is None or limit >= len(pairs):
        return pairs
    return pairs.iloc[np.linspace(0, len(pairs) - 1, limit).round().astype(int)]


def groups(
    pairs: pd.DataFrame,
    known: dict[str, set[str]],
    negatives: pd.DataFrame,
    recipe: Recipe,
    seed: int,
    passages: list[str],
    texts: dict[str, str],
) -> tuple[list[list[str]], int]:
    """For each pair the passage ids of its group, the positive and then n negatives, and how many were filled in.

    Fillers are drawn from `passages` by (seed, query) alone; none is a copy of a positive (`known`) or of a negative of
    the query. Raises UserError if negatives are missing and the recipe refuses that, or if there are too few passages.
    """
    n = recipe.n_negatives
    mined = dict(zip(negatives["query_id"], negatives["negatives"]))
    result, n_filled = [], 0
    for query_id, passage_id in zip(pairs["query_id"], pairs["passage_id"]):
        chosen = list(mined.get(query_id, ()))[:n]
        if (n_missing := n - len(chosen)) and recipe.too_few == "refuse":
            raise UserError(
                f"query {query_id} has {len(chosen) or 'no'} mined negatives, but the recipe's n_negatives is {n}; "
                "raise mine.top or mine.negatives, lower n_negatives, or let `too_few: fill` add random passages"
            )
        if n_missing:
            used_keys, tried = {key(texts[id]) for id in known[query_id] | set(chosen)}, set()
            generator = seeds.of_query(seed, query_id)
            while len(chosen) < n:
                if len(tried) == len(passages):
                    free = len(chosen) - n + n_missing
                    raise UserError(
                        f"query {query_id} is short of {n_missing} negatives, but only {free} passages can replace them"
                    )
                filler = passages[generator.integers(len(passages))]
                if filler not in tried and (text := key(texts[filler])) not in used_keys:
                    chosen.append(filler)
                    used_keys.add(text)
                tried.add(filler)
            n_filled += n_missing
        result.append([passage_id, *chosen])
    return result, n_filled


@dataclass(frozen=True)
class Order:
    """Which examples each step sees: a function of (seed, step) alone, so that training can resume at any step.

    Every batch is from one data set, so that negatives of the pool are of its kind. The data sets alternate so that
    after any number of steps each has had its share, to within a batch. Each goes through seeded permutations of its
    examples, one after another.
    """

    seed: int
    batch: int
    sizes: tuple[int, ...]
    step_dataset: np.ndarray  # (steps,) the data set of each step
    step_batch: np.ndarray  # (steps,) the number of the batch among those of that data set

    @classmethod
    def make(cls, seed: int, batch: int, sizes: tuple[int, ...], weights: list[float | None], steps: int) -> "Order":
        """`weights`: relative shares of the data sets, or None for each, which means its size."""
        share = np.asarray(sizes if None in weights else weights, dtype=np.float64)
        share /= share.sum()
        step_dataset, step_batch, n_batches = (
            np.empty(steps, dtype=np.int64),
            np.empty(steps, dtype=np.int64),
            np.zeros(len(sizes), dtype=int),
        )
        for step in range(steps):
            step_dataset[step] = np.argmax(share * (step + 1) - n_batches)
            step_batch[step] = n_batches[step_dataset[step]]
            n_batches[step_dataset[step]] += 1
        return cls(seed, batch, tuple(sizes), step_dataset, step_batch)

    def rows(self, step: int) -> np.ndarray:
        """The examples of a step: (batch,) int64."""
        dataset = int(self.step_dataset[step])
        size = self.sizes[dataset]
        positions = np.arange(self.step_batch[step] * self.batch, (self.step_batch[step] + 1) * self.batch)
        rows = [
            _permutation(self.seed, dataset, position // size, size)[position % size] for position in positions.tolist()
        ]
        return sum(self.sizes[:dataset]) + np.array(rows)

    def unseen(self) -> int:
        """Examples that no step sees."""
        seen = np.bincount(self.step_dataset, minlength=len(self.sizes)) * self.batch
        return int(np.maximum(0, np.array(self.sizes) - seen).sum())


@lru_cache(maxsize=8)
def _permutation(seed: int, dataset: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng([seed, dataset, epoch]).permutation(size)
