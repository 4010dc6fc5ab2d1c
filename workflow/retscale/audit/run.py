"""`retscale audit FIGURE|TABLE|STUDY`: is every byte behind it what was recorded, and do the files agree with each other?"""

import argparse
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from retscale.audit import agree, chain, points, proofs, signature, sources, today, versions
from retscale.audit import target as targets
from retscale.audit.findings import CANNOT_TELL, NOT_VERIFIED, why
from retscale.audit.rests import rests_on
from retscale.audit.target import Target
from retscale.audit.walk import Contents, Walk, walk
from retscale.common.phrase import counted
from retscale.common.terminal import answer, answer_json
from retscale.errors import UserError

CULPRITS = 100  # that are shown with what rests on them; nobody reads more
STATUS = {0: "verified", NOT_VERIFIED: "NOT verified", CANNOT_TELL: "cannot tell"}


@dataclass(frozen=True)
class Audit:
    """What was audited, and all that was seen on the way."""

    target: Target
    walked: Walk

    @property
    def status(self) -> int:
        """The exit status: 0 verified, 1 not verified, 2 cannot tell."""
        return self.walked.findings.status

    @property
    def why(self) -> str:
        return why(self.walked.findings, len(self.walked.hashed), len(self.walked.nodes))


def main(arguments: argparse.Namespace) -> int:
    """Print the findings, and last the verdict in one sentence; returns the exit status."""
    again: list[str] = []
    try:
        audit = run(arguments.target, arguments.root)
        asked = proofs.Asked(arguments.spot_check, arguments.replay, arguments.seed)
        walked = audit.walked
        proofs.prove(walked.nodes, walked.findings, asked, again.append if arguments.json else answer)
        if arguments.sign:
            signature.sign(audit.walked, *arguments.sign)
        if arguments.signature:
            check_signature(audit, *arguments.signature)
    except UserError as error:
        says = f"cannot tell: {error}"
        if arguments.json:
            answer_json({"verdict": STATUS[CANNOT_TELL], "status": CANNOT_TELL, "why": says})
        else:
            answer(f"verdict   {says}")
        return CANNOT_TELL
    if arguments.json:
        answer_json(as_json(audit, arguments.points) | ({"again": again} if again else {}))
    else:
        show(audit, arguments.points)
    return audit.status


def run(path: Path, root: str | None = None, contents: Contents | None = None) -> Audit:
    """Audit what lies at `path`; `root`: the root or the seal that somebody trusts. UserError if nothing can be audited.

    `contents`: sha256 by inode, to be kept from audit to audit of a folder.
    """
    target = targets.of(path)
    walked = walk([*target.last, *target.others], contents)
    chain.judge(walked)
    agree.compare(walked)
    findings = walked.findings
    walked.starts = target.last
    for file in target.asked:
        if file not in walked.hashed and not any(path in findings.problems for path in target.last):
            findings.blame(file, "is in no record")
    study = target.study or targets.study_of(walked.folder)
    sources.of_study(study, walked)
    for note in today.compare(study, walked, target.whole) if study else ():
        findings.note(note)
    for note in today.extra(walked.folder, walked) if target.whole else ():
        findings.note(note)
    versions.compare(walked)
    if root and root not in (walked.root, walked.seal):
        findings.blame(target.last[0], f"is not the record of the root or the seal {root}")
    return Audit(target, walked)


def check_signature(audit: Audit, file: Path, signers: Path) -> None:
    """Note who signed the root and the seal; the signature is to blame if nobody who may has signed these."""
    try:
        audit.walked.findings.note(f"signed by {signature.signer(audit.walked, file, signers)}")
    except UserError as error:
        audit.walked.findings.blame(file, f"is not a signature of this root and seal: {error}")


def show(audit: Audit, with_points: bool) -> None:
    walked, findings = audit.walked, audit.walked.findings
    answer(f"audit     {', '.join(str(path) for path in audit.target.last[:3])}: {STATUS[audit.status]}")
    for culprit, messages in islice(findings.problems.items(), CULPRITS):
        answer(f"PROBLEM   {culprit}: {messages[0]}")
        for message in messages[1:]:
            answer(f"          and {message}")
        if behind := rests_on(culprit, walked):
            answer(f"          on it rest {behind}")
    if (more := len(findings.problems) - CULPRITS) > 0:
        answer(f"PROBLEM   and {counted(more, 'culprit')} more, which --json lists")
    for doubt in findings.doubts:
        answer(f"doubt     {doubt}")
    for note in findings.notes:
        answer(f"note      {note}")
    for line in points.lines(walked) if with_points else ():
        answer(line)
    size = f"{walked.bytes / 1e6:,.1f} MB"
    answer(f"hashed    {counted(len(walked.hashed), 'file')} of {counted(len(walked.nodes), 'record')}, {size}")
    answer(f"root      {walked.root or 'unknown'}")
    answer(f"seal      {walked.seal}")
    answer(f"verdict   {audit.why}")


def as_json(audit: Audit, with_points: bool) -> dict:
    walked, findings = audit.walked, audit.walked.findings
    return {
        "audited": [str(path) for path in audit.target.last],
        "verdict": STATUS[audit.status],
        "status": audit.status,
        "why": audit.why,
        "problems": [
            {"culprit": str(culprit), "says": messages}
            | ({"rest_on_it": rests_on(culprit, walked)} if number < CULPRITS else {})
            for number, (culprit, messages) in enumerate(findings.problems.items())
        ],
        "doubts": findings.doubts,
        "notes": findings.notes,
        "records": len(walked.nodes),
        "files": {str(path): digest for path, digest in walked.hashed.items()},
        "bytes": walked.bytes,
        "root": walked.root,
        "seal": walked.seal,
    } | ({"points": list(points.lines(walked))} if with_points else {})
