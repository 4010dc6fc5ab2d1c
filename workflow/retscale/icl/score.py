"""Log-probabilities of continuations under a causal language model, as the MosaicML Evaluation Gauntlet scores them."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from retscale.model.tokenize import pad
from retscale.progress import progress
from retscale.text.batch import batches

# Logits are float32 and as wide as the vocabulary: this bounds one batch of them to 256 MiB.
LOGITS_A_BATCH = 2**26


def needs_prefix_space(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a word in mid-text starts with a blank: true of byte-level BPE, false of SentencePiece."""
    return len(tokenizer(" a", add_special_tokens=False)["input_ids"]) == 1


def context_ids(tokenizer: PreTrainedTokenizerBase, contexts: list[str]) -> list[list[int]]:
    """Ids with the special tokens that the tokenizer puts before a text, none after it.

    An empty context becomes the token that starts (or separates) texts: something must precede the continuation.
    """
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    found = []
    for ids in tokenizer(contexts)["input_ids"] if contexts else []:
        while ids and ids[-1] in (tokenizer.eos_token_id, tokenizer.sep_token_id):
            ids = ids[:-1]
        found.append(ids or [start])
    return found


def continuation_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Ids of stripped texts, behind a blank where the tokenizer needs one."""
    blank = " " if needs_prefix_space(tokenizer) else ""
    return tokenizer([blank + text.strip() for text in texts], add_special_tokens=False)["input_ids"] if texts else []


def join(context: list[int], continuation: list[int], max_length: int) -> tuple[list[int], int]:
    """Both in at most `max_length` tokens, and how many of the last ones are the continuation.

    The context loses its beginning, but keeps one token; only a continuation too long for that loses its end.
    """
    continuation = continuation[: max_length - 1]
    return context[-(max_length - len(continuation)) :] + continuation, len(continuation)


@torch.inference_mode()
def score(
    model: PreTrainedModel, joined: Sequence[tuple[list[int], int]], pad_id: int, tokens_per_batch: int, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """For each (ids, length of continuation): the mean log-probability of the continuation's tokens (float64), and
    whether each of them is the most probable one at its place (bool).

    Runs where the model is and in the model's dtype; log-probabilities are float32. Padding is on the right, where a
    causal model does not see it.
    """
    mean, greedy = np.empty(len(joined)), np.empty(len(joined), dtype=bool)
    budget = max(1, min(tokens_per_batch, LOGITS_A_BATCH // model.config.vocab_size))
    for rows in progress(batches([len(ids) for ids, _ in joined], budget), what, unit="batches"):
        ids, mask = (x.to(model.device) for x in pad([joined[i][0] for i in rows], pad_id))
        lengths = mask.sum(1)
        tails = torch.tensor([joined[i][1] for i in rows], device=model.device)
        at = torch.arange(ids.shape[1] - 1, device=model.device)
        wanted = (at >= (lengths - tails - 1)[:, None]) & (at < (lengths - 1)[:, None])
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1][wanted].float()
        targets = ids[:, 1:][wanted]
        logprobs = logits.gather(1, targets[:, None]).squeeze(1) - logits.logsumexp(1)
        owner = wanted.nonzero()[:, 0]
        total = torch.zeros(len(rows), dtype=torch.float64, device=model.device).index_add_(0, owner, logprobs.double())
        missed = torch.zeros(len(rows), device=model.device).index_add_(0, owner, (logits.argmax(1) != targets).float())
        mean[rows], greedy[rows] = (total / tails).cpu().numpy(), (missed == 0).cpu().numpy()
    return mean, greedy
