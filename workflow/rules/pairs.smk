"""A training data set: queries, their positives, and the passage collection.

requires: a data source, task.json and items.json of held-out tests        writes: pairs.json, pairs.parquet, passages.parquet
"""


rule pairs:
    input:
        expand(f"{out}/task/{{task}}/task.json", task=study.held("task")),
        expand(f"{out}/items/{{task}}/items.json", task=study.held("items")),
    output:
        f"{out}/pairs/{{pairs}}/pairs.json",
    params:
        spec=spec(specs.pairs, "pairs"),
        files=files("pairs", specs.pairs, "pairs"),
        code=digest("pairs"),
    log:
        f"{logs}/pairs/{{pairs}}.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "retscale pairs --spec @<(printf %s {params.spec:q}) --tests {input:q} --out {output:q} > {log:q} 2>&1"
