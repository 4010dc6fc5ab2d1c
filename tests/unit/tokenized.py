"""The tokens that fine-tuning and evaluation read, made as the stage makes them."""

import hashlib
import json
from pathlib import Path
from unittest import mock

from retscale.tokens import store
from retscale.tokens.run import run


def tokens(out: Path, prompt: dict | None = None, **inputs: Path | list[Path]) -> list[Path]:
    """The cards of the tasks or training data sets among the inputs, in their order, made in `out` if it is not there.

    What evaluations share lies there too, so that no test finds what another has made.
    """
    names = [json.loads(path.read_text())["id"] for path in inputs.get("tasks") or inputs["pairs"]]
    if not out.exists():
        out.mkdir(parents=True)
        with mock.patch.object(store, "STATE", out / "shared"):
            list(run({"prompt": prompt, "tasks": {name: {} for name in names}}, inputs, out))
    return [out / f"{name}.json" for name in names]


def of_task(encoder: Path, *tasks: Path) -> list[Path]:
    """Of each task's documents, beside the encoder, by what they are made from."""
    made_from = b"".join(path.read_bytes() for path in (encoder, *tasks))
    return tokens(
        encoder.parent.with_name(f"tokens-{hashlib.sha256(made_from).hexdigest()}"), encoder=encoder, tasks=[*tasks]
    )
