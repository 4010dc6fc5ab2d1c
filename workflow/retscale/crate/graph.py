"""What the records of a study say, as entities of a Provenance Run Crate.

https://w3id.org/ro/wfrun/provenance/0.5: every job is a CreateAction with the code as its instrument, the files that it
read as objects and those that it made as results. A file that is not in the crate is a contextual entity, whose id
begins with `#`; its sha256 identifies it.
"""

import mimetypes
import posixpath
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from retscale.crate import data_sets, jobs
from retscale.crate.jobs import AnyRecord
from retscale.errors import UserError
from retscale.provenance import record
from retscale.stages import STAGES

Entity = dict
Records = dict[str, AnyRecord]  # by their paths in the study

COPIED = ("collect", "fit", "external", "figure", "report")  # the stages whose results are in the crate
MEDIA_TYPES = {".parquet": "application/vnd.apache.parquet", ".jsonl": "application/jsonl", ".md": "text/markdown"}


def reference(*ids: str) -> Entity | list[Entity]:
    """How other entities refer to those of these ids."""
    references = [{"@id": id} for id in ids]
    return references[0] if len(ids) == 1 else references


def copied(records: Records) -> dict[str, str]:
    """The files that the crate holds, by their places in the study, with their sha256."""
    return {
        place: row["sha256"]
        for path, content in records.items()
        if content["stage"] in COPIED
        for place, row in jobs.outputs(path, content).items()
    }


def files(records: Records) -> list[Entity]:
    """Every file that a job read or made, once."""
    entities: dict[str, Entity] = {}
    for path, content in records.items():
        for place, row in jobs.outputs(path, content).items():
            id = file_id(place, content["stage"] in COPIED)
            entities[id] = _file(id, place, row)
    for path, content in records.items():
        for row in content["inputs"]:
            id = _input_id(path, row, records)
            entity = entities.setdefault(id, _file(id, posixpath.basename(row["path"]), dict(row)))
            if entity["sha256"] != row["sha256"]:
                raise UserError(f"{entity['name']} is not what {path} was made from; run the study again")
    return list(entities.values())


def actions(records: Records) -> list[Entity]:
    """What each job did, from its record."""
    code, report = instruments(records), report_spec(records)
    return [
        {
            "@id": _action_id(path),
            "@type": "CreateAction",
            "identifier": f"sha256 of the record: {record.digest(content)}",
            "name": f"{content['stage']}: {jobs.name(path)}",
            "description": f"Its settings, its machine and what it used are in {path}",
            **_times(content),
            "instrument": reference(code[path]),
            "object": reference(
                *dict.fromkeys(_input_id(path, row, records) for row in content["inputs"]),
                *(entity["@id"] for entity in data_sets.of_job(content, report)),
            ),
            "result": reference(*(file_id(place, content["stage"] in COPIED) for place in jobs.outputs(path, content))),
            "subjectOf": reference(quote(path)),
        }
        for path, content in records.items()
    ]


def run(records: Records, study_files: list[str], workflow: str) -> Entity:
    """The run of the whole study: from the first start to the last end of its jobs."""
    return {
        "@id": "#run",
        "@type": "CreateAction",
        "name": "Run of the study",
        "description": "From the first start to the last end of its jobs, however often it was interrupted",
        **_span(records),
        "instrument": reference(workflow),
        "object": reference(*map(quote, study_files), *(entity["@id"] for entity in data(records))),
        "result": reference(*map(quote, copied(records))),
    }


def tools(records: Records) -> list[Entity]:
    """The code of each stage: one for each version of it, commit and set of packages; and these packages."""
    entities: dict[str, Entity] = {}
    packages: dict[str, Entity] = {}
    for path, id in instruments(records).items():
        content = records[path]
        needed = {
            f"#package/{quote(name)}-{quote(version)}": (name, version)
            for name, version in content.get("packages", {}).items()
            if version != "not installed"
        }
        packages |= {
            id: {"@id": id, "@type": "SoftwareApplication", "name": name, "softwareVersion": version}
            for id, (name, version) in needed.items()
        }
        commit = content["git"]["commit"] + "-edited" * bool(content["git"]["dirty"])
        entities[id] = {
            "@id": id,
            "@type": "SoftwareApplication",
            "name": f"retscale {content['stage']}",
            "description": STAGES[content["stage"]].does,
            "softwareVersion": commit,
            "identifier": f"sha256 of the stage's code: {content['code_sha256']}",
            "softwareRequirements": reference(*needed),
        }
    return [*entities.values(), *packages.values()]


def steps(records: Records) -> list[Entity]:
    """The stages as steps of the workflow, in order, and what each did."""
    code = instruments(records)
    entities = []
    for position, stage in enumerate(STAGES):
        own = [path for path, content in records.items() if content["stage"] == stage]
        if not own:
            continue
        entities += [
            {
                "@id": f"#step/{stage}",
                "@type": "HowToStep",
                "name": stage,
                "position": str(position),
                "workExample": reference(*dict.fromkeys(code[path] for path in own)),
            },
            {
                "@id": f"#steps/{stage}",
                "@type": "ControlAction",
                "name": f"The jobs of {stage}",
                "instrument": reference(f"#step/{stage}"),
                "object": reference(*map(_action_id, own)),
            },
        ]
    return entities


def data(records: Records) -> list[Entity]:
    """Data and models from elsewhere, each once."""
    report = report_spec(records)
    entities = [entity for content in records.values() for entity in data_sets.of_job(content, report)]
    return list({entity["@id"]: entity for entity in entities}.values())


def about(records: Records) -> Entity:
    """What the study is called and about, and the day of its last result. UserError if no record says when that was."""
    report, times = report_spec(records), list(_span(records).values())
    if not times:
        raise UserError("no record says when its job ran; run the study again")
    return {"name": report["title"], "description": report["description"], "datePublished": times[-1][:10]}


def root(records: Records) -> str:
    """What commits to all records of the study: the digest of the report's, which `retscale audit` shows too."""
    return next(
        f"sha256 of the record: {record.digest(each)}" for each in records.values() if each["stage"] == "report"
    )


def media_type(path: str) -> str:
    return MEDIA_TYPES.get(posixpath.splitext(path)[1]) or mimetypes.guess_type(path)[0] or "application/octet-stream"


def _file(id: str, name: str, row: dict) -> Entity:
    size = {"contentSize": str(row["bytes"])} if "bytes" in row else {}
    return {
        "@id": id,
        "@type": "File",
        "name": name,
        "sha256": row["sha256"],
        "encodingFormat": media_type(name),
        **size,
    }


def _input_id(path: str, row: dict, records: Records) -> str:
    """Of a file from outside the study nothing but its name and its contents is for others to know."""
    place = jobs.place(path, row["path"])
    if place is None:
        return f"#outside/{row['sha256']}"
    maker = jobs.place(path, row["record"]) if row["record"] else None
    return file_id(place, maker in records and records[maker]["stage"] in COPIED)


def file_id(place: str, is_copied: bool = True) -> str:
    return quote(place) if is_copied else f"#{quote(place)}"


def _action_id(path: str) -> str:
    return f"#job/{quote(jobs.name(path))}"


def _span(records: Records) -> Entity:
    """From the first start to the last end of the jobs, as far as it is known."""
    times = [_times(content) for content in records.values()]
    starts, ends = ([each[key] for each in times if key in each] for key in ("startTime", "endTime"))
    return ({"startTime": min(starts)} if starts else {}) | ({"endTime": max(ends)} if ends else {})


def _times(content: AnyRecord) -> Entity:
    """When the job started and ended, as far as its record says so."""
    started = content.get("run", content).get("started")  # which older records have at the top
    if started is None:
        return {}
    start = datetime.strptime(started, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    usage = content.get("usage")
    if usage is None:  # of a further product of a job
        return {"startTime": start.isoformat()}
    end = start + timedelta(seconds=usage["seconds"])
    return {"startTime": start.isoformat(), "endTime": end.isoformat(timespec="milliseconds")}


def instruments(records: Records) -> dict[str, str]:
    """For each record the id of the code that made it; `#mine`, then `#mine-2` if other code made others of the stage."""
    known: dict[str, list] = {}
    ids = {}
    for path, content in records.items():
        versions = known.setdefault(content["stage"], [])
        version = content["code_sha256"], content["git"], content.get("packages", {})
        if version not in versions:
            versions.append(version)
        number = versions.index(version) + 1
        ids[path] = f"#{content['stage']}" + (f"-{number}" if number > 1 else "")
    return ids


def report_spec(records: Records) -> dict:
    """The spec of the report, which holds what the study says about itself and its data."""
    return next(content["spec"] for content in records.values() if content["stage"] == "report")
