"""Write a crate: the graph of its entities, and the files that it holds."""

import io
import json
import os
from pathlib import Path

import yaml
from rocrate.model import ContextEntity
from rocrate.rocrate import ROCrate

from retscale.crate import croissant, graph, jobs
from retscale.provenance import clone, publish, record

REPOSITORY = Path(__file__).resolve().parents[3]
WORKFLOW, CITATION = "Snakefile", "CITATION.cff"
CONTEXT = "https://w3id.org/ro/terms/workflow-run/context"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
LICENSE = {
    "@id": "#license",
    "@type": "CreativeWork",
    "name": "unknown",
    "description": "None is stated for the results as a whole; the code and each data set name their own.",
}


def write(records: graph.Records, root: Path, study_file: Path, out: Path, base: Path | None = None) -> int:
    """The crate of the study whose results lie in `root`, as a folder or, where `out` ends in .zip, a file; its bytes.

    `base`: the file that the study's file extends.

    UserError if a file that it holds is not what its record says.
    """
    crate = describe(records, root, study_file, base)
    with publish.workspace(out.parent, out.name) as work:
        target = work / out.name
        if out.suffix == ".zip":
            crate.write_zip(target)
        else:
            crate.write(target)
        size = sum(path.stat().st_size for path in [target, *target.rglob("*")] if path.is_file())
        os.rename(target, out)
    return size


def describe(records: graph.Records, root: Path, study_file: Path, base: Path | None = None) -> ROCrate:
    """The crate before it is written."""
    crate = ROCrate(version="1.1")  # the version that the profiles extend
    crate.metadata.extra_contexts.append(CONTEXT)
    copied = graph.copied(records)
    files = {entity["@id"]: entity for entity in graph.files(records)}
    for path, sha256 in copied.items():
        record.check(root / path, sha256)
        _add_file(crate, root / path, path, files.pop(graph.file_id(path)))
    for path in records:
        _add_file(crate, root / path, path, {"name": f"The provenance record of {jobs.name(path)}"})
    _add_file(crate, study_file, study_file.name, {"name": "The study, as its file was when this crate was written"})
    study_files = [study_file.name]
    if base:
        study_files.append(f"base/{base.name}")
        _add_file(crate, base, study_files[1], {"name": "The file that the study extends, as it was then"})
    _add_file(crate, REPOSITORY / "LICENSE", "LICENSE", {"name": "The license of the code"})
    _add_file(crate, REPOSITORY / CITATION, CITATION, {"name": "How to cite the code"})

    run, actions, steps = graph.run(records, study_files, WORKFLOW), graph.actions(records), graph.steps(records)
    _add_workflow(crate, graph.instruments(records), steps)
    for entity in [*files.values(), *graph.tools(records), *steps, *actions, *graph.data(records), run, LICENSE]:
        _add(crate, entity)
    for id, name in PROFILES.items():
        _add(crate, {"@id": id, "@type": "CreativeWork", "name": name, "version": id.rpartition("/")[2]})
    about = graph.about(records)
    _add_croissant(crate, {path: copied[path] for path in copied if path.endswith(".parquet")}, root, about)
    about |= {"identifier": graph.root(records), "license": graph.reference(LICENSE["@id"])}
    mentions = graph.reference(run["@id"], *(action["@id"] for action in actions))
    crate.update_jsonld({"@id": "./", **about, "conformsTo": graph.reference(*PROFILES), "mentions": mentions})
    return crate


def _add_workflow(crate: ROCrate, instruments: dict[str, str], steps: list[graph.Entity]) -> None:
    """The Snakefile of this clone: which code made what, say the instruments."""
    code = yaml.safe_load((REPOSITORY / CITATION).read_text(encoding="utf-8"))
    license = f"https://spdx.org/licenses/{code['license']}"
    _add(crate, {"@id": license, "@type": "CreativeWork", "name": code["license"]})
    properties = {
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": code["title"],
        "encodingFormat": "text/plain",
        "description": "As it was when this crate was written; each job's instrument names the code that ran",
        "version": clone.state()["commit"],
        "license": {"@id": license},
        "citation": {"@id": CITATION},
        "hasPart": graph.reference(*dict.fromkeys(instruments.values())),
        "step": graph.reference(*(step["@id"] for step in steps if step["@type"] == "HowToStep")),
    }
    crate.add_workflow(REPOSITORY / WORKFLOW, WORKFLOW, main=True, lang="snakemake", properties=properties)


def _add_croissant(crate: ROCrate, tables: dict[str, str], root: Path, about: dict) -> None:
    text = croissant.description(tables, root, about)
    properties = {"name": "The tables, described in Croissant", "conformsTo": {"@id": text["conformsTo"]}}
    _add_file(crate, io.StringIO(json.dumps(text, indent=1, ensure_ascii=False)), "croissant.json", properties)


def _add(crate: ROCrate, entity: graph.Entity) -> None:
    """Unlike `add_jsonld` this does not go through all entities to see whether one has the same id."""
    crate.add(ContextEntity(crate, entity["@id"], entity))


def _add_file(crate: ROCrate, source: Path | io.StringIO, path: str, properties: dict) -> None:
    properties = {"encodingFormat": graph.media_type(path)} | {k: v for k, v in properties.items() if k != "@id"}
    crate.add_file(source, path, properties=properties, record_size=True)
