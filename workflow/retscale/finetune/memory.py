"""Peak memory of a training run: predicted before the first step, and measured afterwards."""

import os
import resource
from pathlib import Path

import numpy as np
import torch
from torch import nn

from retscale.common import machine
from retscale.errors import UserError
from retscale.finetune.config import Recipe
from retscale.finetune.data import Order
from retscale.finetune.embed import Embedder

SAMPLED_STEPS = 20
ADVICE = (
    "lower `microbatch`, set `gradient_checkpointing: true`, use `tuning: lora`, or give it more GPUs in the profile's "
    "site.yaml"
)
USABLE = 0.9  # fraction of a device's memory; the rest goes to fragmentation and to what no formula covers


def activations(model: nn.Module, dtype: torch.dtype, longest: int) -> tuple[float, float]:
    """Bytes that a forward keeps for its backward: (whatever the text, for each token), measured on a text of `longest`
    tokens and one of a quarter of that.

    Nothing but the shapes matters, so it runs where the model is, in the dtype that it will compute in; gradient
    checkpointing must not be on yet.
    """
    device = next(model.parameters()).device
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes = []
    for tokens in (longest // 4, longest):
        storages: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                storages[storage.data_ptr()] = storage.nbytes()
            return tensor.detach()  # the tensor itself would keep its graph, and with it the model's weights, forever

        ids = torch.zeros(1, tokens, dtype=torch.long, device=device)
        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
            torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
        ):
            hidden = model(input_ids=ids).last_hidden_state  # held, so that no storage is used twice
            sizes.append(sum(storages.values()) + hidden.untyped_storage().nbytes())
        del hidden
    slope = (sizes[1] - sizes[0]) / (longest - longest // 4)
    return max(0.0, sizes[1] - slope * longest), slope


def predicted(
    model: nn.Module,
    fixed: float,
    per_token: float,
    microbatch_tokens: int,
    forward_tokens: int,
    checkpointing: bool,
    shards: int = 1,
) -> int:
    """Bytes at the peak of a step.

    Weights, gradients and both moments of AdamW (4 bytes each; the last three of what is trained), divided by `shards`
    processes, and the activations of a micro-batch of `microbatch_tokens`. With checkpointing only each layer's input
    is kept, and one layer at a time has its activations for one forward of `forward_tokens`.
    """
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if checkpointing:
        layers, width = model.config.num_hidden_layers, model.config.hidden_size
        activation_bytes = 4 * layers * width * microbatch_tokens + per_token * forward_tokens / layers
    else:
        activation_bytes = per_token * microbatch_tokens
    return round((weights + 12 * trained) / shards + fixed + activation_bytes)


def fit(
    embed: Embedder, recipe: Recipe, order: Order, processes: int, dtype: torch.dtype, shards: int
) -> tuple[int, int]:
    """Queries that a process encodes at once, and the bytes that it then needs at the peak.

    The recipe's `microbatch`, or where it leaves that open and the result does not depend on it, the largest part of a
    process's share of a batch that this device's memory holds. UserError if even that is too much.
    """
    fixed, per_token = activations(embed.model, dtype, max(recipe.prompt.query_length, recipe.prompt.passage_length))
    share = recipe.batch_queries // processes
    parts = [m for m in range(share, 0, -1) if share % m == 0]
    sizes = parts if adjustable(recipe) else [recipe.microbatch or share]
    steps = sampled(order)
    available = device_memory(embed.device)
    for microbatch in sizes:
        microbatch_tokens = max(embed.padded(order.rows(step)[:microbatch]) for step in steps)
        forward_tokens = min(microbatch_tokens, embed.budget)
        required = predicted(
            embed.model, fixed, per_token, microbatch_tokens, forward_tokens, recipe.gradient_checkpointing, shards
        )
        if required <= USABLE * available:
            return microbatch, required
    raise UserError(
        f"training needs about {required / 2**30:.1f} GiB with {microbatch} queries at once, and this "
        f"{embed.device.type} has {available / 2**30:.1f}; {ADVICE}"
    )


def adjustable(recipe: Recipe) -> bool:
    """Whether the recipe leaves the micro-batch open and the result does not depend on it."""
    return recipe.microbatch is None and recipe.negatives != "microbatch"


def sampled(order: Order) -> list[int]:
    """Steps, spread over all, whose largest stands for the largest of all."""
    return np.unique(np.linspace(0, len(order.step_dataset) - 1, SAMPLED_STEPS).round().astype(int)).tolist()


def device_memory(device: torch.device) -> int:
    """Bytes of memory that a process may take on this device; on a CPU those of the training here share what there is."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return machine.memory() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))


class Peak:
    """Peak memory since it was made: allocated on an accelerator, resident on a CPU; bytes.

    held: bytes that are in this process's memory already and belong to what is measured.
    """

    def __init__(self, device: torch.device, held: int = 0):
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.start = torch.cuda.memory_allocated(device)
        else:
            try:
                Path("/proc/self/clear_refs").write_text("5")  # Linux: the high-water mark starts anew
            except OSError:
                pass
            self.start = _status("VmRSS") - held

    def bytes(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) - self.start
        return _status("VmHWM") - self.start


def _status(key: str) -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
