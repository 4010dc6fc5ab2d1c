"""Training examples as token ids and passage numbers, and the order in which they are seen."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from retscale.errors import UserError
from retscale.finetune.config import Recipe
from retscale.model.tokenize import token_ids


@dataclass(frozen=True)
class Examples:
    """One example a pair.

    query: (pairs,) number of the query text; group: (pairs, 1 + n) numbers of its passages, the positive first;
    positives: (pairs, m) numbers of all known positives of the query, padded with -1.
    query_tokens, passage_tokens: token ids of each text, by number.
    """

    query: np.ndarray
    group: np.ndarray
    positives: np.ndarray
    query_tokens: list[np.ndarray]
    passage_tokens: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.query)


def groups(pairs: pd.DataFrame, negatives: pd.DataFrame, n: int) -> tuple[list[list[str]], list[list[str]]]:
    """For each pair the passage ids of its group (positive, then its first `n` negatives) and of all its query's
    positives. UserError for a query without negatives or with fewer than `n`."""
    mined = dict(zip(negatives["query_id"], negatives["negatives"]))
    positives = pairs.groupby("query_id")["passage_id"].agg(list).to_dict()
    found = []
    for query_id, passage_id in zip(pairs["query_id"], pairs["passage_id"]):
        own = list(mined.get(query_id, ()))
        if len(own) < n:
            raise UserError(
                f"query {query_id} has {len(own) or 'no'} mined negatives but the recipe's n_negatives is {n}; "
                "raise mine.negatives or lower n_negatives"
            )
        found.append([passage_id, *own[:n]])
    return found, [positives[query_id] for query_id in pairs["query_id"]]


def examples(folder: Path, negatives: Path, recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Examples:
    """The pairs in `folder` with their negatives; only texts that a group holds are tokenised, each once."""
    pairs = pd.read_parquet(folder / "pairs.parquet")
    texts = pd.read_parquet(folder / "passages.parquet").set_index("passage_id")["text"].to_dict()
    if recipe.max_pairs is not None and recipe.max_pairs < len(pairs):
        # Spread over the file, which may be sorted; the same pairs for every seed and checkpoint.
        pairs = pairs.iloc[np.linspace(0, len(pairs) - 1, recipe.max_pairs).round().astype(int)]
    group, positives = groups(pairs, pd.read_parquet(negatives), recipe.n_negatives)
    used = sorted({id for ids in group for id in ids})
    for id in used:
        if not texts.get(id, "").strip():
            raise UserError(
                f"passage {id} is {'empty' if id in texts else 'not in passages.parquet'}; make the pairs again"
            )
    number = {id: i for i, id in enumerate(used)}
    queries = dict(zip(pairs["query_id"], pairs["query"]))
    for id, query in queries.items():
        if not query.strip():
            raise UserError(f"query {id} is empty; make the pairs again")
    query_number = {id: i for i, id in enumerate(queries)}
    padded = np.full((len(pairs), max(map(len, positives))), -1)
    for row, ids in zip(padded, positives):
        row[: len(ids)] = [number.get(id, -1) for id in ids]

    return Examples(
        query=pairs["query_id"].map(query_number).to_numpy(),
        group=np.array([[number[id] for id in ids] for ids in group]),
        positives=padded,
        query_tokens=token_ids(tokenizer, list(queries.values()), recipe.prompt, "query").ids,
        passage_tokens=token_ids(tokenizer, [texts[id] for id in used], recipe.prompt, "passage").ids,
    )


def order(seed: int, step: int, batch: int, pairs: int) -> np.ndarray:
    """The examples of a step: a function of its arguments alone, so that training can start at any step.

    Steps run through one seeded permutation of the pairs after the other; (batch,) int64.
    """
    places = np.arange(step * batch, (step + 1) * batch)
    epochs = {
        epoch: np.random.default_rng([seed, epoch]).permutation(pairs) for epoch in np.unique(places // pairs).tolist()
    }
    return np.array([epochs[place // pairs][place % pairs] for place in places.tolist()])
