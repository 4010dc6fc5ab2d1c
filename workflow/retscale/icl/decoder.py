"""A causal language model read piece by piece, so that what texts have in common is read once."""

import inspect
from typing import NamedTuple

import torch
from transformers import DynamicCache, PreTrainedModel

from retscale.model.tokenize import pad

PROBE = 24  # tokens of the texts on which two ways of reading are compared


class Prefix(NamedTuple):
    """Texts that were read: keys and values of each layer, and the mask (texts, tokens) that is 0 on padding."""

    cache: DynamicCache
    mask: torch.Tensor

    def select(self, rows: list[int] | torch.Tensor) -> "Prefix":
        """The texts at `rows`, in a cache of their own; a row may be named several times."""
        rows = torch.as_tensor(rows, device=self.mask.device)
        layers = [(layer.keys[rows], layer.values[rows]) for layer in self.cache.layers]
        return Prefix(DynamicCache(layers), self.mask[rows])


class Decoder:
    """Logits of `model` at chosen places. `unshareable`: why prefixes cannot be shared with this model; None if they can.

    Both shortcuts are checked against the plain forward pass when the model is loaded, for families differ: the output
    matrix applied to the wanted places alone (some cap their logits after it), and a cache behind left padding.
    """

    def __init__(self, model: PreTrainedModel, pad_id: int):
        self.model, self.pad_id = model, pad_id
        self.takes_positions = "position_ids" in inspect.signature(model.base_model.forward).parameters
        self.bare_head = True
        ids, mask = self.batch([self._probe_text(0)])
        last = torch.tensor([0], device=ids.device), torch.tensor([PROBE - 1], device=ids.device)
        bare = self.logits(ids, mask, *last)
        self.bare_head = False
        self.bare_head = self._close(bare, self.logits(ids, mask, *last))
        self.unshareable = self._why_unshareable()

    def batch(self, texts: list[list[int]], left: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask, both int64 (texts, longest), padded on the right or on the left."""
        ids, mask = pad([text[::-1] for text in texts] if left else texts, self.pad_id)
        if left:
            ids, mask = ids.flip(1), mask.flip(1)
        return ids.to(self.model.device), mask.to(self.model.device)

    def empty_prefix(self, rows: int) -> Prefix:
        """The prefix of texts that have none."""
        return Prefix(DynamicCache(), torch.zeros((rows, 0), dtype=torch.int64, device=self.model.device))

    @torch.inference_mode()
    def next_logits(self, ids: torch.Tensor, cache: DynamicCache, start: int) -> torch.Tensor:
        """float32 (texts, vocabulary) behind texts without padding: `ids` (texts, tokens) from the place `start` on.

        `cache` holds what stands before, and then `ids` as well. A mask of ones would make the host wait to see that.
        """
        call = {"past_key_values": cache, "use_cache": True}
        if self.takes_positions:
            call["position_ids"] = torch.arange(start, start + ids.shape[1], device=ids.device)[None]
        if self.bare_head:
            hidden = self.model.base_model(ids, **call).last_hidden_state
            return self.model.get_output_embeddings()(hidden[:, -1]).float()
        return self.model(ids, **call).logits[:, -1].float()

    @torch.inference_mode()
    def read(self, ids: torch.Tensor, mask: torch.Tensor) -> Prefix:
        """The texts of a batch, ready to be continued."""
        cache = DynamicCache()
        self.model.base_model(ids, **self._call(mask, ids.shape[1], cache))
        return Prefix(cache, mask)

    @torch.inference_mode()
    def logits(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        prefix: Prefix | None = None,
    ) -> torch.Tensor:
        """float32 (places, vocabulary) at the named places of a batch; `prefix` (which is used up) stands before it."""
        if prefix is None:
            call = {"attention_mask": mask, "use_cache": False}
        else:
            call = self._call(torch.cat([prefix.mask, mask], 1), ids.shape[1], prefix.cache)
        if self.bare_head:
            hidden = self.model.base_model(ids, **call).last_hidden_state
            return self.model.get_output_embeddings()(hidden[rows, columns]).float()
        return self.model(ids, **call).logits[rows, columns].float()

    def _call(self, mask: torch.Tensor, tokens: int, cache: DynamicCache) -> dict:
        call = {"attention_mask": mask, "past_key_values": cache, "use_cache": True}
        if self.takes_positions:
            call["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -tokens:]
        return call

    def _probe_text(self, number: int) -> list[int]:
        """Some tokens, the same each time."""
        vocabulary = self.model.get_input_embeddings().num_embeddings
        return [(7919 * (place + 1) + 104729 * number) % vocabulary for place in range(PROBE)]

    def _why_unshareable(self) -> str | None:
        texts, starts = [self._probe_text(0), self._probe_text(1)[:-5]], [PROBE // 2, PROBE // 3]
        ids, mask = self.batch(texts)
        places = torch.tensor([[0, len(texts[0]) - 1], [1, len(texts[1]) - 1]], device=ids.device).T
        plain = self.logits(ids, mask, *places)
        try:
            before = self.read(*self.batch([t[:start] for t, start in zip(texts, starts)], left=True)).select([0, 1])
            rest = [text[start:] for text, start in zip(texts, starts)]
            places[1] -= torch.tensor(starts, device=ids.device)
            shared = self.logits(*self.batch(rest), *places, prefix=before)
        except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            return f"it cannot continue from a cache here ({type(error).__name__})"
        return None if self._close(plain, shared) else "its logits behind a cache differ from those of a whole text"

    def _close(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        """Within what rounding explains, as a share of how far logits lie apart."""
        share = 1e-4 if self.model.dtype == torch.float32 else 0.1
        return bool((a - b).abs().max() <= share * (a.max() - a.min()))
