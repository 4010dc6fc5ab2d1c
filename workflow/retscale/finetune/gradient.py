"""The gradient of one step, in as many parts as memory requires."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator

from retscale.finetune.config import Recipe
from retscale.finetune.embed import Embedder
from retscale.finetune.loss import nested, own_mask, pool_mask
from retscale.model.device import to


@dataclass(frozen=True)
class Gradient:
    """Adds the gradient of a process's share of a batch to the weights.

    reseed: called before each part is encoded, so that its randomness (dropout) is the same in both passes.
    sharded: whether the model is spread over the processes. Every forward then gathers weights from all of them, so all
    make the same number. The gradients of each part meet at once, in float32: what waits would be whole and rounded.
    """

    accelerator: Accelerator
    embed: Embedder
    recipe: Recipe
    microbatch: int
    sharded: bool = False

    def __call__(self, batch: np.ndarray, reseed: Callable[[int], None]) -> tuple[torch.Tensor, int, int]:
        """The loss, on the device, and the tokens and padding that were encoded for it.

        batch: (batch,) examples of a step, of which this process takes its share.
        """
        shares = batch.reshape(self.accelerator.num_processes, -1, self.microbatch)
        parts = [
            (
                shares[self.accelerator.process_index, i],
                max(map(self.embed.forwards, shares[:, i])) if self.sharded else 0,
            )
            for i in range(shares.shape[1])
        ]
        if self.recipe.negatives == "global" and len(parts) > 1:
            return self._cached(parts, reseed)
        total = torch.zeros((), dtype=torch.float32, device=self.embed.device)
        n_tokens = n_padding = 0
        for i, sync in self._syncs(len(parts)):
            reseed(i)
            with sync:
                queries, groups, *counts = self._encode(*parts[i])
                loss = self._loss(parts[i][0], queries, groups) / len(parts)
                self.accelerator.backward(loss)
            total += loss.detach()
            n_tokens, n_padding = n_tokens + counts[0], n_padding + counts[1]
        return total, n_tokens, n_padding

    def _cached(
        self, parts: list[tuple[np.ndarray, int]], reseed: Callable[[int], None]
    ) -> tuple[torch.Tensor, int, int]:
        """The same gradient as in one part, with the memory of one of several (GradCache, Gao et al. 2021).

        The vectors first, without a graph; the gradient of the loss on them; then each part again, with the gradient
        of its vectors sent through it. Costs a second forward.
        """
        vectors = []
        with torch.no_grad():
            for i, part in enumerate(parts):
                reseed(i)
                vectors.append(self._encode(*part)[:2])
        queries, groups = (torch.cat(x).requires_grad_() for x in zip(*vectors))
        loss = self._loss(np.concatenate([rows for rows, _ in parts]), queries, groups)
        loss.backward()
        n_tokens = n_padding = start = 0
        for i, sync in self._syncs(len(parts)):
            reseed(i)
            rows_of_part = slice(start, start := start + len(parts[i][0]))
            with sync:
                encoded = self._encode(*parts[i])
                surrogate = (encoded[0] * queries.grad[rows_of_part]).sum() + (
                    encoded[1] * groups.grad[rows_of_part]
                ).sum()
                self.accelerator.backward(surrogate)
            n_tokens, n_padding = n_tokens + encoded[2], n_padding + encoded[3]
        return loss.detach(), n_tokens, n_padding

    def _encode(self, rows: np.ndarray, forwards: int):
        with self.accelerator.autocast():
            return self.embed(rows, forwards)

    def _syncs(self, parts: int) -> Iterator[tuple[int, AbstractContextManager]]:
        """The number of each part and the context it is differentiated in: gradients meet after the last one."""
        for i in range(parts):
            last = i + 1 == parts
            yield i, nullcontext() if last or self.sharded else self.accelerator.no_sync(self.embed.model)

    def _loss(self, rows: np.ndarray, queries: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
        """Mean loss of the examples `rows`, given their vectors."""
        recipe, data = self.recipe, self.embed.data
        ids, positives = data.copy_of[data.group[rows]], data.positives[rows]
        ids, positives = (to(queries.device, torch.from_numpy(x)) for x in (ids, positives))
        if recipe.negatives == "own":
            first, masked = None, own_mask(ids, positives)
        else:
            first = 0
            if recipe.negatives == "global" and self.accelerator.num_processes > 1:
                from torch.distributed.nn.functional import all_gather  # unlike accelerate's gather it has a gradient

                groups, ids = torch.cat(all_gather(groups.contiguous())), self.accelerator.gather(ids)
                first = self.accelerator.process_index * len(rows)
            masked = pool_mask(ids, positives, first)
        return nested(queries, groups, masked, recipe.temperature, first, recipe.dimensions)
