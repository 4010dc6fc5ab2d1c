"""Keys and values of texts that grow to a known length, in memory that is taken once."""

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from retscale.icl.decoder import Decoder


class PreallocatedLayer(DynamicLayer):
    """Holds at most `longest` tokens. What a model sees is as long as what was read, as with a layer that grows, but
    nothing is copied when a token is added."""

    def __init__(self, longest: int):
        super().__init__()
        self.longest = longest

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self.held = [
            states.new_empty(*states.shape[:2], self.longest, states.shape[3]) for states in (key_states, value_states)
        ]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_, **__
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        for held, states in zip(self.held, (key_states, value_states)):
            held[:, :, start:end] = states
        self.keys, self.values = (held[:, :, :end] for held in self.held)
        return self.keys, self.values


def preallocated(cache: DynamicCache, longest: int) -> DynamicCache:
    """An empty cache with room for `longest` tokens, and in it what `cache` holds."""
    room = DynamicCache()
    room.layers = [PreallocatedLayer(longest) for _ in cache.layers]
    room.layer_class_to_replicate = lambda: PreallocatedLayer(longest)  # of a layer that is not there yet
    for layer, before in zip(room.layers, cache.layers):
        layer.update(before.keys, before.values)
    return room


def bytes_per_token(decoder: Decoder) -> int:
    """What a cache holds of one token of one text."""
    layers = decoder.read([[decoder.pad_id]]).cache.layers
    return sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)
