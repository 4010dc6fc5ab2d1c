"""Peak memory of a training run: predicted before the first step, and measured afterwards."""

import os
import resource
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensorMode

from retscale.common import machine
from retscale.errors import UserError
from retscale.finetune.config import Recipe
from retscale.finetune.data import Order
from retscale.finetune.embed import Embedder
from retscale.finetune.footprint import USABLE, Footprint, microbatches
from retscale.model.params import count_params

SAMPLED_STEPS = 20
ADVICE = (
    "lower `microbatch`, set `gradient_checkpointing: true`, use `tuning: lora`, or give it more GPUs in the profile's "
    "site.yaml"
)
# On a CPU glibc's heap keeps holes where activations lay, more if a step has several parts: bytes of memory for each byte
# of activations, measured. To give every hole back would cost 40% more time.
HEAP = {"one part": 1.4, "several": 1.7}


class _Shapes(FakeTensorMode):
    """Tensors without contents: what a model reads from its data is taken for zero, which says that nothing is padded."""

    def dispatch(self, func: OpOverload, types: Sequence[type], args: Sequence = (), kwargs: Mapping | None = None):
        if func is torch.ops.aten._local_scalar_dense.default:
            return 0
        return super().dispatch(func, types, args, kwargs)


def per_token(model: nn.Module, dtype: torch.dtype, longest: int) -> float:
    """Bytes that a forward in `dtype` keeps for its backward, for each token of a text of `longest` tokens.

    Only shapes are computed, so it takes neither memory nor the time of a forward, and the model may lie anywhere;
    gradient checkpointing must not be on yet.
    """
    sizes = []
    with _Shapes():
        tensors = {
            name: torch.empty(t.shape, dtype=t.dtype, device="cpu").requires_grad_(t.requires_grad)
            for name, t in [*model.named_parameters(), *model.named_buffers()]
        }
        weights = {t.untyped_storage()._cdata for t in tensors.values()}
        for tokens in (longest // 4, longest):
            kept: dict[int, torch.UntypedStorage] = {}

            def pack(tensor: torch.Tensor) -> torch.Tensor:
                storage = tensor.untyped_storage()
                if storage._cdata not in weights:
                    kept[storage._cdata] = storage  # held, so that no address is used twice
                return tensor.detach()  # the tensor itself would keep its graph, and the graph it, forever

            with (
                torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
                torch.autocast("cpu", dtype, enabled=dtype != torch.float32),
            ):
                ids = torch.zeros(1, tokens, dtype=torch.long)
                hidden = torch.func.functional_call(model, tensors, (), {"input_ids": ids}).last_hidden_state
            pack(hidden)
            sizes.append(sum(storage.nbytes() for storage in kept.values()))
    return (sizes[1] - sizes[0]) / (longest - longest // 4)


def footprint(model: nn.Module, dtype: torch.dtype, longest: int) -> Footprint:
    """Of a model as it will be trained, which computes in `dtype` and reads texts of at most `longest` tokens."""
    parameters, config = list(model.parameters()), model.config
    count = count_params(model)
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    return Footprint(
        total=count["total"],
        weights=sum(p.numel() * p.element_size() for p in parameters),
        trained=sum(p.numel() for p in parameters if p.requires_grad),
        cast=sum(p.numel() for p in parameters if p.dim() >= 2 and p.dtype != dtype and id(p) not in tables),
        compute=dtype.itemsize,
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        embeddings=count["total"] - count["non_embedding"],
        per_token=per_token(model, dtype, longest),
    )


def fit(
    embed: Embedder, recipe: Recipe, order: Order, processes: int, dtype: torch.dtype, shards: int
) -> tuple[int, int, bool]:
    """How many queries a process encodes at once, the bytes that it then needs at the peak, and whether with gradient
    checkpointing.

    The recipe's `microbatch`, or where it leaves that open and the result does not depend on it, the largest part of
    its share of a batch that this device's memory holds; with checkpointing where the recipe wants it, or where nothing
    fits without. UserError if even that is too much.
    """
    longest = max(recipe.prompt.query_length, recipe.prompt.passage_length)
    needed = footprint(embed.model, dtype, longest)
    steps = sampled(order)
    available = device_memory(embed.device)
    for checkpointing in (False, True)[recipe.gradient_checkpointing :]:
        for microbatch in microbatches(recipe, processes):
            tokens = max(embed.padded(order.rows(step)[:microbatch]) for step in steps)
            one_part = microbatch * processes == recipe.batch_queries
            required = on(embed.device, needed, one_part).peak(tokens, min(tokens, embed.budget), checkpointing, shards)
            if required <= USABLE * available:
                return microbatch, required, checkpointing
    raise UserError(
        f"training needs about {required / 2**30:.1f} GiB with {microbatch} queries at once, and this "
        f"{embed.device.type} has {available / 2**30:.1f}; {ADVICE}"
    )


def sampled(order: Order) -> list[int]:
    """Steps, spread over all, whose largest stands for the largest of all."""
    return np.unique(np.linspace(0, len(order.step_dataset) - 1, SAMPLED_STEPS).round().astype(int)).tolist()


def on(device: torch.device, needed: Footprint, one_part: bool) -> Footprint:
    """With what the device's allocator adds, where a step has one part or several."""
    if device.type != "cpu":
        return needed
    return replace(needed, per_token=HEAP["one part" if one_part else "several"] * needed.per_token)


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
