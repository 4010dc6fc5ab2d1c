"""The layers of a transformer, and their compilation by torch.

Between its matrix products a layer reads and writes the residual stream many times: norms, rotary positions, activations,
sums. Compiled, each run of these is one kernel.
"""

import os

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from retscale.errors import UserError
from retscale.model.layout import Layout

# A compilation takes some 10 s, and saves a tenth of a second a step.
STEPS_WORTH_COMPILING = 200
BACKEND = "inductor"


def layers_of(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


def worth_compiling(device: torch.device, layout: Layout, sharded: bool, steps: int) -> bool:
    """Whether a training of so many `steps` gains by it. All steps count, so that a resumed one computes as before.

    Packed rows differ in their length alone, for which one kernel serves. Sharded models were never tried.
    """
    allowed = os.environ.get("TORCH_COMPILE_DISABLE") != "1"  # torch's own switch
    return allowed and device.type == "cuda" and layout == "packed" and not sharded and steps >= STEPS_WORTH_COMPILING


def compile_layers(model: nn.Module) -> None:
    """Compile each layer when it first computes; its parameters keep their names."""
    # Dropout draws the numbers that it draws without compilation, in a forward with a gradient and in one without.
    torch._inductor.config.fallback_random = True
    for layer in layers_of(model):
        layer.compile(dynamic=True, backend=BACKEND)


def refusal(error: Exception) -> UserError:
    """What is said where torch cannot compile."""
    cause = getattr(error, "inner_exception", error)
    reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    return UserError(
        f"torch cannot compile the layers of this model here ({reason}); install a C compiler, or set "
        "TORCH_COMPILE_DISABLE=1 to train without"
    )
