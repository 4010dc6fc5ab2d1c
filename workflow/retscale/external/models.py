"""The table of models that published results are of."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retscale.common.artifact import problem
from retscale.errors import UserError
from retscale.external.table import lines


class Model(BaseModel):
    """One row. `n_params`: those that make the vectors; `n_tokens`: of pretraining, None if unknown; `evidence`: where
    both are from.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    model: str = Field(min_length=1)
    family: str = Field(min_length=1)
    size: str = Field(min_length=1)
    n_params: float = Field(ge=1)
    n_tokens: float | None = Field(None, ge=1)
    role: Literal["fit", "reference", "external"] = "fit"
    evidence: str = Field(min_length=1)


def read_models(path: Path) -> dict[str, Model]:
    """By name, in the order of the file. UserError names the file, the line and what is wrong."""
    models: dict[str, Model] = {}
    for line, cells in lines(path, [name for name in Model.model_fields if name != "role"]):
        filled = {name: cell.strip() for name, cell in cells.items() if cell.strip()}
        try:
            model = Model.model_validate(filled)
        except ValidationError as error:
            raise UserError(f"{path}, line {line}: {problem(error)}") from None
        if model.model in models:
            raise UserError(f"{path}, line {line}: {model.model} has a second row; keep one")
        same = [
            other.model
            for other in models.values()
            if (other.family, other.n_params, other.n_tokens) == (model.family, model.n_params, model.n_tokens)
        ]
        if model.role == "fit" and model.n_tokens and same:
            raise UserError(
                f"{path}, line {line}: {model.model} is of the same family, parameters and tokens as {same[0]}: one "
                "checkpoint would count twice; give one of them the role external"
            )
        models[model.model] = model
    if not models:
        raise UserError(f"{path} has no rows")
    return models
