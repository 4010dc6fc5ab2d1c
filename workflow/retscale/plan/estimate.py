"""Tokens, FLOPs, hours and bytes. Where a number is not known it is None, never zero."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from retscale.finetune.config import Recipe

# FLOPs a parameter and token: forward 2, backward 2 for the activations and 2 for the weights that are trained. The
# products with an adapter's small matrices are left out.
ENCODE = 2
TRAIN = {"full": 6, "lora": 4, "bitfit": 4}
PRETRAIN = 6

WEIGHT_BYTES = 4  # float32: what fine-tuning writes, and the most that repositories of the ladders hold
STATE_BYTES = 12  # float32 weights and AdamW's two moments, of what is trained
VECTOR_BYTES = {"float32": 4, "float16": 2}
NEGATIVE_BYTES = 25  # a mined negative: id and score
RANK_BYTES = 25  # a place of a ranking: id and score


@dataclass(frozen=True)
class Texts:
    """Texts of one kind: how many, and the mean number of characters of one. None: unknown."""

    count: int | None = None
    characters: float | None = None


@dataclass(frozen=True)
class Corpus:
    """What an encoder reads of a task, or of a training data set (whose `queries` are its pairs)."""

    queries: Texts
    passages: Texts


@dataclass(frozen=True)
class Prompts:
    """Items of an in-context task; the mean characters of one with its right answer, and of its other choices."""

    items: int | None = None
    item_characters: float | None = None
    choice_characters: float | None = None


@dataclass(frozen=True)
class Cost:
    """What a part of a job costs; `bytes` stay on disk, once for all jobs that name the same `files`. None: unknown."""

    tokens: float | None = 0
    flops: float | None = 0
    bytes: float | None = 0
    files: tuple | None = None


@dataclass(frozen=True)
class Sum:
    """The sum of the known values, and how many are unknown."""

    known: float = 0
    unknown: int = 0


def total(values: Iterable[float | None]) -> Sum:
    values = list(values)
    return Sum(sum(value for value in values if value is not None), values.count(None))


def added(sums: Iterable[Sum]) -> Sum:
    sums = list(sums)
    return Sum(sum(part.known for part in sums), sum(part.unknown for part in sums))


def disk(costs: Iterable[Cost]) -> Sum:
    """The sum of the bytes, the same files once: what is the most that is known of them."""
    alone, shared = [], {}
    for cost in costs:
        if cost.files is None:
            alone.append(cost.bytes)
        else:
            shared.setdefault(cost.files, []).append(cost.bytes)
    most = [max((value for value in values if value is not None), default=None) for values in shared.values()]
    return total([*alone, *most])


def product(*values: float | None) -> float | None:
    """The product, unknown if one of the values is."""
    return None if None in values else math.prod(values)


def least(*values: float | None) -> float | None:
    """The least of those that are known."""
    return min((value for value in values if value is not None), default=None)


def tokens(texts: Texts, limit: int, characters_per_token: float) -> float | None:
    """At most so many tokens the texts have, each cut at `limit`: texts that all have the mean length lose least."""
    return product(least(texts.characters and texts.characters / characters_per_token, limit), texts.count)


def training_tokens(corpus: Corpus, recipe: Recipe, characters_per_token: float) -> float | None:
    """What a training reads of one data set: each pair with its negatives, once an epoch."""
    pairs = least(corpus.queries.count, recipe.max_pairs)
    queries = Texts(pairs, corpus.queries.characters)
    passages = Texts(product(1 + recipe.n_negatives, pairs), corpus.passages.characters)
    n_tokens = total(
        [
            tokens(queries, recipe.prompt.query_length, characters_per_token),
            tokens(passages, recipe.prompt.passage_length, characters_per_token),
        ]
    )
    return None if n_tokens.unknown else recipe.epochs * n_tokens.known


def prompt_tokens(prompts: Prompts, shots: int, limit: int, characters_per_token: float) -> float | None:
    """What the items of an in-context task read: each after its solved examples, cut at `limit`, then its other choices."""
    if None in (prompts.items, prompts.item_characters, prompts.choice_characters):
        return None
    in_prompt = min((shots + 1) * prompts.item_characters / characters_per_token, limit)
    return prompts.items * (in_prompt + prompts.choice_characters / characters_per_token)


FORMULA = """\
hours     = a floor for each job + FLOPs / (peak x share reached), by stage and size as config/catalog/sizes.yaml states
            and, once jobs of that stage and size are done, as those took
FLOPs     = 6 N tokens (all weights trained), 4 N tokens (LoRA, biases), 2 N tokens (encoding), 6 N tokens (pretraining)
tokens    = pairs x epochs x (query + (1 + negatives) x passage); queries + documents, a shared corpus once;
            in-context items x ((shots + 1) x item + the other choices)
a text    = its mean number of characters / {characters_per_token}, at most the length at which it is cut
N         = parameters without embeddings if a card or a shape gives them, else all that the catalog states;
            all of them for pretraining and in-context tasks
Attention is left out (about 1% at 128 tokens, and more in proportion to the length). Of the shares that GPUs
reach, those of fine-tuning up to 2.8B and of encoding up to 6.9B were measured on one H200; the others are estimates."""
