"""How large the data of a study are, as far as it is known before they are read."""

import importlib.util
import json
from functools import cache
from pathlib import Path

from retscale.icl.config import IclTask
from retscale.pairs.config import PairsConfig
from retscale.plan.estimate import Corpus, Prompts, Texts, least
from retscale.study import catalog, yaml
from retscale.task.config import RetrievalTask


@cache
def catalog_sizes() -> dict:
    """config/catalog/sizes.yaml."""
    return yaml.read(catalog.FOLDER / "sizes.yaml")


def of_task(task: RetrievalTask, task_json: Path) -> Corpus:
    """The size of a task: as counted, if its `task.json` is there; else as mteb's statistics and its own limits have it.

    Of a cut that is the most that it may have.
    """
    statistics = _of_mteb(task) if task.source.kind == "mteb" else {}
    known = Corpus(*(_texts(statistics.get(f"{kind}_text_statistics")) for kind in ("queries", "documents")))
    judged = statistics.get("relevant_docs_statistics", {}).get("num_relevant_docs")
    counted = read(task_json)
    queries = counted.get("queries", least(known.queries.count, task.max_queries))
    most = task.pool.most(queries, judged) if task.pool else task.max_documents
    passages = counted.get("documents", least(known.passages.count, most))
    return Corpus(Texts(queries, known.queries.characters), Texts(passages, known.passages.characters))


def of_pairs(config: PairsConfig, pairs_json: Path) -> Corpus:
    """The size of a training data set: as counted, if its `pairs.json` is there; else as the catalog has it."""
    known = catalog_sizes()["pairs"].get(getattr(config.source, "repo", None), {})
    known = known | {key: value for key, value in read(pairs_json).items() if key in ("pairs", "passages")}
    pairs = least(known.get("pairs"), config.max_pairs)
    return Corpus(Texts(pairs, known.get("query")), Texts(known.get("passages"), known.get("passage")))


def of_icl(task: IclTask) -> Prompts:
    """The size of an in-context task, where the catalog has its file."""
    known = catalog_sizes()["icl"].get(getattr(task.source, "file", None), {})
    return Prompts(least(known.get("items"), task.max_items), known.get("item"), known.get("others"))


def read(path: Path) -> dict:
    """The object in a JSON file; empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _of_mteb(task: RetrievalTask) -> dict:
    """From the statistics that lie beside mteb's tasks, read as files: importing mteb takes seconds."""
    package = importlib.util.find_spec("mteb")
    if package is None:
        return {}
    folder = Path(next(iter(package.submodule_search_locations))) / "descriptive_stats"
    statistics = next((read(path) for path in sorted(folder.glob(f"*/{task.source.name}.json"))), {})
    split = statistics.get(task.source.split, {})
    return split.get("hf_subset_descriptive_stats", {}).get(task.source.subset, split)


def _texts(statistics: dict | None) -> Texts:
    if not statistics or not (mean := statistics["average_text_length"]):
        return Texts()
    return Texts(round(statistics["total_text_length"] / mean), mean)
