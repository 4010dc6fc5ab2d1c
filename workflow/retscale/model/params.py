"""How big a model is."""

from torch import nn


def count_params(model: nn.Module) -> dict[str, int]:
    """Parameters of a transformers model, a tensor that several modules share counted once.

    - total: all of them.
    - non_embedding: without tables that are looked up (tokens, positions, types) and without the output head,
      tied or not; as Kaplan et al. 2020 count, and Biderman et al. 2023 print for Pythia.
    - matmul: those that multiply every token in a matrix product: tensors of two or more dimensions that are not
      merely looked up, so a causal LM's head counts, tied or not, and norms and biases do not. The experts of a
      mixture all count, although a token uses few.
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    head_id = id(head.weight) if head is not None else None
    total = non_embedding = matmul = 0
    for weight in model.parameters():  # yields a shared tensor once
        total += weight.numel()
        if id(weight) not in tables and id(weight) != head_id:
            non_embedding += weight.numel()
        if weight.dim() >= 2 and (id(weight) not in tables or id(weight) == head_id):
            matmul += weight.numel()
    return {"total": total, "non_embedding": non_embedding, "matmul": matmul}
