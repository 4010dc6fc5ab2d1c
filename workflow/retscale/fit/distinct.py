"""One checkpoint under two ids, which would count twice in every trend."""

import pandas as pd

from retscale.errors import UserError


def require_distinct(points: pd.DataFrame) -> None:
    """UserError names two checkpoints of the ladder with the same parameters, tokens and scores in every task.

    A score of 0 or 1 may come of any model, so it takes another one to tell.
    """
    rows = points[points["role"] == "fit"]
    for recipe, of_recipe in rows.groupby("recipe"):
        seen: dict[tuple, str] = {}
        for checkpoint, group in of_recipe.sort_values("task").groupby("checkpoint"):
            if group["y"].isin([0, 1]).all():
                continue
            amounts = tuple(group[["n_params", "n_tokens"]].iloc[0])
            contents = (*amounts, tuple(group["task"]), tuple(group["y"]))
            if (first := seen.setdefault(contents, checkpoint)) != checkpoint:
                raise UserError(
                    f"{first} and {checkpoint} have the same parameters, tokens and scores (recipe {recipe}), so they "
                    "are one checkpoint, which would count twice; remove one from the study"
                )
