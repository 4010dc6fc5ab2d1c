"""Where each result lies: results/STUDY/STAGE/..., named here alone."""

import os
from dataclasses import dataclass
from pathlib import Path

from retscale.encoder.config import GIVEN
from retscale.stages import STAGES, at_length, kept

TRAINING = "training"  # the folder, below an encoder's, of the tokens of its training data


@dataclass(frozen=True)
class Results:
    """The declared outputs of a study's stages below the folder `root`, as strings.

    An id may be a wildcard of Snakemake, such as `{checkpoint}`.
    """

    root: str = ""

    def text(self) -> str:
        return self._of("text")

    def checkpoint(self, checkpoint: str) -> str:
        return self._of("checkpoint", checkpoint)

    def pairs(self, pairs: str) -> str:
        return self._of("pairs", pairs)

    def mine(self, pairs: str) -> str:
        return self._of("mine", pairs)

    def tokens(self, checkpoint: str, recipe: str, task: str, length: int | str | None = None) -> str:
        """The tokens of a task's documents as the encoder reads them; those of a further length have a folder each."""
        return self._of("tokens", checkpoint, recipe, *_below(length=length), task=task)

    def training_tokens(self, checkpoint: str, recipe: str, pairs: str) -> str:
        return self._of("tokens", checkpoint, recipe, TRAINING, task=pairs)

    def finetune(self, checkpoint: str, recipe: str, step: int | str | None = None) -> str:
        return self._of("finetune", checkpoint, recipe, *_below(step))

    def given(self, encoder: str) -> str:
        return self._of("encoder", encoder)

    def encoder(self, checkpoint: str, recipe: str, step: int | str | None = None) -> str:
        """Of an encoder that is evaluated: trained here, or made elsewhere (its recipe is GIVEN)."""
        return self.given(checkpoint) if recipe == GIVEN else self.finetune(checkpoint, recipe, step)

    def task(self, task: str) -> str:
        return self._of("task", task)

    def evaluate(
        self,
        checkpoint: str,
        recipe: str,
        task: str,
        step: int | str | None = None,
        length: int | str | None = None,
    ) -> str:
        return self._of("evaluate", checkpoint, recipe, *_below(step, length), task=task)

    def reference(self, reference: str, task: str) -> str:
        return self._of("reference", reference, task=task)

    def leakage(self, task: str) -> str:
        return self._of("leakage", task=task)

    def items(self, task: str) -> str:
        return self._of("items", task)

    def icl(self, checkpoint: str, task: str) -> str:
        return self._of("icl", checkpoint, task=task)

    def collect(self) -> str:
        return self._of("collect")

    def fit(self) -> str:
        return self._of("fit")

    def external(self) -> str:
        return self._of("external")

    def figure(self, figure: str) -> str:
        return self._of("figure", name=figure)

    def report(self) -> str:
        return os.path.join(self.root, STAGES["report"].primary)

    def _of(self, stage: str, *folders: str, **spec: str) -> str:
        return os.path.join(self.root, stage, *folders, STAGES[stage].product(**spec))


def _below(step: int | str | None = None, length: int | str | None = None) -> tuple[str, ...]:
    """The folder, below an encoder's, for a kept step or a further length; empty for its last step and own length."""
    return (*(() if step is None else (kept(step),)), *(() if length is None else (at_length(length),)))


def folder(study: str) -> Path:
    """Where the results of the study of this name lie, below the working folder."""
    return Path("results", study)


def logs(study: str) -> Path:
    """Where the logs of its jobs lie."""
    return Path("logs", study)


def tracked(study: str, tracker: str) -> Path:
    """The folder of a tracker, to which the study's trainings report."""
    return logs(study) / tracker
