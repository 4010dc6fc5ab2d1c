"""What an audit says: problems, each about one culprit; doubts, which nobody can settle here; and notes."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from retscale.common.phrase import counted

VERIFIED, NOT_VERIFIED, CANNOT_TELL = 0, 1, 2  # exit statuses


@dataclass
class Findings:
    """`problems`: by culprit, a file or a record, what is wrong with it. `doubts` keep an audit from telling."""

    problems: dict[Path, list[str]] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def blame(self, culprit: Path, message: str) -> None:
        self._add(self.problems.setdefault(Path(os.path.normpath(culprit)), []), message)

    def doubt(self, message: str) -> None:
        self._add(self.doubts, message)

    def note(self, message: str) -> None:
        self._add(self.notes, message)

    @property
    def status(self) -> int:
        return NOT_VERIFIED if self.problems else CANNOT_TELL if self.doubts else VERIFIED

    @staticmethod
    def _add(messages: list[str], message: str) -> None:
        if message not in messages:
            messages.append(message)


def why(findings: Findings, files: int, records: int) -> str:
    """The verdict in one sentence."""
    if findings.problems:
        culprit, messages = next(iter(findings.problems.items()))
        others = len(findings.problems) - 1
        more = f", and {others} more {'is' if others == 1 else 'are'} not what was recorded" if others else ""
        return f"NOT verified: {culprit} {messages[0]}{more}"
    if findings.doubts:
        others = len(findings.doubts) - 1
        more = f" (and {counted(others, 'doubt')} more)" if others else ""
        return f"cannot tell: {findings.doubts[0]}{more}"
    return (
        f"verified: {counted(files, 'file')} and {counted(records, 'record')} are what was recorded, and agree with "
        "each other"
    )
