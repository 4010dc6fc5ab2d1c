"""The device and the number format in which this machine trains and encodes."""

from typing import get_args

import torch

from retscale.errors import UserError
from retscale.model.precision import Precision
from retscale.model.threads import Threads


def device() -> torch.device:
    """The accelerator of this process (its current one), or the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def devices() -> list[torch.device]:
    """Every accelerator of this process, its current one first, or the CPU."""
    first = device()
    others = (torch.device("cuda", i) for i in range(torch.cuda.device_count() if first.type == "cuda" else 0))
    return [first, *(other for other in others if other != first)]


def use_threads(threads: Threads) -> None:
    """Let torch compute with so many threads from here on, whatever the job was allotted (OMP_NUM_THREADS)."""
    torch.set_num_threads(threads)


def to(device: torch.device, tensor: torch.Tensor) -> torch.Tensor:
    """A CPU tensor copied to `device` without waiting for what runs there, as a copy from unpinned memory would."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def has_bf16() -> bool:
    """Whether matrix products in bfloat16 run in hardware here.

    Without AVX512-BF16 or AMX a CPU emulates them, 6 to 8 times slower than float32.
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def dtype(precision: Precision) -> torch.dtype:
    """The dtype of matrix products: `auto` is bfloat16 where the hardware has it, float32 elsewhere.

    UserError if bf16 is asked for where the hardware lacks it.
    """
    if precision not in get_args(Precision):
        raise UserError(f"precision {precision!r} is unknown; allowed are auto, fp32 and bf16")
    if precision == "fp32":
        return torch.float32
    if has_bf16():
        return torch.bfloat16
    if precision == "bf16":
        raise UserError(
            f"precision bf16 is not supported by this {device().type}; "
            "use `precision: fp32`, or `auto` to follow the hardware"
        )
    return torch.float32
