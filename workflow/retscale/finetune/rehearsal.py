"""Memory that runs out: before the first step a smaller micro-batch is taken, later the next try takes one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from retscale.common.terminal import say
from retscale.errors import UserError
from retscale.finetune import memory
from retscale.finetune.config import Recipe
from retscale.finetune.data import Order
from retscale.finetune.embed import Embedder
from retscale.finetune.footprint import adjustable

# In the words of CUDA and of torch's allocators.
WORDS = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
# In the folder of the state: the micro-batch that the next try may take at most.
LIMIT = "microbatch"


def exhausted(error: BaseException) -> bool:
    """Whether the error says that memory has run out, of a GPU or of the host."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in WORDS)
    )


def smaller(share: int, microbatch: int) -> int:
    """The largest part of a process's `share` of a batch that is at most half of `microbatch`; 0: there is none."""
    return max((part for part in range(1, microbatch // 2 + 1) if share % part == 0), default=0)


def limited(accelerator: Accelerator, recipe: Recipe, microbatch: int, folder: Path) -> int:
    """The micro-batch, no larger than an earlier try has noted in `folder`, and the same in all processes."""
    share = recipe.batch_queries // accelerator.num_processes
    note = folder / LIMIT
    if adjustable(recipe) and note.is_file():
        most = min(microbatch, int(note.read_text()))
        microbatch = max(part for part in range(1, most + 1) if share % part == 0)
    return _least(accelerator, microbatch)


def rehearsed(
    accelerator: Accelerator, embed: Embedder, recipe: Recipe, order: Order, microbatch: int, name: str
) -> int:
    """The micro-batch, halved until a forward and a backward of one fit the memory of every process.

    The model, not yet prepared for several processes, moves to its device; its weights stay as they are. Here the
    processes need not wait for each other, so one may run out alone. UserError where a smaller one would change the
    result, or there is none.
    """
    share = recipe.batch_queries // accelerator.num_processes
    own = slice(accelerator.process_index * share, (accelerator.process_index + 1) * share)
    steps = memory.sampled(order)
    while True:
        rows = max((order.rows(step)[own][:microbatch] for step in steps), key=embed.padded)
        if _least(accelerator, int(_fits(accelerator, embed, rows, first=microbatch == share))):
            return microbatch
        half = smaller(share, microbatch) if adjustable(recipe) else 0
        if not half:
            raise UserError(_too_large(embed.device, microbatch))
        if accelerator.is_main_process:
            say(f"fine-tune {name}: memory runs out with a micro-batch of {microbatch} queries; it is {half} now")
        microbatch = half


def _fits(accelerator: Accelerator, embed: Embedder, rows: np.ndarray, first: bool) -> bool:
    """Whether the gradient of these examples fits beside AdamW's moments, which come with the first step, and beside the
    gradient of the parts of a step before them, unless they are the `first` and only part."""
    try:
        model = embed.model.to(embed.device).train()
        trained = [p for p in model.parameters() if p.requires_grad]
        moments = torch.empty(2 * sum(p.numel() for p in trained), dtype=torch.float32, device=embed.device)
        if not first:
            for weight in trained:
                weight.grad = torch.zeros_like(weight)
        with accelerator.autocast():
            queries, groups, *_ = embed(rows)
        (queries.sum() + groups.sum()).backward()
        del moments
        return True
    except (RuntimeError, MemoryError) as error:
        if not exhausted(error):
            raise
        return False
    finally:
        embed.model.zero_grad(set_to_none=True)


@contextmanager
def explained(recipe: Recipe, processes: int, device: torch.device, microbatch: int, folder: Path) -> Iterator[None]:
    """Turns memory that runs out in a training into an error of one line, and notes in `folder` a smaller micro-batch
    for the next try."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not exhausted(error):
            raise
        half = smaller(recipe.batch_queries // processes, microbatch) if adjustable(recipe) else 0
        if not half:
            raise UserError(_too_large(device, microbatch)) from None
        (folder / LIMIT).write_text(str(half))
        raise UserError(
            f"memory ran out on this {device.type} with a micro-batch of {microbatch}; "
            f"run the same command again: it resumes from the newest state with one of {half}"
        ) from None


def _least(accelerator: Accelerator, value: int) -> int:
    """The least of all processes."""
    return int(accelerator.gather(torch.tensor([value], device=accelerator.device)).min())


def _too_large(device: torch.device, microbatch: int) -> str:
    return f"memory runs out on this {device.type} with a micro-batch of {microbatch}; {memory.ADVICE}"
