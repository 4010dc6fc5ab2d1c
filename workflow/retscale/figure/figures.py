"""The figures by name: what each needs to have a point, and what draws it.

A new figure is a module with `draw`, and its entry in FIGURES and in `draw` here. A study is checked with this module, so
matplotlib is imported where it draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from retscale.figure.config import FigureConfig
    from retscale.figure.data import Drawn, Tables

Need = Literal[
    "compute",
    "trend",
    "forms",
    "beyond compute",
    "mean",
    "second recipe",
    "in-context score",
    "kept encoder",
    "training",
    "cut",
    "in-domain task",
    "several families",
    "further length",
    "instruction",
    "mixture",
]


@dataclass(frozen=True)
class Figure:
    """`needs`: what a study must have for it, in the order of asking. `published`: results of others are drawn as well."""

    needs: tuple[Need, ...] = ()
    published: bool = False


FIGURES = {
    "1a": Figure(("compute", "mean"), published=True),
    "1b": Figure(("compute", "mean"), published=True),
    "2": Figure(("compute",), published=True),
    "3": Figure(("compute", "mean", "in-context score")),
    "slopes": Figure(("trend",)),
    "forms": Figure(("forms", "mean")),
    "residuals": Figure(("forms", "mean")),
    "pairs": Figure(("forms", "mean")),
    "beyond": Figure(("beyond compute", "mean", "in-context score")),
    "ablation": Figure(("compute", "mean", "second recipe")),
    "in-domain": Figure(("in-domain task",), published=True),
    "zero-shot": Figure(("mean", "several families"), published=True),
    "curves": Figure(("kept encoder",)),
    "efficiency": Figure(("kept encoder",)),
    "lengths": Figure(("further length",)),
    "instructions": Figure(("instruction",)),
    "multi-task": Figure(("mixture",)),
    "training": Figure(("training",)),
    "cuts": Figure(("compute", "cut")),
}
Name = Literal[tuple(FIGURES)]  # ty: ignore[invalid-type-form] - the names, as pydantic checks them


def draw(name: str, tables: Tables, config: FigureConfig) -> Drawn:
    from retscale.figure import (
        ablation,
        backbones,
        beyond,
        curves,
        cuts,
        differences,
        efficiency,
        fig1a,
        fig1b,
        fig2,
        fig3,
        forms,
        lengths,
        pairs,
        residuals,
        slopes,
        training,
    )

    modules = {"1a": fig1a, "1b": fig1b, "2": fig2, "3": fig3}
    modules |= {"slopes": slopes, "forms": forms, "residuals": residuals, "pairs": pairs, "beyond": beyond}
    modules |= {"ablation": ablation, "curves": curves, "training": training, "cuts": cuts}
    modules |= {"efficiency": efficiency, "lengths": lengths}
    draws = {module: each.draw for module, each in modules.items()}
    draws |= {"in-domain": backbones.draw_in_domain, "zero-shot": backbones.draw_zero_shot}
    draws |= {"instructions": differences.draw_instructions, "multi-task": differences.draw_mixtures}
    return draws[name](tables, config)
