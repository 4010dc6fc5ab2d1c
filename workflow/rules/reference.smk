"""Scores and rankings of BM25 on retrieval tasks, to compare encoders with.

requires: task.json        writes: TASK.json, TASK.parquet

Batches are those of `evaluate`, and its results are marked `update` as there. No job here needs a model or a GPU.
"""

reference_scores = [results.reference(reference, task) for reference in study.references for task in study.tasks]

for batch, tasks in study.batches.items():

    rule:
        name:
            f"reference_{batch}"
        input:
            tasks=[results.task(task) for task in tasks],
        output:
            update([results.reference("{reference}", task) for task in tasks]),
        log:
            f"{logs}/reference/{{reference}}/{batch}.log",
        benchmark:
            f"{logs}/reference/{{reference}}/{batch}.tsv"
        threads: threads("reference", "reference", about=tuple(tasks))
        resources:
            **resources("reference", "reference", about=tuple(tasks)),
        params:
            spec=spec(specs.reference(tasks), "reference"),
            code=digest("reference"),
        shell:
            "attempt {log:q}; retscale reference --spec @<(printf %s {params.spec:q}) --tasks {input.tasks:q} --out {output:q}"
