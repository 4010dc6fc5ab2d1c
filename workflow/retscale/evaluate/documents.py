"""The documents of a search, of which several may share a vector."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Documents:
    """`ids` (documents,) name them, `vector` (documents,) numbers the vector of each.

    Documents of equal score are ranked by `place` (documents,), lower first; `order` (documents,) are the documents by
    place, `members` by vector and then place, and those of vector v are members[starts[v] : starts[v + 1]].
    """

    ids: np.ndarray
    vector: np.ndarray
    place: np.ndarray
    order: np.ndarray
    members: np.ndarray
    starts: np.ndarray

    @classmethod
    def make(cls, ids: np.ndarray, vector: np.ndarray | None = None, place: np.ndarray | None = None) -> "Documents":
        """`vector`: each has its own if None; `place`: by id if None, descending as trec_eval has it."""
        every = np.arange(len(ids), dtype=np.int32)
        vector = every if vector is None else vector
        place = by_id_descending(ids) if place is None else place
        order = np.empty_like(every)
        order[place] = every
        members = order[np.argsort(vector[order], kind="stable")]
        starts = np.concatenate([[0], np.cumsum(np.bincount(vector))]).astype(np.int32)
        return cls(ids, vector, place, order, members, starts)

    @property
    def firsts(self) -> np.ndarray:
        """Of the documents that share a vector the first by place: (vectors,)."""
        return self.members[self.starts[:-1]]


def by_id_descending(ids: np.ndarray) -> np.ndarray:
    """The place of each id among all in descending order: int32. Bytes of UTF-8 order as code points do."""
    places = np.empty(len(ids), np.int32)
    order = pc.sort_indices(pa.array(ids, pa.large_string()), sort_keys=[("", "descending")])
    places[order.to_numpy()] = np.arange(len(ids))
    return places
