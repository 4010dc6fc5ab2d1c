"""All results as tidy tables.

requires: every card, evaluation and in-context score        writes: collect.json, scores/per_query/icl/checkpoints.parquet
"""


rule collect:
    input:
        cards=cards,
        scores=scores,
        icl=icl_scores,
    output:
        f"{out}/collect/collect.json",
    params:
        spec=spec(specs.collect),
        code=digest("collect"),
    log:
        f"{logs}/collect.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "retscale collect --spec {params.spec:q} --cards {input.cards:q} --scores {input.scores:q} --icl {input.icl:q}"
        " --out {output:q} > {log:q} 2>&1"
