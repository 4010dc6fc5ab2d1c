"""A training data set: queries, their positives, and the passage collection.

requires: a data source        writes: pairs.json, pairs.parquet, passages.parquet
"""


rule pairs:
    output:
        f"{out}/pairs/{{pairs}}/pairs.json",
    params:
        spec=spec(specs.pairs, "pairs"),
        code=digest("pairs"),
    log:
        f"{logs}/pairs/{{pairs}}.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "retscale pairs --spec {params.spec:q} --out {output:q} > {log:q} 2>&1"
