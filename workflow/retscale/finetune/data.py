"""Training examples as token ids and passage numbers, and the order in which they are seen."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from retscale.finetune.config import Recipe
from retscale.finetune.groups import Known, Mined, Passages, groups
from retscale.model.prompt import instructed
from retscale.tokens.file import Chosen, Tokens


@dataclass(frozen=True)
class DataSet:
    """A training data set: the folder of pairs.parquet and passages.parquet, its negatives.parquet, the tokens of both
    tables, row by row, and `copies` (passages,) uint64, equal for passages that are copies of each other.
    `instruction`: what precedes its queries."""

    folder: Path
    negatives: Path
    queries: Tokens
    passages: Tokens
    copies: np.ndarray
    instruction: str | None = None


@dataclass(frozen=True)
class Examples:
    """One example per pair, data set after data set.

    sizes: examples of each data set; query: (pairs,) number of the query text; group: (pairs, 1 + n) numbers of its
    passages, the positive first; copy_of: (passages,) the first passage that each is a copy of, itself if there is none;
    positives: (pairs, m) all known positives of the query in numbers of `copy_of`, padded with -1; query_tokens,
    passage_tokens: token ids of each text, by number; n_filled: negatives that were filled in.
    """

    sizes: tuple[int, ...]
    query: np.ndarray
    group: np.ndarray
    copy_of: np.ndarray
    positives: np.ndarray
    query_tokens: Chosen
    passage_tokens: Chosen
    n_filled: int

    def __len__(self) -> int:
        return len(self.query)


def examples(data_sets: list[DataSet], recipe: Recipe, seed: int) -> Examples:
    """The examples of each data set. An id means the same text in every data set, and a text under another instruction is
    another query.

    No text is read: rows, which count through the tables of all data sets, stand for passages. Queries are numbered as
    they first occur, passages by id, those of a group before the others.
    Raises UserError for a passage that is missing, and for too few negatives if the recipe refuses them.
    """
    pairs = pd.concat([_pairs(data_set, recipe.max_pairs) for data_set in data_sets], keys=range(len(data_sets)))
    ids = [pq.read_table(x.folder / "passages.parquet", columns=["passage_id"])["passage_id"] for x in data_sets]
    passages = Passages.make(ids, [x.copies for x in data_sets])
    positive, (query, _) = passages.rows(pa.array(pairs["passage_id"])), pd.factorize(pairs["asked"])
    known = Known.make(query, positive)
    parts, n_filled = [], 0
    for number, data_set in enumerate(data_sets):
        rows = np.flatnonzero(pairs["taken"] & (pairs.index.get_level_values(0) == number))
        mined, query_ids = Mined.read(data_set.negatives, passages), pairs["query_id"].to_numpy(object)[rows]
        part, n_new = groups(query_ids, query[rows], positive[rows], known, mined, recipe, seed, passages, number)
        parts, n_filled = [*parts, part], n_filled + n_new
    group, taken = np.concatenate(parts), np.flatnonzero(pairs["taken"])
    used = passages.by_id(np.unique(group))
    # A positive that is in no group may have a copy that is.
    others = passages.by_id(np.setdiff1d(np.concatenate([known[q] for q in np.unique(query[taken])]), used))
    rows = np.concatenate([used, others])
    number = np.empty(len(passages.ids), np.int64)
    number[rows] = np.arange(len(rows))
    _, first, inverse = np.unique(passages.copies[rows], return_index=True, return_inverse=True)
    copy_of = first[inverse]
    positives = np.full((len(taken), known.most()), -1)
    for row, q in zip(positives, query[taken]):
        row[: len(known[q])] = np.sort(copy_of[number[known[q]]])
    query, _ = pd.factorize(query[taken])
    first = np.unique(query, return_index=True)[1]
    return Examples(
        sizes=tuple(map(len, parts)),
        query=query,
        group=number[group],
        copy_of=copy_of[: len(used)],
        positives=positives,
        query_tokens=Chosen([x.queries for x in data_sets], taken[first]),
        passage_tokens=Chosen([x.passages for x in data_sets], used),
        n_filled=n_filled,
    )


def _pairs(data_set: DataSet, limit: int | None) -> pd.DataFrame:
    """query_id and passage_id of all pairs, the query as it is `asked`, and whether a pair is `taken`."""
    pairs = pd.read_parquet(data_set.folder / "pairs.parquet", columns=["query_id", "passage_id"])
    asked = (
        [instructed(data_set.instruction, id) for id in pairs["query_id"]]
        if data_set.instruction
        else pairs["query_id"]
    )
    return pairs.assign(asked=asked, taken=np.isin(np.arange(len(pairs)), thinned(len(pairs), limit)))


def thinned(count: int, limit: int | None) -> np.ndarray:
    """At most `limit` of `count` rows, spread over the table, which may be sorted; the same for every seed and checkpoint."""
    if limit is None or limit >= count:
        return np.arange(count)
    return np.linspace(0, count - 1, limit).round().astype(int)


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
