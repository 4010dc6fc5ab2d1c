"""Data sets and models that a study takes from elsewhere, each with its license as the study states it."""

from urllib.parse import quote

from retscale.crate.jobs import AnyRecord
from retscale.lineage.sources import MADE_HERE

UNKNOWN = "unknown"
# Where the report's spec describes what a job of the stage takes from elsewhere, under the job's own id.
DESCRIBED = {"task": "tasks", "pairs": "pairs", "checkpoint": "checkpoints", "encoder": "checkpoints", "items": "icl"}


def of_job(content: AnyRecord, report: dict) -> list[dict]:
    """Those that the job of a record reads, as entities of a crate; `report` is the spec of the study's report."""
    return [
        {
            "@id": f"#data/{quote(name)}",
            "@type": "Dataset",
            "name": name,
            "description": about.get("origin") or UNKNOWN,
            "license": about.get("licence") or UNKNOWN,
        }
        for name, about in _described(content["stage"], content["spec"], report).items()
    ]


def _described(stage: str, spec: dict, report: dict) -> dict[str, dict]:
    """What the job of a spec takes from elsewhere, with what the report's spec says about it."""
    if stage == "external":
        licences = report.get("external") or [""] * len(spec["tables"])
        return {
            f"external/{number}": {"origin": table["source"], "licence": licence}
            for number, (table, licence) in enumerate(zip(spec["tables"], licences), 1)
        }
    if stage == "collect":
        published = report.get("published")
        return {"published": published | {"origin": published["source"]}} if published else {}
    names = []
    if stage == "text":
        names = [source["name"] for source in spec["sources"]]
    elif stage == "icl":
        names = list(spec["tasks"])
    elif stage in DESCRIBED and spec["source"]["kind"] not in MADE_HERE:
        names = [spec["id"]]
    kind = DESCRIBED.get(stage, stage)
    return {f"{kind}/{name}": report.get(kind, {}).get(name, {}) for name in names}
