"""Log-probabilities of continuations under a causal language model, as the MosaicML Evaluation Gauntlet scores them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from retscale.model.tokenize import pad
from retscale.progress import progress
from retscale.text.batch import batches


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
    causal model does not see it. The last token is predicted but never read, so choices of one token share a single
    pass over their context.
    """
    users: dict[tuple[int, ...], list[int]] = {}
    for i, (ids, _) in enumerate(joined):
        users.setdefault(tuple(ids[:-1]), []).append(i)
    read = list(users)
    logits_at = head(model, read[0])
    total, greedy = np.zeros(len(joined)), np.ones(len(joined), dtype=bool)
    for rows in progress(batches([len(text) for text in read], tokens_per_batch), what, unit="batches"):
        ids, mask = (x.to(model.device) for x in pad([read[row] for row in rows], pad_id))
        # One line for each predicted token: whose it is, where it is predicted, and which one it is.
        wanted = [
            (i, place, len(joined[i][0]) - 1 - back, joined[i][0][-1 - back])
            for place, row in enumerate(rows)
            for i in users[read[row]]
            for back in range(joined[i][1])
        ]
        owner, place, at, target = torch.tensor(wanted, device=model.device).T
        logits = logits_at(ids, mask, place, at - 1)
        logprobs = logits.gather(1, target[:, None]).squeeze(1) - logits.logsumexp(1)
        np.add.at(total, owner.cpu().numpy(), logprobs.double().cpu().numpy())
        np.logical_and.at(greedy, owner.cpu().numpy(), (logits.argmax(1) == target).cpu().numpy())
    return total / np.array([length for _, length in joined]), greedy


def head(model: PreTrainedModel, text: Sequence[int]) -> Callable[..., torch.Tensor]:
    """logits(ids, mask, rows, columns): float32 (places, vocabulary) at the named places of a padded batch.

    Applies the output matrix to these places only, which saves most of a small model's time. Some families do more than
    that to their logits (Gemma caps them): where `text` shows a difference, the model computes all of them itself.
    """

    def at_places(ids, mask, rows, columns):
        hidden = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        return model.get_output_embeddings()(hidden[rows, columns]).float()

    def everywhere(ids, mask, rows, columns):
        return model(input_ids=ids, attention_mask=mask, use_cache=False).logits[rows, columns].float()

    ids, mask = (x.to(model.device) for x in pad([text], 0))
    last = torch.tensor([0], device=model.device), torch.tensor([len(text) - 1], device=model.device)
    same = torch.allclose(at_places(ids, mask, *last), everywhere(ids, mask, *last), rtol=1e-3, atol=1e-3)
    return at_places if same else everywhere
