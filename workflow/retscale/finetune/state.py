"""What a training run needs to resume after it was stopped or killed, in a folder that outlives it."""

import json
import os
import shutil
import signal
import time
import warnings
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from accelerate import Accelerator
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from retscale.errors import UserError

SAVE_EVERY_S = 300.0
# Saving a large model takes minutes; it may take this fraction of the time.
SAVE_SHARE = 0.05

# What is trained, in the part that this process holds: the same for one process, for copies, and for FSDP's shards.
# Not strict, since frozen weights are not saved; reading a state still fails if a trained weight is missing.
OPTIONS = StateDictOptions(ignore_frozen_params=True, strict=False)

# A warning that there is only one process.
warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")


class State:
    """The newest state is the folder `step-<n>`: weights that are trained, optimizer, and `facts.json`.

    All processes of a training call `load` and `save` together. A state appears by a rename, and the one before it goes
    afterwards, so there is a whole one at any moment.
    """

    def __init__(
        self, folder: Path, accelerator: Accelerator, model: torch.nn.Module, optimizer: torch.optim.Optimizer
    ):
        self.folder, self.accelerator = folder, accelerator
        self.model, self.optimizer = model, getattr(optimizer, "optimizer", optimizer)
        self.saved_at, self.save_seconds = time.monotonic(), 0.0
        self.stop_requested = False

    def __enter__(self) -> "State":
        """From here on SIGTERM requests a save of the state instead of ending the process."""
        self.previous_handler = signal.signal(signal.SIGTERM, self._stop)
        return self

    def __exit__(self, *_) -> None:
        # Launchers pass on a signal that the processes may have received themselves: a second one must not cut off the end.
        signal.signal(signal.SIGTERM, signal.SIG_IGN if self.stop_requested else self.previous_handler)

    def load(self) -> dict | None:
        """Resume from the newest state; its counters, or None if there is none. Raises UserError if it is damaged."""
        newest = max(self.folder.glob("step-*"), key=_number, default=None)
        if newest is None:
            return None
        try:
            state = self._state()
            dcp.load(state, checkpoint_id=newest)
            counters = json.loads((newest / "facts.json").read_text(encoding="utf-8"))
        except (Exception, dcp.CheckpointException) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(f"the state {newest} is damaged ({reason[0]}); delete it and run again") from None
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=OPTIONS,
        )
        return counters

    def due(self) -> bool:
        """Whether this process wants to save its state now: enough time has passed, or it received SIGTERM."""
        return self.stop_requested or time.monotonic() - self.saved_at > max(
            SAVE_EVERY_S, self.save_seconds / SAVE_SHARE
        )

    def save(self, step: int, counters: dict) -> None:
        """Keep the state after `step` steps, with `counters`, which are plain JSON.

        UserError if it cannot be written; the one before it is kept.
        """
        started = time.monotonic()
        work = self.folder / ".saving"
        main = self.accelerator.is_main_process
        if main:
            shutil.rmtree(work, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        try:
            dcp.save(self._state(), checkpoint_id=work)
            if main:
                self._replace(work, step, counters)
        except (OSError, dcp.CheckpointException) as error:
            room = shutil.disk_usage(self.folder).free / 2**30
            if main:
                shutil.rmtree(work, ignore_errors=True)
            raise UserError(
                f"the state after step {step} cannot be written to {self.folder}, whose disk has {room:.2f} GiB left "
                f"({_reason(error)}); what was saved before is kept: make room and run the same command again to resume"
            ) from None
        self.accelerator.wait_for_everyone()
        self.saved_at = time.monotonic()
        self.save_seconds = self.saved_at - started

    def _replace(self, work: Path, step: int, counters: dict) -> None:
        """Put the state in `work`, flushed to disk, in the place of the one before it."""
        (work / "facts.json").write_text(json.dumps(counters), encoding="utf-8")
        for path in work.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        previous = list(self.folder.glob("step-*"))
        os.replace(work, self.folder / f"step-{step}")
        for path in previous:
            shutil.rmtree(path, ignore_errors=True)

    def _state(self) -> dict:
        model, optimizer = get_state_dict(self.model, self.optimizer, options=OPTIONS)
        return {"model": model, "optimizer": optimizer}

    def _stop(self, *_) -> None:
        self.stop_requested = True


def _reason(error: OSError | dcp.CheckpointException) -> str:
    """The first line of an error, of a single process's where torch has collected them."""
    if isinstance(error, dcp.CheckpointException):
        error = next(iter(error.failures.values()))[0]
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _number(path: Path) -> int:
    return int(path.name.removeprefix("step-"))
