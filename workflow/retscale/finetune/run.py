"""checkpoint -> encoder, by one process or several; cluster/launch.py has the command that starts them."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import DistributedType
from torch._dynamo.exc import TorchDynamoException
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from retscale.checkpoint.card import Card
from retscale.common.environment import SHARDED
from retscale.common.files import link, sha256
from retscale.common.terminal import say
from retscale.encoder import sentence_transformers
from retscale.encoder.card import Trained, attention_field
from retscale.errors import UserError
from retscale.finetune import memory, rehearsal, tracking
from retscale.finetune.adapt import adapt, arithmetic, merged, restored, round_frozen
from retscale.finetune.config import Recipe, Spec
from retscale.finetune.data import DataSet, Order, examples
from retscale.finetune.embed import Embedder
from retscale.finetune.processes import together
from retscale.finetune.sharding import is_sharded, whole_weights
from retscale.finetune.train import train
from retscale.model.device import dtype
from retscale.model.layers import compile_layers, refusal, worth_compiling
from retscale.model.layout import best_layout
from retscale.model.load import deterministic, empty_backbone, is_decoder, load_backbone, load_tokenizer, max_length
from retscale.model.packed import use_packed
from retscale.model.params import count_params
from retscale.model.pooling import l2_normalize
from retscale.model.tokenize import fingerprint
from retscale.pairs.card import PairsCard
from retscale.tokens.card import beside, opened

# accelerate knows no other name of this setting.
warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")

# Tokens per forward pass, padding included: on a CPU what fits in cache, on an accelerator what keeps it busy.
BUDGET = {"cpu": 2048, "cuda": 65536}
# Largest difference of a component between an adapted encoder and its merged weights, both in float32.
MERGE_TOLERANCE = 1e-4


def run(spec: dict, inputs: dict, out: Path, state: Path) -> dict | None:
    """Notes: dtype, device, processes, memory predicted and measured, what was filled in or never seen, and the pace.

    Resumes from what was saved in `state`; the encoders are kept there until the end.
    """
    job = Spec.model_validate(spec)
    if not job.recipe.trains:
        return untuned(job, inputs, out)
    precision = dtype(job.precision)
    # Buffers are constants; to send them in each forward would need as many forwards from each process. Gradients lie in
    # the buckets in which they are sent, and not beside them.
    accelerator = Accelerator(
        mixed_precision="bf16" if precision == torch.bfloat16 else "no",
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)],
        **tracking.settings(),
    )
    with together(accelerator.num_processes):
        notes = tune(accelerator, job, precision, inputs, out, state)
    # What torch 2.13 keeps for a model on several processes must be freed before their group is: else it may wait
    # forever for a thread of the group, which waits for the GIL.
    accelerator.free_memory()
    accelerator.end_training()
    return notes


def untuned(job: Spec, inputs: dict, out: Path) -> dict:
    """The encoder of a checkpoint that is not trained: its own weights, and how the recipe reads texts with them."""
    recipe, card = job.recipe, Card.read(Path(inputs["card"]))
    folder = card.folder(Path(inputs["card"]))
    tokenizer, model = load_tokenizer(folder), load_backbone(folder, torch.float32, recipe.attention)
    check_lengths(recipe, model, card.id)
    why_not = sentence_transformers.why_not(folder, tokenizer, recipe.prompt, model.config)
    described = (tokenizer, recipe.prompt, recipe.pooling, model.config.hidden_size)
    fields = {
        "checkpoint": card.id,
        "recipe": recipe.model_dump(mode="json", exclude={"weights", "keep"}),
        "n_params": count_params(model),
        "pairs": 0,
        "steps": 0,
    }
    further = {} if why_not else sentence_transformers.contents(*described)
    write(out, model, model.state_dict(), tokenizer, recipe, fields, further)
    (out / "log.jsonl").touch()  # of no step
    return {"sentence_transformers": why_not or "loads the encoder's folder as it is"}


def tune(
    accelerator: Accelerator, job: Spec, precision: torch.dtype, inputs: dict, out: Path, state: Path
) -> dict | None:
    """See `run`."""
    recipe = job.recipe
    # The weights of the data sets are the mixture's. What is kept beside an encoder says nothing about it.
    recipe_fields = recipe.model_dump(mode="json", exclude={"weights", "keep"})
    deterministic(job.seed, job.threads)
    card = Card.read(Path(inputs["card"]))
    folder = card.folder(Path(inputs["card"]))
    tokenizer = load_tokenizer(folder)
    sharded = is_sharded(accelerator.num_processes)
    # The weights in float32, which autocast rounds to `precision`. A sharded model's are read once, by the first process.
    load = empty_backbone if sharded and not accelerator.is_main_process else load_backbone
    base = load(folder, torch.float32, recipe.attention)
    check(recipe, base, card.id, accelerator)
    n_params = count_params(base)
    why_not = sentence_transformers.why_not(folder, tokenizer, recipe.prompt, base.config)
    described = (tokenizer, recipe.prompt, recipe.pooling, base.config.hidden_size)
    further = {} if why_not else sentence_transformers.contents(*described)
    model = adapt(base, recipe)
    round_frozen(model, precision)
    data = examples(data_sets(job, inputs, fingerprint(tokenizer, recipe.prompt)), recipe, job.seed)
    if accelerator.is_main_process and data.n_filled:
        say(f"fine-tune {card.id}: {data.n_filled:,} negatives were missing and are replaced by random passages")
    steps = recipe.epochs * len(data) // recipe.batch_queries
    if steps == 0:
        raise UserError(
            f"there are {len(data)} pairs, fewer than a batch ({recipe.batch_queries}); lower batch_queries"
        )
    if too_late := [step for step in recipe.keep if step >= steps]:
        raise UserError(
            f"keep: step {too_late[0]} is not before the last step, {steps}, whose encoder is kept anyway; remove it"
        )
    order = Order.make(job.seed, recipe.batch_queries, data.sizes, list(job.pairs.values()), steps)
    device = accelerator.device
    longest = max(recipe.prompt.query_length, recipe.prompt.passage_length)
    layout = best_layout(base.config, device.type != "cpu", precision == torch.bfloat16, longest, training=True)
    embed = Embedder(
        model,
        data,
        tokenizer.pad_token_id,
        recipe.pooling,
        BUDGET[device.type],
        device,
        needs_mask=not is_decoder(base.config),
        layout=layout,
    )
    shards = accelerator.num_processes if sharded else 1
    micro, bytes_needed, checkpointing = memory.fit(embed, recipe, order, accelerator.num_processes, precision, shards)
    micro = rehearsal.limited(accelerator, recipe, micro, state)
    if layout == "packed":
        use_packed(base)
    if compiled := worth_compiling(device, layout, sharded, steps):
        compile_layers(base)
    if accelerator.is_main_process:
        say(f"fine-tune {card.id}: {bytes_needed / 2**30:.2f} GiB predicted, {micro} queries at once")
    if checkpointing:
        base.activation_checkpointing_enable({"use_reentrant": False})

    def keep(step: int, trained: torch.nn.Module) -> None:
        weights = whole_weights(accelerator.unwrap_model(trained), accelerator.is_main_process)
        if accelerator.is_main_process:
            fields = {"checkpoint": card.id, "recipe": recipe_fields, "n_params": n_params, "pairs": len(data)}
            encoder, query = state / f"encoder-{step}", data.query_tokens[0]
            if recipe.tuning == "full":
                write(encoder, base, weights, tokenizer, recipe, {**fields, "steps": step}, further)
                return
            tuned = restored(load_backbone(folder, torch.float32, recipe.attention), recipe, weights)
            expected = vector(tuned, query)
            plain = merged(tuned)
            write(encoder, plain, plain.state_dict(), tokenizer, recipe, {**fields, "steps": step}, further)
            check_merged(expected, vector(load_backbone(encoder, torch.float32, recipe.attention), query))

    tracking.start(accelerator, f"{card.id}/{recipe.id}")
    peak = memory.Peak(device, held=sum(p.numel() * p.element_size() for p in model.parameters()))
    if not sharded:  # there a forward waits for that of every other process
        try:
            micro = rehearsal.rehearsed(accelerator, embed, recipe, order, micro, card.id)
        except TorchDynamoException as error:
            raise refusal(error) from error
    with rehearsal.explained(recipe, accelerator.num_processes, device, micro, state):
        log = train(accelerator, sharded, embed, recipe, order, micro, job.seed, state, card.id, keep)
    notes = {
        "dtype": str(precision).removeprefix("torch."),
        "arithmetic": arithmetic(precision, recipe.tuning),
        "sharded": sharded,
        "compiled": compiled,
        "device": device.type,
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "microbatch": micro,
        "gradient_checkpointing": checkpointing,
        "peak_memory": {"predicted": bytes_needed, "measured": peak.bytes()},
        "pairs_unseen": order.unseen(),
        "negatives_filled": data.n_filled,
        "pace": log.pace(),
        "sentence_transformers": why_not or "loads the encoder's folder as it is",
    }
    if accelerator.is_main_process:
        predicted, measured = (x / 2**30 for x in notes["peak_memory"].values())
        say(f"fine-tune {card.id}: peak {measured:.2f} GiB, {predicted:.2f} predicted")
    if not accelerator.is_main_process:
        return None
    link(state / "log.jsonl", out / "log.jsonl")
    for step in recipe.keep:
        shutil.copytree(state / f"encoder-{step}", out / f"step-{step}", copy_function=link)
    shutil.copytree(state / f"encoder-{steps}", out, copy_function=link, dirs_exist_ok=True)
    return notes


def data_sets(job: Spec, inputs: dict, prompt_sha256: str) -> list[DataSet]:
    """The training data sets in the spec's order, their tokens mapped from disk.

    Raises UserError unless --pairs names exactly those, in that order, --negatives and --tokens as many, and the tokens
    are of them and under that prompt.
    """
    pairs, negatives, tokens = ([Path(path) for path in inputs[flag]] for flag in ("pairs", "negatives", "tokens"))
    cards = [PairsCard.read(path) for path in pairs]
    if (ids := [card.id for card in cards]) != list(job.pairs):
        raise UserError(
            f"--pairs: the spec names the data sets {', '.join(job.pairs)}, but the files are of "
            f"{', '.join(ids) or 'none'}; give one file per data set, in the spec's order"
        )
    for flag, paths in {"negatives": negatives, "tokens": tokens}.items():
        if len(paths) != len(pairs):
            raise UserError(
                f"--{flag}: {len(paths)} files for {len(pairs)} data sets; give one file per data set, in their order"
            )
    return [
        DataSet(
            folder=path.parent,
            negatives=mined,
            queries=opened(card_of_tokens, "query", card.files["pairs.parquet"], prompt_sha256, instruction),
            passages=opened(card_of_tokens, "passage", card.files["passages.parquet"], prompt_sha256),
            copies=np.load(beside(card_of_tokens, "copies.npy"), mmap_mode="r"),
            instruction=instruction,
        )
        for path, card, mined, card_of_tokens in zip(pairs, cards, negatives, tokens)
        for instruction in [job.recipe.instructions.get(card.id)]
    ]


def check(recipe: Recipe, model: PreTrainedModel, name: str, accelerator: Accelerator) -> None:
    """Raises UserError if recipe, model and number of processes do not match."""
    check_lengths(recipe, model, name)
    if too_large := [d for d in recipe.dimensions if d >= model.config.hidden_size]:
        raise UserError(
            f"dimensions: {too_large[0]} is not below {model.config.hidden_size}, the dimensions of {name}; remove it"
        )
    share, remainder = divmod(recipe.batch_queries, accelerator.num_processes)
    if remainder:
        raise UserError(
            f"batch_queries ({recipe.batch_queries}) must be a multiple of the {accelerator.num_processes} processes"
        )
    if recipe.microbatch and share % recipe.microbatch:
        raise UserError(
            f"a process has {share} queries of a batch, which is not a multiple of microbatch ({recipe.microbatch})"
        )
    if accelerator.distributed_type == DistributedType.FSDP:
        raise UserError(
            "accelerate's FSDP is not used here; unset ACCELERATE_USE_FSDP, or choose another accelerate profile, and set "
            f"{SHARDED}=true to shard the model"
        )


def check_lengths(recipe: Recipe, model: PreTrainedModel, name: str) -> None:
    """Raises UserError if the model cannot read texts as long as the recipe's."""
    lengths = recipe.prompt.query_length, recipe.prompt.passage_length
    if (limit := max_length(model.config)) is not None and max(lengths) > limit:
        raise UserError(
            f"the recipe's texts have up to {max(lengths)} tokens, but the context of {name} is {limit}; lower the lengths"
        )


def write(
    out: Path,
    model: PreTrainedModel,
    weights: dict[str, torch.Tensor],
    tokenizer: PreTrainedTokenizerBase,
    recipe: Recipe,
    fields: dict,
    further: dict[str, list | dict],
) -> None:
    """Write the encoder: model, tokenizer, encoder.json, which says how to use it, and `further` files of JSON by name."""
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out, state_dict=weights, max_shard_size="1TB")
    tokenizer.save_pretrained(out)
    files = {path.name: sha256(path) for path in sorted(out.iterdir())}
    fields = {
        **fields,
        "prompt": recipe.prompt.model_dump(mode="json"),
        "prompt_sha256": fingerprint(tokenizer, recipe.prompt),
        "pooling": recipe.pooling,
        **attention_field(recipe.attention),
        "normalize": True,
        "weights_sha256": files["model.safetensors"],
        "files": files,
    }
    Trained.write(out / "encoder.json", fields)
    sentence_transformers.write(out, further)


@torch.no_grad()
def vector(model: torch.nn.Module, tokens: np.ndarray) -> torch.Tensor:
    """The unit vector of one text: (d,)."""
    ids = torch.from_numpy(tokens.astype(np.int64))[None]
    return l2_normalize(model(input_ids=ids).last_hidden_state.mean(1))[0]


def check_merged(adapted: torch.Tensor, saved: torch.Tensor) -> None:
    """Raises UserError if a text's vectors by the adapted model and by the merged weights differ."""
    if not (worst := (adapted - saved).abs().max().item()) <= MERGE_TOLERANCE:
        raise UserError(
            f"merging the adapters changed the vectors by up to {worst:.1e} (allowed: {MERGE_TOLERANCE:.0e}); "
            "this is a bug in retscale or peft: please report it with the log"
        )
