"""The code of the commits that records name, taken out of this clone: does it have the digest that the record has?"""

import io
import os
import subprocess
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from retscale.audit.findings import Findings
from retscale.audit.walk import Node
from retscale.common.phrase import counted
from retscale.provenance import clone, code

ROOT = code.PACKAGE.parents[1]


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
        if not commit.isalnum() or not (ROOT / ".git").exists():  # or it might be an option, or another repository's
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
    """Blame each record whose commit cannot have made it; doubt those of edited or unknown code, once for each commit."""
    unproven: dict[str, int] = defaultdict(int)
    for node in nodes:
        stage, commit, dirty = node.stage, node.content["git"]["commit"], node.content["git"]["dirty"]
        if commit == "unknown" or dirty is not False:
            unproven["code in no clone" if commit == "unknown" else f"edited code of the commit {commit[:12]}"] += 1
        elif (digest := commits.digest(commit, stage)) is None:
            lack = f"whose code lacks the stage {stage}" if commits.package(commit) else "which this clone lacks"
            unproven[f"the commit {commit[:12]}, {lack}"] += 1
        elif digest != node.content["code_sha256"]:
            findings.blame(node.path, f"names the commit {commit[:12]}, whose code for {stage} has another digest")
    for maker, count in unproven.items():
        findings.doubt(f"{counted(count, 'record')} made by {maker}: nothing proves the code")
