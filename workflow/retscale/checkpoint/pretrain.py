"""A small model, pretrained to completion on the study's text."""

import json
import math
import time
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from transformers import PreTrainedModel

from retscale.checkpoint import masked_tokens, next_token, spans
from retscale.checkpoint.config import Pretrain, Spec
from retscale.checkpoint.model_folder import ModelFolder
from retscale.common.progress import progress
from retscale.errors import UserError
from retscale.model import device as devices
from retscale.model.load import deterministic, load_tokenizer
from retscale.text.card import TextCard

LOG_EVERY = 50
HELDOUT_BLOCKS = 256
OBJECTIVES = {"decoder": next_token, "encoder": masked_tokens, "encoder-decoder": spans}


def obtain(spec: Spec, source: Pretrain, text: Path | None, out: Path) -> ModelFolder:
    """Train and write model/ (float32 safetensors) and log.jsonl. Raises UserError if the text is too short or training
    diverges."""
    if text is None:
        raise UserError(f"the checkpoint {spec.id!r} is pretrained here and needs a text; give --text")
    stream = np.load(text.parent / "tokens.npy", mmap_mode="r")
    if source.sources:
        stream = part_of(stream, text, source.sources)
    heldout = np.load(text.parent / "heldout.npy")
    tokenizer = load_tokenizer(text.parent / "tokenizer")
    n_blocks = source.tokens // source.block_length
    if n_blocks * source.block_length + 1 > len(stream):
        raise UserError(
            f"the checkpoint {spec.id!r} needs {source.tokens:,} tokens, but the text has {len(stream):,}"
            f"{' of ' + ', '.join(source.sources) if source.sources else ''}; "
            "lower its tokens, or add sources to `text` (no token is seen twice)"
        )
    deterministic(spec.seed, spec.threads)
    device, dtype = devices.device(), devices.dtype(spec.precision)
    model = OBJECTIVES[source.architecture].build(source, tokenizer).to(device)
    started = time.perf_counter()
    with (out / "log.jsonl").open("w", encoding="utf-8") as log:
        loss = train(model, blocks(stream, n_blocks, source.block_length), source, spec.seed, dtype, spec.id, log)
    seconds = time.perf_counter() - started
    heldout_blocks = blocks(
        heldout, min(HELDOUT_BLOCKS, (len(heldout) - 1) // source.block_length), source.block_length
    )
    heldout_loss = evaluate(model, heldout_blocks, source, spec.seed, dtype) if len(heldout_blocks) else None
    model.to("cpu").save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    n_tokens = n_blocks * source.block_length
    return ModelFolder(
        out / "model",
        n_tokens,
        card={"loss": {"train": loss, "heldout": heldout_loss}},
        notes={"seconds": seconds, "tokens_per_s": n_tokens / seconds, "device": str(device), "dtype": str(dtype)},
    )


def part_of(stream: np.ndarray, text: Path, names: list[str]) -> np.ndarray:
    """The documents of these sources of the text, in the order of the stream. UserError for a source that it lacks."""
    known = [source.name for source in TextCard.read(text).sources]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"source.sources: the text has no source {unknown[0]!r}; it has: {', '.join(known)}")
    origin, lengths = np.load(text.parent / "documents.npy").T
    return stream[np.repeat(np.isin(origin, [known.index(name) for name in names]), lengths)]


def blocks(stream: np.ndarray, count: int, length: int) -> np.ndarray:
    """The first `count` blocks of `length` tokens, each with the token after it: a view (count, length + 1)."""
    if count < 1:
        return np.empty((0, length + 1), dtype=stream.dtype)
    return np.lib.stride_tricks.sliding_window_view(stream[: count * length + 1], length + 1)[::length]


def learning_rate(step: int, steps: int, peak: float, warmup: float) -> float:
    """Linear warm-up over the fraction `warmup` of the steps, then a cosine that is zero one step after the last."""
    warmup_steps = math.ceil(warmup * steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps)))


def train(
    model: PreTrainedModel, data: np.ndarray, source: Pretrain, seed: int, dtype: torch.dtype, name: str, log: TextIO
) -> float:
    """One pass over `data` in a seeded order; the mean loss of the last twentieth of the steps."""
    block_loss = OBJECTIVES[source.architecture].block_loss
    order = np.random.default_rng(seed).permutation(len(data))
    steps = math.ceil(len(order) / source.sequences)
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": source.weight_decay}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
        fused=True,
    )
    model.train()
    losses: list[float] = []
    for step in progress(range(steps), f"pretrain {name}", unit="steps"):
        rate = learning_rate(step, steps, source.learning_rate, source.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = data[np.sort(order[step * source.sequences : (step + 1) * source.sequences])]
        loss = block_loss(model, batch, dtype, np.random.default_rng([seed, step]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise UserError(
                f"pretraining {name} diverged at step {step + 1} (loss {losses[-1]}); "
                f"lower its learning_rate {source.learning_rate}"
            )
        if (step + 1) % LOG_EVERY == 0 or step + 1 == steps:
            recent = losses[-LOG_EVERY:]
            seen = min((step + 1) * source.sequences, len(data)) * source.block_length
            row = {"step": step + 1, "tokens": seen, "loss": sum(recent) / len(recent), "learning_rate": rate}
            log.write(json.dumps(row) + "\n")
    last = losses[-max(1, steps // 20) :]
    return sum(last) / len(last)


@torch.no_grad()
def evaluate(model: PreTrainedModel, data: np.ndarray, source: Pretrain, seed: int, dtype: torch.dtype) -> float:
    """Mean loss per token that is predicted."""
    block_loss = OBJECTIVES[source.architecture].block_loss
    model.eval()
    sums = []
    for start in range(0, len(data), source.sequences):
        batch = data[start : start + source.sequences]
        sums.append(block_loss(model, batch, dtype, np.random.default_rng([seed, start])).item() * len(batch))
    return sum(sums) / len(data)
