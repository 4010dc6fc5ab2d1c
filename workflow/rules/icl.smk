"""In-context scores of a checkpoint, before any fine-tuning.

requires: card.json, items.json of fetched tasks        writes: TASK.json, TASK.parquet; one job per checkpoint, finished tasks are kept
"""

icl_scores = [results.icl(checkpoint, task) for checkpoint in study.checkpoints_in_context for task in study.icl]

if study.icl:

    rule icl:
        input:
            card=results.checkpoint("{checkpoint}"),
            tasks=[results.items(task) for task in study.items_to_fetch if task in study.icl],
        output:
            update([results.icl("{checkpoint}", task) for task in sorted(study.icl)]),
        log:
            f"{logs}/icl/{{checkpoint}}.log",
        benchmark:
            f"{logs}/icl/{{checkpoint}}.tsv"
        threads: threads("icl", "checkpoint")
        resources:
            **resources("icl", "checkpoint"),
            start=start("icl", "checkpoint"),
        params:
            spec=spec(specs.icl, "checkpoint"),
            files=files("icl", specs.icl, "checkpoint"),
            code=digest("icl"),
        shell:
            "attempt {log:q}; {resources.start}retscale icl --spec @<(printf %s {params.spec:q}) --card {input.card:q} --tasks {input.tasks:q} --out {output:q}"
