"""Reading a crate: what stands behind a file, and what the profiles of Workflow Run RO-Crate require."""

import json
import math
from collections.abc import Iterator
from importlib.resources import files

import mlcroissant
import pyarrow.parquet as pq
import pytest
from rocrate.rocrate import ROCrate

from retscale.common.files import sha256

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5",
    "https://w3id.org/ro/wfrun/provenance/0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
}
WORKFLOW = {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"}
CONTEXTS = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
TERMS = "https://w3id.org/ro/terms/workflow-run#"
# Where RO-Crate 1.1 has other addresses than 1.3, whose context is in the package.
OF_1_1 = {
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
    "output": "https://bioschemas.org/ComputationalWorkflow#output",
    "sha256": f"{TERMS}sha256",
}


def context() -> dict[str, str]:
    """The terms of a crate with their addresses."""
    text = files("rocrate").joinpath("data/ro-crate.jsonld").read_text(encoding="utf-8")
    return json.loads(text)["@context"] | OF_1_1


def types(entity) -> set[str]:
    return {entity.type} if isinstance(entity.type, str) else set(entity.type)


def find(crate: ROCrate, type: str) -> list:
    return [entity for entity in crate.get_entities() if type in types(entity)]


def each(entity, key: str) -> list:
    """The values of a property, whether it has one or several."""
    values = entity.get(key) or []
    return values if isinstance(values, list) else [values]


def jobs(crate: ROCrate) -> list:
    """The actions that are no run of the whole workflow."""
    return [action for action in find(crate, "CreateAction") if action["instrument"].id != crate.mainEntity.id]


def reached(crate: ROCrate, path: str) -> set[str]:
    """The ids of all that stands behind the file `path`, through any number of jobs."""
    makers = {made.id: job for job in jobs(crate) for made in each(job, "result")}
    behind, queue = set(), [path]
    while queue:
        job = makers.get(queue.pop())
        new = {source.id for source in each(job, "object")} - behind if job else set()
        behind |= new
        queue += new
    return behind


def problems(crate: ROCrate) -> list[str]:
    """What the profiles require and the crate lacks: a reading of their text, apart from the validator's."""
    return list(_problems(crate))


def _problems(crate: ROCrate) -> Iterator[str]:
    text = json.loads((crate.source / "ro-crate-metadata.json").read_text(encoding="utf-8"))
    graph = {entity["@id"]: entity for entity in text["@graph"]}
    if text["@context"] != CONTEXTS or len(graph) != len(text["@graph"]):
        yield "another context, or an id twice"
    for entity in graph.values():
        yield from (f"{entity['@id']}: {key} is no term" for key in entity.keys() - context().keys() - {"@id", "@type"})
        for value in (
            value for values in entity.values() for value in (values if isinstance(values, list) else [values])
        ):
            if isinstance(value, dict) and set(value) != {"@id"}:
                yield f"{entity['@id']}: {value} is not flat"
            elif isinstance(value, dict) and value["@id"] not in graph and "://" not in value["@id"]:
                yield f"{entity['@id']} refers to {value['@id']}, which is not described"
    root = crate.root_dataset
    for key in ("name", "description", "license", "datePublished"):
        if not root.get(key):
            yield f"the root has no {key}"
    if {profile.id for profile in each(root, "conformsTo")} != PROFILES:
        yield "other profiles"
    yield from _files(crate)
    yield from _workflow(crate)


def _files(crate: ROCrate) -> Iterator[str]:
    parts = {part.id for part in each(crate.root_dataset, "hasPart")}
    for file in find(crate, "File"):
        if file.id.startswith("#"):
            if file.id in parts or not file.get("sha256"):
                yield f"{file.id} is not in the crate, and has no sha256"
        elif file.id not in parts:
            yield f"{file.id} is no part of the root"
        elif file.get("sha256") and file["sha256"] != sha256(crate.source / file["name"]):
            yield f"{file.id} has other bytes"
    for part in parts:
        if not crate.get(part).source.is_file():
            yield f"{part} is missing"


def _workflow(crate: ROCrate) -> Iterator[str]:
    workflow, actions = crate.mainEntity, find(crate, "CreateAction")
    if types(workflow) != WORKFLOW or "ComputerLanguage" not in types(workflow["programmingLanguage"]):
        yield "the main entity is no workflow with a language"
    tools, steps = each(workflow, "hasPart"), each(workflow, "step")
    if not any(action["instrument"].id == workflow.id for action in actions):
        yield "no run of the workflow"
    for action in actions:
        if action["instrument"].id not in {workflow.id, *(tool.id for tool in tools)}:
            yield f"{action.id}: its tool is no part of the workflow"
    for tool in tools:
        if "SoftwareApplication" not in types(tool):
            yield f"{tool.id} is no application"
    for step in steps:
        if not {tool.id for tool in each(step, "workExample")} <= {tool.id for tool in tools}:
            yield f"{step.id} has no tool"
    ran = [action.id for control in find(crate, "ControlAction") for action in each(control, "object")]
    if sorted(ran) != sorted(job.id for job in jobs(crate)):
        yield "an action of no step, or of several"
    if not {control["instrument"].id for control in find(crate, "ControlAction")} <= {step.id for step in steps}:
        yield "a step that is not the workflow's"


def validated(crate: ROCrate) -> list[str]:
    """What roc-validator finds that is REQUIRED; its two contexts, which it would fetch, are served from here."""
    services = pytest.importorskip(
        "rocrate_validator.services", reason="needs roc-validator: pip install roc-validator"
    )
    import requests
    from rocrate_validator.utils.http import HttpRequester

    def get(_self, url: str, **_options) -> requests.Response:
        response = requests.Response()
        response.status_code = 200 if url in CONTEXTS else 504
        response.headers["Content-Type"] = "application/ld+json"
        response._content = json.dumps({"@context": context()}).encode()
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HttpRequester, "get", get, raising=False)
        settings = services.ValidationSettings(
            rocrate_uri=str(crate.source),
            profile_identifier="provenance-run-crate",
            offline=True,
            cache_path=crate.source.parent / "cache",
        )
        return [f"{issue.check.identifier}: {issue.message}" for issue in services.validate(settings).get_issues()]


def rows(crate: ROCrate, path: str) -> list[dict]:
    """Those of a parquet file in the crate; NaN is None."""
    return [
        {key: _plain(value) for key, value in row.items()} for row in pq.read_table(crate.source / path).to_pylist()
    ]


def croissant(crate: ROCrate) -> dict[str, list[dict]]:
    """The rows of every table by its name, as mlcroissant reads them."""
    data_set = mlcroissant.Dataset(jsonld=str(crate.source / "croissant.json"))
    return {
        table.uuid: [
            {key.removeprefix(f"{table.uuid}/"): _plain(value) for key, value in row.items()}
            for row in data_set.records(table.uuid)
        ]
        for table in data_set.metadata.record_sets
    }


def _plain(value: object) -> object:
    if isinstance(value, bytes):  # as mlcroissant hands out text
        return value.decode()
    return None if isinstance(value, float) and math.isnan(value) else value
