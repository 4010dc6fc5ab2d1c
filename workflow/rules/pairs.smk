"""A training data set: queries, their positives, and the passage collection.

requires: a data source, task.json and items.json of held-out tests        writes: pairs.json, pairs.parquet, passages.parquet
"""


rule pairs:
    input:
        expand(results.task("{task}"), task=study.held_out_by("task")),
        expand(results.items("{task}"), task=study.held_out_by("items")),
    output:
        results.pairs("{pairs}"),
    log:
        f"{logs}/pairs/{{pairs}}.log",
    benchmark:
        f"{logs}/pairs/{{pairs}}.tsv"
    localrule: fetched_here
    threads: threads("pairs", "pairs")
    resources:
        **resources("pairs", "pairs"),
    params:
        spec=spec(specs.pairs, "pairs"),
        files=files("pairs", specs.pairs, "pairs"),
        code=digest("pairs"),
    shell:
        "attempt {log:q}; retscale pairs --spec @<(printf %s {params.spec:q}) --tests {input:q} --out {output:q}"
