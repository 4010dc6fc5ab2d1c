"""A micro-batch's texts to vectors, with gradients."""

import numpy as np
import torch

from retscale.finetune.data import Examples
from retscale.model.pool import Pooling, l2_normalize, pool
from retscale.model.tokenize import pad
from retscale.text.batch import batches


def embed(
    model: torch.nn.Module,
    examples: Examples,
    rows: np.ndarray,
    pad_id: int,
    pooling: Pooling,
    budget: int,
    device: torch.device,
) -> tuple[torch.Tensor, torch.Tensor, int, int]:
    """Unit vectors of the queries (rows, d) and passage groups (rows, 1 + n, d) of the examples `rows`.

    Every text is encoded once, however many groups hold it; texts of like length go together, up to `budget` tokens a
    forward, so that little is padded. Also returns the number of tokens and of padded tokens.
    """
    query, query_at = np.unique(examples.query[rows], return_inverse=True)
    passage, passage_at = np.unique(examples.group[rows], return_inverse=True)
    ids = [*(examples.query_tokens[i] for i in query), *(examples.passage_tokens[i] for i in passage)]
    plan = batches([len(x) for x in ids], budget)
    vectors, size = [], 0
    for part in plan:
        tokens, mask = (x.to(device) for x in pad([ids[i] for i in part], pad_id))
        vectors.append(pool(model(input_ids=tokens, attention_mask=mask).last_hidden_state, mask, pooling))
        size += tokens.numel()
    place = np.argsort(np.concatenate(plan))
    vectors = l2_normalize(torch.cat(vectors))
    # A gather, whose gradient adds up over the groups that share a text.
    queries = vectors[torch.from_numpy(place[query_at]).to(device)]
    groups = vectors[torch.from_numpy(place[len(query) + passage_at].reshape(len(rows), -1)).to(device)]
    real = sum(map(len, ids))
    return queries, groups, real, size - real
