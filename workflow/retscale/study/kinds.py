"""What a study asks of its models that only some kinds can do, as far as their kind is known before any job.

It is known of a model that is pretrained here, and of one in a folder; of others the jobs say it.
"""

import json

from retscale.checkpoint.config import Checkpoint
from retscale.errors import UserError
from retscale.model.causality import SWITCHABLE, refusal
from retscale.model.kinds import continues_text
from retscale.study.study import Study

PRETRAINED = {"decoder": "mpt", "encoder": "modernbert", "encoder-decoder": "t5"}


def check(study: Study, file: str) -> None:
    """UserError for an in-context task of a model that continues no text, and for attention that one cannot have."""
    configs = {id: config for id in study.checkpoints if (config := config_of(study.checkpoints, id))}
    for id in study.checkpoints_in_context:
        if (config := configs.get(id)) and not continues_text(config):
            raise UserError(
                f"{file}: icl: the checkpoint {id!r} is a {config['model_type']}, which is not a decoder and cannot "
                "continue a text, so it cannot be scored in context; give it `icl: false`"
            )
    for name, trained in study.trained.items():
        for id in trained if study.recipes[name].attention == "bidirectional" else ():
            if (kind := configs.get(id, {}).get("model_type")) and kind not in SWITCHABLE:
                raise UserError(f"{file}: recipes ({name}): {refusal(kind)}, or leave {id!r} out of its `checkpoints`")


def config_of(checkpoints: dict[str, Checkpoint], id: str) -> dict:
    """What config.json says of its kind; empty if that is not known yet."""
    source = checkpoints[id].source
    if source.kind == "random" and source.like in checkpoints:
        return config_of(checkpoints, source.like)
    if source.kind == "pretrain":
        return {"model_type": PRETRAINED[source.architecture]}
    if source.kind != "local":
        return {}
    try:
        config = json.loads((source.folder() / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the preflight and the job say what is wrong with the folder
        return {}
    return config if isinstance(config, dict) and isinstance(config.get("model_type"), str) else {}
