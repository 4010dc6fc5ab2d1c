"""The passages of each example, as row numbers: its positive, then its negatives."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retscale.common import seeds
from retscale.errors import UserError
from retscale.finetune.config import Recipe


@dataclass(frozen=True)
class Passages:
    """The passages of all data sets, whose rows count through their tables one after another.

    ids: (rows,) of strings, where an id that is repeated stands for its first row; copies: (rows,) uint64, equal for
    copies; starts: the first row of each data set, and the end.
    """

    ids: pa.LargeStringArray
    copies: np.ndarray
    starts: np.ndarray

    @classmethod
    def make(cls, ids: list[pa.Array | pa.ChunkedArray], copies: list[np.ndarray]) -> "Passages":
        """`ids` and `copies` of each data set."""
        parts = pa.chunked_array([pa.array(chunk, pa.large_string()) for part in ids for chunk in _chunks(part)])
        return cls(parts.combine_chunks(), np.concatenate(copies), np.cumsum([0, *map(len, ids)]))

    def rows(self, ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """The row of each id: int64. UserError if there is none."""
        ids = pc.cast(ids, pa.large_string())
        rows = pc.index_in(ids, value_set=self.ids)
        if rows.null_count:
            unknown = ids.filter(pc.is_null(rows))[0].as_py()
            raise UserError(f"passage {unknown} is missing from passages.parquet; run the pairs stage again")
        return rows.to_numpy().astype(np.int64)

    def by_id(self, rows: np.ndarray) -> np.ndarray:
        """The rows in the order of their ids."""
        return rows[pc.sort_indices(self.ids.take(pa.array(rows))).to_numpy()]

    def of(self, data_set: int) -> np.ndarray:
        """All rows of a data set in the order of their ids."""
        return self.by_id(self.rows(self.ids[self.starts[data_set] : self.starts[data_set + 1]]))


def _chunks(ids: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]


@dataclass(frozen=True)
class Known:
    """The positives of each query: those of query q are rows[starts[q] : starts[q + 1]]."""

    rows: np.ndarray
    starts: np.ndarray

    @classmethod
    def make(cls, query: np.ndarray, row: np.ndarray) -> "Known":
        """From pairs of a query's number and a passage's row."""
        width = int(row.max()) + 1
        pairs = np.unique(query * width + row)
        return cls(pairs % width, np.concatenate([[0], np.cumsum(np.bincount(pairs // width))]))

    def __getitem__(self, query: int) -> np.ndarray:
        return self.rows[self.starts[query] : self.starts[query + 1]]

    def most(self) -> int:
        """How many a query has at most."""
        return int(np.diff(self.starts).max())


@dataclass(frozen=True)
class Mined:
    """The negatives of each query, best first: those of query_ids[i] are rows[starts[i] : starts[i + 1]]."""

    query_ids: pa.Array
    rows: np.ndarray
    starts: np.ndarray

    @classmethod
    def read(cls, path: Path, passages: Passages) -> "Mined":
        table = pq.read_table(path, columns=["query_id", "negatives"]).combine_chunks()
        lengths = pc.fill_null(pc.list_value_length(table["negatives"]), 0).to_numpy()
        rows = passages.rows(pc.list_flatten(table["negatives"]))
        return cls(pc.cast(table["query_id"], pa.large_string()), rows, np.concatenate([[0], np.cumsum(lengths)]))

    def first(self, query_ids: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """(queries, n) rows of the first `n` negatives of each query, -1 where it has fewer, and how many it has (of n)."""
        place = pc.index_in(pa.array(query_ids, pa.large_string()), value_set=self.query_ids)
        place = pc.fill_null(place, -1).to_numpy()
        has = np.where(place < 0, 0, np.minimum(np.diff(self.starts)[place], n)) if len(self.query_ids) else 0 * place
        rows = np.full((len(place), n), -1)
        at, column = np.nonzero(np.arange(n) < has[:, None])
        rows[at, column] = self.rows[self.starts[place[at]] + column]
        return rows, has


def groups(
    query_ids: np.ndarray,
    query: np.ndarray,
    positives: np.ndarray,
    known: Known,
    mined: Mined,
    recipe: Recipe,
    seed: int,
    passages: Passages,
    data_set: int = 0,
) -> tuple[np.ndarray, int]:
    """For each pair the rows of its group, the positive and then n negatives (pairs, 1 + n), and how many were filled in.

    A pair is a query, by id and by number in `known`, and the row of its positive. Fillers are drawn from the passages of
    the data set by (seed, query) alone; none is a copy of a positive or of a negative of the query. Raises UserError if
    negatives are missing and the recipe refuses that, or if there are too few passages.
    """
    n = recipe.n_negatives
    negatives, has = mined.first(query_ids, n)
    short = np.flatnonzero(has < n)
    if len(short) and recipe.too_few == "refuse":
        raise UserError(
            f"query {query_ids[short[0]]} has {has[short[0]] or 'no'} mined negatives, but the recipe's n_negatives is "
            f"{n}; raise mine.top or mine.negatives, lower n_negatives, or let `too_few: fill` add random passages"
        )
    collection = passages.of(data_set) if len(short) else np.empty(0, np.int64)
    for i in short:
        used = {*passages.copies[known[query[i]]].tolist(), *passages.copies[negatives[i, : has[i]]].tolist()}
        generator = seeds.of_query(seed, query_ids[i])
        negatives[i, has[i] :] = _fill(n - int(has[i]), used, collection, passages.copies, generator, query_ids[i])
    return np.column_stack([positives, negatives]), int((n - has[short]).sum())


def _fill(
    missing: int,
    used: set[int],
    collection: np.ndarray,
    copies: np.ndarray,
    generator: np.random.Generator,
    query_id: str,
) -> list[int]:
    """So many rows of the collection, none of which is a copy of another or of the `used`."""
    chosen: list[int] = []
    tried: set[int] = set()
    while len(chosen) < missing:
        if len(tried) == len(collection):
            raise UserError(
                f"query {query_id} is short of {missing} negatives, but only {len(chosen)} passages can replace them"
            )
        filler = int(collection[generator.integers(len(collection))])
        if filler not in tried and (copy := int(copies[filler])) not in used:
            chosen.append(filler)
            used.add(copy)
        tried.add(filler)
    return chosen
