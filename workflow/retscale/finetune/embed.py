"""Texts of a microbatch to vectors, with gradients."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from retscale.errors import UserError
from retscale.finetune.data import Examples
from retscale.model.device import to
from retscale.model.encode import pooled
from retscale.model.layout import Layout, encoded, plan
from retscale.model.pooling import Pooling, l2_normalize


@dataclass(frozen=True)
class Embedder:
    """How the texts of examples become vectors.

    budget: tokens a forward, padding included; needs_mask: see `pooled`.
    """

    model: torch.nn.Module
    data: Examples
    pad_id: int
    pooling: Pooling
    budget: int
    device: torch.device
    needs_mask: bool = True
    layout: Layout = "padded"

    def __call__(self, rows: np.ndarray, forwards: int = 0) -> tuple[torch.Tensor, torch.Tensor, int, int]:
        """Unit vectors of the queries (rows, d) and passage groups (rows, 1 + n, d) of the examples `rows`.

        Every text is encoded once, however many groups hold it; texts of like length go together, up to the budget, so
        that little is padded. At least `forwards` forwards are made. Also returns the number of tokens and of padded
        tokens.
        """
        query, query_position, passage, passage_position = self._texts(rows)
        ids = [*(self.data.query_tokens[i] for i in query), *(self.data.passage_tokens[i] for i in passage)]
        lengths = [len(x) for x in ids]
        parts = self._split(plan(lengths, self.budget, self.layout), forwards)
        packed = self.layout == "packed"
        vectors = [
            pooled(
                self.model, [ids[i] for i in part], self.pad_id, self.pooling, self.device,
                needs_mask=self.needs_mask, packed=packed,
            )
            for part in parts
        ]  # fmt: skip
        position = np.argsort(np.concatenate(parts))
        vectors = l2_normalize(torch.cat(vectors))
        # A gather, whose gradient adds up over the groups that share a text.
        positions = position[query_position], position[len(query) + passage_position].reshape(len(rows), -1)
        queries, groups = (vectors[to(self.device, torch.from_numpy(x))] for x in positions)
        n_tokens = sum(lengths)
        return queries, groups, n_tokens, encoded(lengths, parts, self.layout) - n_tokens

    def with_model(self, model: torch.nn.Module) -> "Embedder":
        """The same with another model, such as this one after accelerate has prepared it."""
        return replace(self, model=model)

    def forwards(self, rows: np.ndarray) -> int:
        """How many forwards these examples need."""
        return len(plan(self._lengths(rows), self.budget, self.layout))

    def padded(self, rows: np.ndarray) -> int:
        """Tokens, padding included, that are encoded for these examples."""
        lengths = self._lengths(rows)
        return encoded(lengths, plan(lengths, self.budget, self.layout), self.layout)

    def _lengths(self, rows: np.ndarray) -> list[int]:
        query, _, passage, _ = self._texts(rows)
        return [*(len(self.data.query_tokens[i]) for i in query), *(len(self.data.passage_tokens[i]) for i in passage)]

    def _texts(self, rows: np.ndarray):
        """The texts of these examples, each once, and where in them each query and passage stands."""
        query, query_position = np.unique(self.data.query[rows], return_inverse=True)
        passage, passage_position = np.unique(self.data.group[rows], return_inverse=True)
        return query, query_position, passage, passage_position

    @staticmethod
    def _split(plan: list[np.ndarray], forwards: int) -> list[np.ndarray]:
        """The plan in at least `forwards` parts, if there are as many texts."""
        while len(plan) < forwards:
            i = max(range(len(plan)), key=lambda i: len(plan[i]))
            if len(plan[i]) == 1:
                raise UserError(f"a process has {len(plan)} texts for {forwards} forward passes; raise microbatch")
            half = (len(plan[i]) + 1) // 2
            plan[i : i + 1] = [plan[i][:half], plan[i][half:]]
        return plan
