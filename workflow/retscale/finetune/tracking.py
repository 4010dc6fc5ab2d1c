"""Trainings in TensorBoard or trackio, by accelerate's trackers; imported by the driver, so without accelerate."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Literal

from retscale.common.environment import TRACKER, TRACKER_FOLDER
from retscale.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

Tracker = Literal["tensorboard", "trackio"]
# The packages of each tracker: accelerate uses any of them, and the first is suggested to users.
PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",)}
PROJECT = "finetune"


def require(tracker: str, where: str) -> None:
    """UserError if the tracker's package is not installed; accelerate would only warn and train without it."""
    packages = PACKAGES.get(tracker, ())
    if packages and not any(map(importlib.util.find_spec, packages)):
        raise UserError(
            f"{where}: the package {packages[0]} is not installed; {sys.executable} -m pip install {packages[0]}, or remove "
            "the key"
        )


def settings() -> dict[str, str]:
    """The arguments of accelerate's Accelerator for the tracker in the environment; empty without one."""
    if not (tracker := os.environ.get(TRACKER)):
        return {}
    require(tracker, f"tracker ({TRACKER})")
    return {"log_with": tracker, "project_dir": os.environ[TRACKER_FOLDER]}


def start(accelerator: Accelerator, run: str) -> None:
    """Start the tracker's run of this name, in the main process only; a resumed training continues its run."""
    tracker = os.environ.get(TRACKER)
    if tracker == "trackio":
        os.environ["TRACKIO_DIR"] = os.environ[TRACKER_FOLDER]  # read when it is imported, later
        accelerator.init_trackers(PROJECT, init_kwargs={tracker: {"name": run, "resume": "allow"}})
    elif tracker:
        accelerator.init_trackers(run)  # TensorBoard has no projects, only folders of runs
