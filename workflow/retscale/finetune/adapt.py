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


def merged(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of the plain transformer that computes what `model` does: float32, adapters added to what they adapt.

    `model` is left unchanged, because removing an adapter again would not give the same bits.
    """
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer

    if not isinstance(model, PeftModel):
        return model.state_dict()
    base = model.get_base_model()
    deltas = {name: m.get_delta_weight("default") for name, m in base.named_modules() if isinstance(m, LoraLayer)}
    weights = {}
    for name, weight in base.state_dict().items():
        layer, _, part = name.rpartition(".base_layer.")
        if layer in deltas:
            weights[f"{layer}.{part}"] = weight + deltas[layer] if part == "weight" else weight
        elif ".lora_" not in name:
            weights[name] = weight
    return weights


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
