"""Why the jobs of a study that has run would run again, in words."""

from collections.abc import Iterator
from pathlib import Path

from retscale.common.canonical import canonical
from retscale.common.phrase import counted
from retscale.errors import UserError
from retscale.plan.jobs import Job, jobs
from retscale.provenance import code, record
from retscale.study.study import Study

ABSENT = object()


def why(study: Study, results: Path) -> list[str]:
    """One line for each stage and reason, with the number of its jobs and one of them as example."""
    reasons: dict[tuple[str, str], list[str]] = {}
    remade: dict[str, str] = {}  # output -> the stage that makes it again
    for job in jobs(study):
        own_reasons = list(dict.fromkeys(of(job, results, remade)))
        if own_reasons:
            remade |= dict.fromkeys(job.makes, job.stage)
        for reason in own_reasons:
            reasons.setdefault((job.stage, reason), []).append("/".join(job.name) or job.stage)
    return [
        f"{stage:<12} {reason}  ({counted(len(names), 'job')}, such as {names[0]})"
        for (stage, reason), names in reasons.items()
    ]


def of(job: Job, results: Path, remade: dict[str, str]) -> Iterator[str]:
    """The reasons of one job; none if it would not run."""
    for output in job.makes:
        yield from _of_output(job, output, results)
    if upstream := dict.fromkeys(remade[path] for path in job.reads if path in remade):
        yield f"its inputs are made again by {', '.join(upstream)}"


def _of_output(job: Job, output: str, results: Path) -> Iterator[str]:
    if not (results / output).is_file():
        yield "its output is missing"
        return
    try:
        saved = record.read(results / output)
    except UserError:
        yield "its output has no readable record"
        return
    yield from differences(saved["spec"], job.makes[output]())
    if saved["code_sha256"] != code.digest(f"retscale.{job.stage}.run"):
        yield f"the code of {job.stage} changed"
    for path in job.changed(output, saved, results):
        yield f"the file {path} {'changed' if path.is_file() else 'is missing'}"


def differences(then: object, now: object, where: str = "") -> Iterator[str]:
    """What differs between two specs, by the path of each key."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted(then.keys() | now.keys()):
            yield from differences(then.get(key, ABSENT), now.get(key, ABSENT), f"{where}.{key}" if where else key)
    elif then != now:
        yield f"{where}: {_shown(then)} -> {_shown(now)}"


def _shown(value: object) -> str:
    if value is ABSENT:
        return "(none)"
    text = canonical(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
