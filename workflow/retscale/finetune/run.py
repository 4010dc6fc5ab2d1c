"""checkpoint -> encoder; started by `accelerate launch -m retscale finetune ...`, or by python for one process."""

import hashlib
import json
import math
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator

from retscale.errors import UserError
from retscale.finetune.config import Recipe
from retscale.finetune.data import Examples, examples, order
from retscale.finetune.embed import embed
from retscale.finetune.loss import info_nce, own_mask, pool_mask
from retscale.finetune.schedule import learning_rate
from retscale.model.device import dtype
from retscale.model.load import deterministic, load_backbone, load_tokenizer, max_length
from retscale.model.params import count_params
from retscale.model.tokenize import fingerprint
from retscale.progress import progress

# Tokens a forward, padding included: on a CPU what stays in cache, on an accelerator what fills it.
BUDGET = {"cpu": 2048, "cuda": 65536}


def run(spec: dict, inputs: dict, out: Path) -> dict | None:
    """Notes: dtype, device, processes, how many texts reach their length, and the pairs that no step saw."""
    recipe = Recipe.model_validate({key: value for key, value in spec["recipe"].items() if key != "id"})
    precision = dtype(spec["precision"])
    accelerator = Accelerator(mixed_precision="bf16" if precision == torch.bfloat16 else "no")
    deterministic(spec["seed"])
    card = json.loads(Path(inputs["card"]).read_text(encoding="utf-8"))
    folder = Path(inputs["card"]).parent / card["model"]
    tokenizer = load_tokenizer(folder)
    model = load_backbone(folder, torch.float32)  # fp32 weights; autocast computes in `precision`
    longest = max(recipe.prompt.query_length, recipe.prompt.passage_length)
    if (limit := max_length(model.config)) is not None and longest > limit:
        raise UserError(
            f"the recipe's texts have up to {longest} tokens but {card['id']} reads {limit}; lower its lengths"
        )
    if not len(spec["pairs"]) == len(inputs["pairs"]) == len(inputs["negatives"]) == 1:
        raise UserError(
            f"training on several data sets ({', '.join(spec['pairs'])}) is not possible yet; name one in `weights`"
        )
    (pairs,), (negatives,) = inputs["pairs"], inputs["negatives"]
    data = examples(Path(pairs).parent, Path(negatives), recipe, tokenizer)
    steps = train(accelerator, model, data, recipe, spec["seed"], tokenizer.pad_token_id, out / "log.jsonl", card["id"])
    accelerator.end_training()
    if not accelerator.is_main_process:
        return None
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.iterdir())
        if path.name != "log.jsonl"
    }
    facts = {
        "checkpoint": card["id"],
        "recipe": spec["recipe"],
        "prompt": recipe.prompt.model_dump(mode="json"),
        "prompt_sha256": fingerprint(tokenizer, recipe.prompt),
        "pooling": recipe.pooling,
        "normalize": True,
        "n_params": count_params(model),
        "steps": steps,
        "pairs": len(data),
        "weights_sha256": files["model.safetensors"],
        "files": files,
    }
    (out / "encoder.json").write_text(
        json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return {
        "dtype": str(precision).removeprefix("torch."),
        "device": accelerator.device.type,
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "queries_at_length": sum(len(x) == recipe.prompt.query_length for x in data.query_tokens),
        "passages_at_length": sum(len(x) == recipe.prompt.passage_length for x in data.passage_tokens),
        "pairs_unseen": max(0, len(data) - steps * recipe.batch_queries),
    }


def train(
    accelerator: Accelerator,
    model: torch.nn.Module,
    data: Examples,
    recipe: Recipe,
    seed: int,
    pad_id: int,
    log: Path,
    name: str,
) -> int:
    """Train `model` in place; returns the number of steps. UserError if batch and data do not fit, or if it diverges.

    The last, incomplete batch of the last epoch is left out.
    """
    steps = recipe.epochs * len(data) // recipe.batch_queries
    if steps == 0:
        raise UserError(
            f"there are {len(data)} pairs, fewer than a batch ({recipe.batch_queries}); lower batch_queries"
        )
    share, micro = split(recipe, accelerator.num_processes)
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.lr, betas=recipe.betas, fused=True,
    )  # fmt: skip
    model.to(accelerator.device).train()
    trained, optimizer = accelerator.prepare(model, optimizer)
    first = accelerator.process_index * share
    report = Report(log if accelerator.is_main_process else None)
    every_step = (
        progress(range(steps), f"fine-tune {name}", unit="step") if accelerator.is_main_process else range(steps)
    )
    for step in every_step:
        rows = order(seed, step, recipe.batch_queries, len(data))[first : first + share]
        rate = learning_rate(step, steps, recipe.lr, recipe.warmup, recipe.floor)
        for group in optimizer.param_groups:
            group["lr"] = rate
        done = torch.zeros(3, dtype=torch.float64, device=accelerator.device)  # loss, tokens, padding
        for start in range(0, share, micro):
            with nullcontext() if start + micro == share else accelerator.no_sync(trained):
                loss, real, padding = micro_loss(
                    accelerator, trained, data, rows[start : start + micro], recipe, pad_id
                )
                accelerator.backward(loss * (micro / share))
            done += torch.tensor([loss.item() * micro / share, real, padding], dtype=done.dtype, device=done.device)
        norm = accelerator.clip_grad_norm_(trained.parameters(), recipe.clip).item()
        loss, real, padding = accelerator.reduce(done, "mean").tolist()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise UserError(
                f"fine-tuning of {name} diverged at step {step + 1} of {steps}: loss {loss}, gradient norm {norm}; "
                f"lower the recipe's lr (now {recipe.lr}) or raise its temperature (now {recipe.temperature})"
            )
        optimizer.step()
        optimizer.zero_grad()
        report.step(loss, norm, real * accelerator.num_processes, padding * accelerator.num_processes)
        if (step + 1) % recipe.log_every == 0 or step + 1 == steps:
            report.write(step + 1, rate)
    return steps


def split(recipe: Recipe, processes: int) -> tuple[int, int]:
    """Queries of a batch for each process, and of these in a micro-batch; UserError if they do not divide."""
    share, rest = divmod(recipe.batch_queries, processes)
    if rest:
        raise UserError(f"batch_queries ({recipe.batch_queries}) must be a multiple of the {processes} processes")
    micro = recipe.microbatch or share
    if share % micro:
        raise UserError(f"a process has {share} queries of a batch, which is no multiple of microbatch ({micro})")
    if recipe.negatives == "global" and micro != share:
        raise UserError(
            f"negatives: global needs the {share} queries that a process has of a batch in one micro-batch; "
            f"leave out `microbatch` (now {micro})"
        )
    return share, micro


def micro_loss(
    accelerator: Accelerator, model: torch.nn.Module, data: Examples, rows, recipe: Recipe, pad_id: int
) -> tuple[torch.Tensor, int, int]:
    """Mean loss of the examples `rows`, and the tokens and padding that were encoded for it."""
    device = accelerator.device
    with accelerator.autocast():
        queries, groups, real, padding = embed(model, data, rows, pad_id, recipe.pooling, BUDGET[device.type], device)
    ids, positives = (torch.from_numpy(x[rows]).to(device) for x in (data.group, data.positives))
    if recipe.negatives == "own":
        return info_nce(queries, groups, own_mask(ids, positives), recipe.temperature), real, padding
    first = 0
    if recipe.negatives == "global" and accelerator.num_processes > 1:
        from torch.distributed.nn.functional import all_gather  # unlike accelerate's gather it has a gradient

        groups, ids = torch.cat(all_gather(groups.contiguous())), accelerator.gather(ids)
        first = accelerator.process_index * len(rows)
    return info_nce(queries, groups, pool_mask(ids, positives, first), recipe.temperature, first), real, padding


class Report:
    """log.jsonl: a line every few steps with the means since the last one; nothing is written for a path of None."""

    def __init__(self, path: Path | None):
        self.path = path
        self._reset()

    def step(self, loss: float, norm: float, real: float, padding: float) -> None:
        self.losses.append(loss)
        self.norms.append(norm)
        self.real, self.padding = self.real + real, self.padding + padding

    def write(self, step: int, rate: float) -> None:
        if self.path is not None:
            line = {
                "step": step,
                "loss": sum(self.losses) / len(self.losses),
                "grad_norm": sum(self.norms) / len(self.norms),
                "lr": rate,
                "tokens_per_s": round(self.real / (time.monotonic() - self.since), 1),
                "padding": round(self.padding / (self.real + self.padding), 4),
            }
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self._reset()

    def _reset(self) -> None:
        self.since, self.real, self.padding, self.losses, self.norms = time.monotonic(), 0, 0, [], []
