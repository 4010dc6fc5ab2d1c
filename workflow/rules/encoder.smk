"""An encoder made elsewhere, used where it lies.

requires: its folder        writes: encoder.json
"""

given = [f"{out}/encoder/{id}/encoder.json" for id in study.encoders]


rule encoder:
    input:
        lambda wildcards: study.encoders[wildcards.encoder].source.files(),
    output:
        f"{out}/encoder/{{encoder}}/encoder.json",
    params:
        spec=spec(specs.encoder, "encoder"),
        code=digest("encoder"),
    log:
        f"{logs}/encoder/{{encoder}}.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "retscale encoder --spec {params.spec:q} --files {input:q} --out {output:q} > {log:q} 2>&1"
