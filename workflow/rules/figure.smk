"""One figure.

requires: collect.json, fit.json        writes: NAME.png, .pdf, .svg, .csv (its points), .md (caption), .txt (alt text)
"""

figures = [f"{out}/figure/{figure}.png" for figure in study.figures]


rule figure:
    input:
        collect=rules.collect.output,
        fit=rules.fit.output,
    output:
        report(
            f"{out}/figure/{{figure}}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    params:
        spec=spec(specs.figure, "figure"),
        code=digest("figure"),
    log:
        f"{logs}/figure/{{figure}}.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "retscale figure --spec {params.spec:q} --collect {input.collect:q} --fit {input.fit:q}"
        " --out {output:q} > {log:q} 2>&1"
