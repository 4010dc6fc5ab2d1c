"""report.html: figures, claims, tables, data and provenance in one file.

requires: figures, tables, descriptions of the data, leakage, external points        writes: report.html
"""


rule report:
    input:
        figures=figures,
        collect=rules.collect.output,
        fit=rules.fit.output,
        pairs=expand(rules.pairs.output, pairs=study.pairs),
        negatives=expand(rules.mine.output, pairs=study.trained_on),
        tasks=expand(rules.task.output, task=[] if study.published else study.tasks),
        leakage=leaks,
        external=external,
        text=rules.text.output if study.text else [],
    output:
        report(results.report(), caption="../report/report.rst", category="Report"),
    log:
        f"{logs}/report.log",
    benchmark:
        f"{logs}/report.tsv"
    group:
        group_of_report
    threads: threads("report")
    resources:
        **resources("report"),
    params:
        spec=spec(specs.report),
        code=digest("report"),
    shell:
        "attempt {log:q}; retscale report --spec @<(printf %s {params.spec:q}) --figures {input.figures:q} --collect {input.collect:q} --fit {input.fit:q}"
        " --pairs {input.pairs:q} --negatives {input.negatives:q} --tasks {input.tasks:q} --leakage {input.leakage:q} --text {input.text:q}"
        " --external {input.external:q}"
        " --out {output:q}"
