"""A model spread over the processes of a training by torch's FSDP 2: each keeps its share of every tensor.

A layer's weights are gathered when it computes, its gradients are added up over the processes afterwards, in float32.
"""

import os
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from retscale.common.environment import SHARDED
from retscale.model.layers import layers_of


def is_sharded(processes: int) -> bool:
    return processes > 1 and os.environ.get(SHARDED) == "true"


def shard(model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Spread `model` over all processes, in place: its parameters become DTensors on `device`.

    The first process has the weights, on the CPU; the others may have them on the meta device. Each tensor goes out by
    itself, so no device ever holds more of the model than one whole tensor. Matrix products are in `dtype`.
    """
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    whole: dict[str, torch.Tensor] = {}

    def leave(name: str, tensor: torch.Tensor) -> torch.Tensor:
        whole[name] = tensor.detach()
        empty = torch.empty_like(tensor, device="meta")
        return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty

    def fill(name: str, tensor: torch.Tensor) -> torch.Tensor:
        source = whole.pop(name)
        source = torch.empty_like(source, device=device) if source.is_meta else source.to(device)
        if isinstance(tensor, DTensor):
            return nn.Parameter(distribute_tensor(source, mesh, tensor.placements), tensor.requires_grad)
        dist.broadcast(source, src=0)
        return source

    _replace(model, leave)
    _group(model, mesh, dtype)
    _replace(model, fill)


def whole_weights(model: nn.Module, wanted: bool) -> dict[str, torch.Tensor]:
    """The trained weights of `model`, and its persistent buffers, whole and on the CPU; empty unless `wanted`.

    All processes of a sharded training call this together. Tensor after tensor is gathered, and shared ones come once.
    """
    frozen = {name for name, weight in model.named_parameters(remove_duplicate=False) if not weight.requires_grad}
    seen, result = set(), {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name in frozen or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        full = tensor.detach().full_tensor() if isinstance(tensor, DTensor) else tensor.detach()
        if wanted:
            result[name] = full.cpu()
    return result


def _group(model: nn.Module, mesh: DeviceMesh, dtype: torch.dtype) -> None:
    """Decide what is gathered together, and in which dtype.

    A layer's matrices are gathered in `dtype`, as autocast would round them: gathered in float32, autocast would keep a
    rounded copy of the whole model for the backward. The norms of all layers, which it leaves in float32, are a group
    of their own, small enough to stay gathered. The rest, embeddings above all, makes the residual stream: float32.
    """
    rounded = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    layers = layers_of(model)
    if exact := [module for layer in layers for module in layer.modules() if _is_exact(module)]:
        fully_shard(exact, mesh=mesh, reshard_after_forward=False)
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=rounded, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)


def _is_exact(module: nn.Module) -> bool:
    """Whether a module has weights of its own that autocast does not round: those of norms, and tables."""
    own = list(module.parameters(recurse=False))
    return bool(own) and (isinstance(module, nn.Embedding) or all(weight.dim() < 2 for weight in own))


def _replace(model: nn.Module, new: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
    """Put `new(name, tensor)` in the place of every parameter and buffer, one for all places of a shared tensor."""
    replaced: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # with the old ones, whose ids must not be used again
    for path, module in model.named_modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                if id(tensor) not in replaced:
                    replaced[id(tensor)] = new(f"{path}.{name}", tensor), tensor
                tensors[name] = replaced[id(tensor)][0]
