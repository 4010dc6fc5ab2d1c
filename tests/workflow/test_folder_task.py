"""A collection in a folder is a task by naming the folder, and is read again when the folder changes."""

import json
import os


def test_a_folder_is_a_task_and_is_watched(clone):
    folder = clone.folder.parent / "collection"
    (folder / "qrels").mkdir(parents=True)
    for name, id in (("corpus", "d"), ("queries", "q")):
        (folder / f"{name}.jsonl").write_text(json.dumps({"_id": id, "text": "words"}) + "\n")
    judgements = folder / "qrels" / "test.tsv"
    judgements.write_text("q\td\t1\n")
    named = f"{{id: mine, source: {{kind: folder, path: {folder}}}}}"
    clone.edit("config/smoke.yaml", "tasks: [fiqa, consumer-contracts]", f"tasks: [fiqa, {named}]")
    clone.snakemake("results/smoke/task/mine/task.json")
    facts = json.loads((clone.folder / "results/smoke/task/mine/task.json").read_text())
    record = json.loads((clone.folder / "results/smoke/task/mine/task.record.json").read_text())
    assert (facts["documents"], facts["queries"]) == (1, 1)
    assert set(record["notes"]["read"]) == {"corpus.jsonl", "queries.jsonl", "test.tsv"}
    clone.pretend()
    assert clone.plan() == {}
    judgements.write_text("q\td\t2\n")
    later = judgements.stat().st_mtime + 1000
    os.utime(judgements, (later, later))
    plan = clone.plan()
    assert plan["task"] == 1 and plan["evaluate_small"] == 4 and plan["evaluate_small_after_8"] == 1
    assert plan["tokens_small"] == 5 and "tokens" not in plan and "finetune" not in plan
