"""The shape of a model by its number of parameters, as far as it must be known before the model is there."""

from dataclasses import dataclass

from retscale.plan.sizes import catalog_sizes

# Of a model whose shape is not known: width / layers, bytes that a forward keeps of a token, layer and component of the
# width, and an adapter's parameters for each of these and its rank. The last three are the most that any shape of the
# catalog has.
ASPECT, KEPT, KEPT_BY_ADAPTERS, ADAPTER = 128, 120, 160, 40


@dataclass(frozen=True)
class Shape:
    """`kept` and `kept_by_adapters`: bytes of a token that a training's forward keeps, in bfloat16; `adapter`: parameters
    of adapters of rank 1. `known`: whether the catalog has it; else it is what a decoder of this size usually has.
    """

    total: int
    non_embedding: int
    layers: int
    width: int
    kept: float
    kept_by_adapters: float
    adapter: int
    known: bool


def shape(total: int) -> Shape:
    if row := catalog_sizes()["shapes"].get(total):
        non_embedding, layers, width, kept, kept_by_adapters, adapter = row
        return Shape(total, non_embedding, layers, width, 1e3 * kept, 1e3 * kept_by_adapters, adapter, True)
    layers = max(1, round((total / (12 * ASPECT**2)) ** (1 / 3)))
    width = round((total / (12 * layers)) ** 0.5)
    size = layers * width
    return Shape(total, total, layers, width, KEPT * size, KEPT_BY_ADAPTERS * size, ADAPTER * size, False)
