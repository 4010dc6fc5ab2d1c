"""One figure.

requires: collect.json, fit.json, external.json if it draws them        writes: NAME.png, .pdf, .svg, .csv (its points), .md (caption), .txt (alt text)
"""

figures = [results.figure(figure) for figure in study.figures]


rule figure:
    input:
        collect=rules.collect.output,
        fit=rules.fit.output,
        external=lambda wildcards: external if wildcards.figure in study.figures_with_external else [],
    output:
        report(
            results.figure("{figure}"),
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        f"{logs}/figure/{{figure}}.log",
    benchmark:
        f"{logs}/figure/{{figure}}.tsv"
    group:
        group_of_report
    threads: threads("figure")
    resources:
        **resources("figure"),
    params:
        spec=spec(specs.figure, "figure"),
        code=digest("figure"),
    shell:
        "attempt {log:q}; retscale figure --spec @<(printf %s {params.spec:q}) --collect {input.collect:q} --fit {input.fit:q}"
        " --external {input.external:q}"
        " --out {output:q}"
