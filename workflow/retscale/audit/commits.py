"""The code of the commits that records name, taken out of this clone: does it have the digest that the record has?"""

import io
import os
import platform
import subprocess
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path

from retscale.audit.findings import Findings
from retscale.audit.walk import Node
from retscale.common.phrase import counted
from retscale.provenance import clone, code
from retscale.stages import STAGES

ROOT = code.PACKAGE.parents[1]
PYTHON = platform.python_version()


class Commits:
    """The packages of commits, each extracted once below a temporary folder, and the digests of their stages."""

    def __init__(self):
        self._packages: dict[str, Path | None] = {}
        self._digests: dict[tuple[str, str], str | None] = {}

    @cached_property
    def _folder(self) -> tempfile.TemporaryDirectory:
        return tempfile.TemporaryDirectory(prefix="retscale-code-")

    def package(self, commit: str) -> Path | None:
        """The folder of the package as it was in `commit`; None if this clone lacks that."""
        if commit not in self._packages:
            self._packages[commit] = self._extract(commit)
        return self._packages[commit]

    def digest(self, commit: str, stage: str) -> str | None:
        """Of the code of a stage in `commit`; None if this clone lacks that, or the commit the stage."""
        if (commit, stage) not in self._digests:
            package, module = self.package(commit), f"retscale.{stage}.run"
            known = package and (package / stage / "run.py").is_file()
            self._digests[commit, stage] = code.digest(module, package) if known else None
        return self._digests[commit, stage]

    def _extract(self, commit: str) -> Path | None:
        if not commit.isalnum():  # or it might be an option
            return None
        environment = {name: value for name, value in os.environ.items() if name not in clone.ELSEWHERE}
        command = ["git", "-C", str(ROOT), "archive", "--format=tar", commit]
        try:
            archive = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            return None
        folder = Path(self._folder.name, commit)
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
        return folder / code.PACKAGE.relative_to(ROOT)


def judge(nodes: Iterable[Node], commits: Commits, findings: Findings) -> None:
    """Blame each record whose commit cannot have made it; doubt those whose code nobody has, once for each commit.

    Edited code, and code in no clone, is known where this clone has the very same.
    """
    doubts: dict[str, int] = defaultdict(int)
    for node in nodes:
        stage, digest, git = node.stage, node.content["code_sha256"], node.content["git"]
        commit, python = git["commit"], node.content.get("packages", {}).get("python", PYTHON)
        in_commit, name = commits.digest(commit, stage), f"the commit {commit[:12]}"
        if digest == in_commit:
            continue
        if git["dirty"] is not False:
            if digest != here(stage):
                doubts["code in no clone" if commit == "unknown" else f"edited code of {name}"] += 1
        elif in_commit is None:
            lack = f"whose code lacks the stage {stage}" if commits.package(commit) else "which this clone lacks"
            doubts[f"{name}, {lack}"] += 1
        elif _minor(python) != _minor(PYTHON):  # which writes code out in another way
            doubts[f"{name} with Python {python}, whose digests of code {PYTHON} cannot compute"] += 1
        else:
            findings.blame(node.path, f"names {name}, whose code for {stage} has another digest")
    for maker, count in doubts.items():
        findings.doubt(f"{counted(count, 'record')} made by {maker}: nothing proves the code")


@cache
def here(stage: str) -> str | None:
    """The digest of the code of a stage that this process would run."""
    return code.digest(f"retscale.{stage}.run") if stage in STAGES else None


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
