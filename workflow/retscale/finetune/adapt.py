"""Which weights of a model are trained, and how they become one plain model again."""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from retscale.errors import UserError
from retscale.finetune.config import Lora, Recipe


def adapt(model: PreTrainedModel, recipe: Recipe) -> nn.Module:
    """`model` with exactly those weights trainable that the recipe trains; wrapped by peft for adapters.

    Raises UserError if it has no such weights.
    """
    if recipe.tuning == "lora":
        return _with_adapters(model, recipe.lora)
    if recipe.tuning == "bitfit":
        biases = [p for name, p in model.named_parameters() if name.split(".")[-1] == "bias"]
        if not biases:
            raise UserError(f"tuning: bitfit trains biases, but this {type(model).__name__} has none; use full or lora")
        model.requires_grad_(False)
        for bias in biases:
            bias.requires_grad_(True)
    return model


def round_frozen(model: nn.Module, dtype: torch.dtype) -> None:
    """Keep in `dtype` what autocast would round to it in every forward: the matrices of linear layers that are not trained,
    with their biases. All else stays in float32, so the vectors are the same bits."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, Conv1D)) and not module.weight.requires_grad:
            for weight in module.parameters(recurse=False):
                if not weight.requires_grad:
                    weight.data = weight.data.to(dtype)


def arithmetic(dtype: torch.dtype, tuning: str) -> str:
    """In plain words, how a training computes: the same on one device, on several, and sharded over them."""
    if dtype == torch.float32:
        return "float32"
    precision = str(dtype).removeprefix("torch.")
    frozen = "" if tuning == "full" else f"; matrices that are not trained are kept in {precision}"
    return (
        f"matrix products in {precision}; trained weights, sums of gradients, optimizer, residual stream, norms, pooling, "
        f"similarities and loss in float32{frozen}"
    )


def restored(base: PreTrainedModel, recipe: Recipe, trained: dict[str, torch.Tensor]) -> nn.Module:
    """What was trained: `base`, as its checkpoint has it, adapted by the recipe, with the weights `trained`."""
    model = adapt(base, recipe).eval()
    missing = {name for name, weight in model.named_parameters() if weight.requires_grad} - trained.keys()
    unknown = model.load_state_dict(trained, strict=False).unexpected_keys
    if missing or unknown:
        raise AssertionError(f"weights to restore: missing {sorted(missing)}, unknown {unknown}")
    return model


def merged(model: nn.Module) -> nn.Module:
    """The plain transformer that computes what `model` does: adapters are added, in place, to what they adapt."""
    from peft import PeftModel

    return model.merge_and_unload() if isinstance(model, PeftModel) else model


def _with_adapters(model: PreTrainedModel, lora: Lora) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    linear = {name.split(".")[-1] for name, m in model.named_modules() if isinstance(m, (nn.Linear, Conv1D))}
    if unknown := sorted(set(lora.targets or ()) - linear):
        raise UserError(
            f"lora.targets: no linear layer of {type(model).__name__} is named {', '.join(unknown)}; "
            f"it has {', '.join(sorted(linear))}"
        )
    config = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=sorted(lora.targets or linear)
    )
    return get_peft_model(model, config)
