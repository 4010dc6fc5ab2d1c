"""Hard negatives for every query of a training data set.

requires: pairs.json        writes: negatives.parquet
"""


rule mine:
    input:
        pairs=rules.pairs.output,
    output:
        f"{out}/mine/{{pairs}}/negatives.parquet",
    params:
        spec=spec(specs.mine),
        code=digest("mine"),
    log:
        f"{logs}/mine/{{pairs}}.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "retscale mine --spec {params.spec:q} --pairs {input.pairs:q} --out {output:q} > {log:q} 2>&1"
