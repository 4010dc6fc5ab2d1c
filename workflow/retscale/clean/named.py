"""What studies name: which entries below their results and their logs are of one of their jobs."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from retscale.errors import UserError
from retscale.paths import Results, logs, tracked
from retscale.plan.jobs import jobs
from retscale.provenance import publish, record
from retscale.stages import STAGES
from retscale.study.study import Study

LOG_ENDS = (".log", ".log~", ".log.spec", ".tsv")


@dataclass
class Named:
    """Of studies that share the folder `root` of results. All names are relative to it; those of logs, to their own.

    `single`: folders of one job, which writes there what it likes, each with the declared output. `several`: folders
    where outputs lie side by side, the files of each called after it. `labels` of the jobs; `trackers`: folders of logs.
    """

    root: Path
    single: dict[str, str] = field(default_factory=dict)
    several: dict[str, set[str]] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)
    trackers: set[str] = field(default_factory=set)
    _own: dict[str, set[str] | None] = field(default_factory=dict)

    def add(self, stage: str, output: str) -> None:
        folder, name = os.path.split(output)
        if folder and "{" not in STAGES[stage].primary:
            self.single[folder] = name
        else:
            self.several.setdefault(folder, set()).add(name)

    def own_files(self, folder: str) -> set[str] | None:
        """The files of the job that has `folder` for itself; None where no record says which they are."""
        if folder not in self._own:
            self._own[folder] = self._recorded(Path(folder, self.single[folder]))
        return self._own[folder]

    def _recorded(self, output: Path) -> set[str] | None:
        try:
            saved = record.read(self.root / output)
        except UserError:
            return None
        return {str(path) for path in (output, record.path_of(output))} | {
            str(output.parent / row["path"]) for row in saved["outputs"]
        }

    def home(self, path: str) -> str:
        """The folder of one job that `path` lies in; empty if it lies in none."""
        return next((str(folder) for folder in Path(path).parents if str(folder) in self.single), "")

    def is_result(self, path: str) -> bool:
        """Whether a file is of one of the jobs, or the state of one that is to go on. Without a record all may be."""
        folder, name = os.path.split(path)
        outputs = [self.single[folder]] if folder in self.single else self.several.get(folder, ())
        if name.startswith("."):
            return any(name == publish.state_path(Path(), output).name for output in outputs)
        if home := self.home(path):
            own = self.own_files(home)
            return own is None or path in own
        return any(name.startswith(f"{Path(output).stem}.") for output in outputs)

    def is_log(self, path: str) -> bool:
        return path.split("/")[0] in self.trackers or path.endswith(LOG_ENDS) and label_of(path) in self.labels

    def folders(self) -> set[str]:
        """Those of results, with the ones above them."""
        return set(_with_parents([*self.single, *self.several]))

    def log_folders(self) -> set[str]:
        return set(_with_parents([*map(os.path.dirname, self.labels), *self.trackers]))


def _with_parents(folders: Iterable[str]) -> Iterator[str]:
    for folder in map(Path, folders):
        yield from (str(path) for path in (folder, *folder.parents))


def label_of(path: str) -> str:
    """The label of the job that writes the file `path` below the logs."""
    return next((path.removesuffix(end) for end in LOG_ENDS if path.endswith(end)), path)


def named(studies: list[Study], root: Path) -> Named:
    """What these studies name, which share the results in `root`."""
    names, paths = Named(root), Results()
    for study in studies:
        if tracker := study.file.tracker:
            names.trackers.add(str(tracked(study.name, tracker).relative_to(logs(study.name))))
        for job in jobs(study):
            names.labels.add(job.label)
            for output in job.makes:
                names.add(job.stage, output)
        for checkpoint, recipe, step in study.kept_encoders:
            names.add("finetune", paths.finetune(checkpoint, recipe, step))
    return names
