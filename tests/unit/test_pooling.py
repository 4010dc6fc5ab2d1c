"""A pooling is one entry: studies, recipes, encoders made elsewhere and models all read it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WORKFLOW = Path(__file__).parents[2] / "workflow"

# `first_two` stands in the registry before anything else is imported, as it would if pooling.py had one entry more.
ADDED = """
import json, sys
from pathlib import Path
from retscale.model import pooling
from typing import Literal

def first_two(hidden, mask):
    return hidden[:, :2].mean(1)

pooling.POOLINGS["first_two"] = pooling.Method(first_two, "firsttwo")
pooling.Pooling = Literal[tuple(pooling.POOLINGS)]

from retscale.encoder import folder
from retscale.finetune.config import Recipe
from retscale.study import schema
assert Recipe.model_validate_json('{"pooling": "first_two"}').pooling == "first_two"
assert "first_two" in schema.schema()["$defs"]["recipe-entry"]["properties"]["pooling"]["enum"]
path = Path(sys.argv[1])
path.write_text(json.dumps({"pooling_mode": "firsttwo"}))
assert folder._pooling(path, False) == "first_two"
assert not {"torch", "transformers", "numpy"} & set(sys.modules)

import torch
from retscale.model.pooling import pool
hidden = torch.tensor([[[1.0], [3.0], [9.0]]])
assert pool(hidden, torch.ones(1, 3), "first_two").tolist() == [[2.0]]
"""


def test_adding_a_pooling_is_one_entry_and_its_name_needs_no_torch(tmp_path):
    command = [sys.executable, "-c", ADDED, str(tmp_path / "config.json")]
    subprocess.run(command, check=True, env={"PYTHONPATH": str(WORKFLOW)})


def test_a_pooling_that_does_not_exist_is_refused_by_name():
    from retscale.errors import UserError
    from retscale.finetune.config import Recipe
    from retscale.study import validation

    with pytest.raises(UserError, match=r"recipe: pooling: .*found 'weightedmean'\); did you mean 'weighted_mean'\?"):
        validation.validate(Recipe, json.loads('{"pooling": "weightedmean"}'), "recipe")
