"""The training loop."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch.distributed.tensor import DTensor

from retscale.common.progress import progress
from retscale.common.terminal import say
from retscale.errors import UserError
from retscale.finetune import sharding
from retscale.finetune.config import Recipe
from retscale.finetune.data import Order
from retscale.finetune.embed import Embedder
from retscale.finetune.gradient import Gradient
from retscale.finetune.log import Log, Watch
from retscale.finetune.schedule import learning_rate
from retscale.finetune.state import State
from retscale.model.device import to


def train(
    accelerator: Accelerator,
    sharded: bool,
    embed: Embedder,
    recipe: Recipe,
    order: Order,
    microbatch: int,
    seed: int,
    folder: Path,
    name: str,
    keep: Callable[[int, torch.nn.Module], None],
) -> Log:
    """Train `embed.model` in place through all steps of `order`; returns the log.

    microbatch: queries that are encoded together; see Gradient. folder: state and logs, from which training resumes.
    keep: called with (steps done, model) after each of the recipe's `keep` and after the last step.
    Raises UserError if it diverges, learns nothing, or receives SIGTERM; the newest state is kept.
    """
    steps, main = len(order.step_dataset), accelerator.is_main_process
    model, optimizer = prepared(accelerator, sharded, embed.model, recipe)
    gradient = Gradient(accelerator, embed.with_model(model), recipe, microbatch, sharded)
    pool = {"own": 1, "microbatch": microbatch, "global": recipe.batch_queries}[recipe.negatives]
    chance = math.log(pool * (1 + recipe.n_negatives))
    log = Log(folder / "log.jsonl" if main else None, recipe.log_every, accelerator.device)
    watch = Watch(steps, recipe.warmup)
    with State(folder, accelerator, model, optimizer) as state:
        start = 0
        if counters := state.load():
            start, watch.excess = counters["step"], counters["over"]
            if main:
                say(f"fine-tune {name}: resumes after step {start} of {steps}")
        log.resume(start, counters["sums"] if counters else None)
        for step in progress(range(start, steps), f"fine-tune {name}", unit="steps") if main else range(start, steps):
            rate = learning_rate(step, steps, recipe.lr, recipe.warmup, recipe.floor, recipe.decay)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss, n_tokens, n_padding = gradient(
                order.rows(step), lambda part: reseed(seed, step, accelerator.process_index, part)
            )
            norm = accelerator.clip_grad_norm_(model.parameters(), recipe.clip)
            counts = torch.tensor([n_tokens, n_padding, state.due(), state.stop_requested], dtype=torch.float64)
            sums = torch.cat([loss.double()[None], to(accelerator.device, counts)])
            # All that the host reads of a step, at once: it waits for the device here and nowhere else.
            norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
            values = torch.cat([accelerator.reduce(sums, "sum"), norm.double()[None]])
            total, n_tokens, n_padding, save_due, stop_requested, norm = values.tolist()
            loss, step = total / accelerator.num_processes, step + 1
            try:
                if not (math.isfinite(loss) and math.isfinite(norm)):
                    raise UserError(f"it diverged at step {step} of {steps}: loss {loss}, gradient norm {norm}")
                watch.step(step, loss, chance)
            except UserError as error:
                if step - 1 > start:  # this step has changed nothing yet
                    state.save(step - 1, {"step": step - 1, "sums": log.sums, "over": watch.excess})
                raise UserError(
                    f"fine-tuning of {name} stopped: {error}; lower the recipe's lr (now {recipe.lr}) or raise its "
                    f"temperature (now {recipe.temperature}). The state after step {step - 1} is kept in {folder}"
                ) from None
            optimizer.step()
            optimizer.zero_grad()
            log.step(step, step == steps, rate, loss, norm, n_tokens, n_padding)
            if step in recipe.keep or step == steps:
                keep(step, model)
            if save_due and step < steps:
                state.save(step, {"step": step, "sums": log.sums, "over": watch.excess})
            if stop_requested and step < steps:
                raise UserError(
                    f"stopped by SIGTERM after step {step} of {steps}; the state is kept in {folder}: "
                    "run the same command again to resume"
                )
    return log


def prepared(
    accelerator: Accelerator, sharded: bool, model: torch.nn.Module, recipe: Recipe
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """`model` on the device of each process, whole or sharded, and its optimizer.

    The optimizer is made of the weights as they lie on the device: it would keep others alive.
    """
    if sharded:
        dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
        sharding.shard(model, accelerator.device, dtype)
    else:
        model.to(accelerator.device)
    model.train()
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in weights if p.dim() >= 2], "weight_decay": recipe.weight_decay},
            {"params": [p for p in weights if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=recipe.lr, betas=recipe.betas, fused=True,
    )  # fmt: skip
    return (model, optimizer) if sharded else accelerator.prepare(model, optimizer)


def reseed(seed: int, step: int, process: int, part: int) -> None:
    """Seed dropout, the only randomness in a forward pass, from these alone."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, process, part]).generate_state(1, np.uint64)[0]))
