"""A causal language model read piece by piece, so that what texts have in common is read once."""

import copy
import inspect
from typing import NamedTuple

import torch
from transformers import DynamicCache, PreTrainedModel

from retscale.model.attention import use_fused
from retscale.model.tokenize import pad

PROBE = 24  # tokens of the texts on which two ways of reading are compared
TOLERANCE = 1e-4  # of their logits in float32
LAYERS, VOCABULARY = 2, 512  # of the model on which they are compared in place of one in half precision


class Prefix(NamedTuple):
    """Texts that were read: keys and values of each layer, and the mask (texts, tokens) that is 0 on padding.

    padded: whether there is padding, which this process would have to wait for the device to learn from the mask.
    """

    cache: DynamicCache
    mask: torch.Tensor
    padded: bool

    def select(self, rows: list[int] | torch.Tensor) -> "Prefix":
        """The texts at `rows`, in a cache of their own; a row may be named several times."""
        rows = torch.as_tensor(rows, device=self.mask.device)
        layers = [(layer.keys[rows], layer.values[rows]) for layer in self.cache.layers]
        return Prefix(DynamicCache(layers), self.mask[rows], self.padded)


class Decoder:
    """Logits of `model` at chosen places. `unshareable`: why prefixes cannot be shared with this model; None if they can.

    Both shortcuts are checked against the plain forward pass when the model is loaded, for families differ: the output
    matrix applied to the wanted places alone (some cap their logits after it), and a cache behind left padding. In half
    precision rounding would hide a position that is off by one, so there a small float32 model of the same kind is checked.
    """

    def __init__(self, model: PreTrainedModel, pad_id: int):
        self.model, self.pad_id = model, pad_id
        self.takes_positions = "position_ids" in inspect.signature(model.base_model.forward).parameters
        if model.dtype == torch.float32:
            self.bare_head = self._heads_agree()
            self.unshareable = self._why_unshareable()
        else:
            checked = Decoder(small(model), pad_id)
            self.bare_head, self.unshareable = checked.bare_head, checked.unshareable

    def batch(self, texts: list[list[int]], left: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask, both int64 (texts, longest), padded on the right or on the left."""
        ids, mask = pad([text[::-1] for text in texts] if left else texts, self.pad_id)
        if left:
            ids, mask = ids.flip(1), mask.flip(1)
        return ids.to(self.model.device), mask.to(self.model.device)

    def empty_prefix(self, rows: int) -> Prefix:
        """The prefix of texts that have none."""
        return Prefix(DynamicCache(), torch.zeros((rows, 0), dtype=torch.int64, device=self.model.device), False)

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
    def read(self, texts: list[list[int]]) -> Prefix:
        """Texts, padded on the left, ready to be continued."""
        ids, mask = self.batch(texts, left=True)
        prefix = Prefix(DynamicCache(), mask, padded=len(set(map(len, texts))) > 1)
        self.model.base_model(ids, **self._call(mask, ids.shape[1], prefix))
        return prefix

    @torch.inference_mode()
    def logits(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        rows: torch.Tensor,
        columns: torch.Tensor,
        prefix: Prefix | None = None,
    ) -> torch.Tensor:
        """float32 (places, vocabulary) at the named places of a batch, padded on the right; `prefix` (which is used up)
        stands before it."""
        if prefix is None:
            call = {"use_cache": False}
        else:
            call = self._call(torch.cat([prefix.mask, mask], 1), ids.shape[1], prefix)
        if self.bare_head:
            hidden = self.model.base_model(ids, **call).last_hidden_state
            return self.model.get_output_embeddings()(hidden[rows, columns]).float()
        return self.model(ids, **call).logits[rows, columns].float()

    def _call(self, mask: torch.Tensor, tokens: int, prefix: Prefix) -> dict:
        call = {"attention_mask": mask if prefix.padded else None, "past_key_values": prefix.cache, "use_cache": True}
        if self.takes_positions:
            call["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -tokens:]
        return call

    def _probe_text(self, number: int) -> list[int]:
        """Some tokens, the same each time."""
        vocabulary = self.model.get_input_embeddings().num_embeddings
        return [(7919 * (place + 1) + 104729 * number) % vocabulary for place in range(PROBE)]

    def _heads_agree(self) -> bool:
        """Whether the output matrix on one place gives that place's logits."""
        ids, mask = self.batch([self._probe_text(0)])
        last = torch.tensor([0], device=ids.device), torch.tensor([PROBE - 1], device=ids.device)
        logits = []
        for self.bare_head in (True, False):
            logits.append(self.logits(ids, mask, *last))
        return self._close(*logits)

    def _why_unshareable(self) -> str | None:
        texts, starts = [self._probe_text(0), self._probe_text(1)[:-5]], [PROBE // 2, PROBE // 3]
        ids, mask = self.batch(texts)
        places = torch.tensor([[0, len(texts[0]) - 1], [1, len(texts[1]) - 1]], device=ids.device).T
        plain = self.logits(ids, mask, *places)
        try:
            before = self.read([text[:start] for text, start in zip(texts, starts)]).select([0, 1])
            rest = [text[start:] for text, start in zip(texts, starts)]
            places[1] -= torch.tensor(starts, device=ids.device)
            shared = self.logits(*self.batch(rest), *places, prefix=before)
        except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            return f"it cannot continue from a cache here ({type(error).__name__})"
        return None if self._close(plain, shared) else "its logits behind a cache differ from those of a whole text"

    def _close(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        """Within what rounding explains, as a share of how far logits lie apart."""
        return bool((a - b).abs().max() <= TOLERANCE * (a.max() - a.min()))


def small(model: PreTrainedModel) -> PreTrainedModel:
    """A random float32 model of the same kind with two layers and few words, where `model` is."""
    config = copy.deepcopy(model.config)
    config.num_hidden_layers, config.vocab_size, config.dtype = LAYERS, VOCABULARY, torch.float32
    config.pad_token_id = None
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:LAYERS]
    with torch.device(model.device):
        result = type(model)._from_config(config, dtype=torch.float32)
    generator = torch.Generator(model.device).manual_seed(0)
    with torch.no_grad():
        for weight in result.parameters():
            if weight.dim() > 1:  # the usual first weights are so small that what stands before a token hardly matters
                weight.normal_(std=weight.shape[-1] ** -0.5, generator=generator)
    use_fused(result)
    return result.eval()
