"""All results as tidy tables.

requires: every card, encoder (made here or elsewhere), evaluation (of encoders and references) and in-context score; or published results
writes: collect.json, checkpoints/training/scores/curves/lengths/per_query/icl.parquet
"""

# Not inputs, since no rule makes these files.
published = [str(path) for path in source_files.published(study)]


rule collect:
    input:
        cards=cards,
        encoders=encoders,
        given=given,
        scores=scores + reference_scores,
        kept=kept_scores,
        lengths=length_scores,
        icl=icl_scores,
    output:
        results.collect(),
    log:
        f"{logs}/collect.log",
    benchmark:
        f"{logs}/collect.tsv"
    group:
        group_of_report
    threads: threads("collect")
    resources:
        **resources("collect"),
    params:
        spec=spec(specs.collect),
        files=lambda wildcards: source_files.digest(*map(Path, published)),
        code=digest("collect"),
        models=lambda wildcards: published[:1],
        published=lambda wildcards: published[1:],
    shell:
        # As lists in files, since the paths of a thousand checkpoints exceed a command line.
        "attempt {log:q}; retscale collect --spec @<(printf %s {params.spec:q}) --cards @<(printf '%s\\n' {input.cards:q})"
        " --encoders @<(printf '%s\\n' {input.encoders:q}) --scores @<(printf '%s\\n' {input.scores:q})"
        " --given @<(printf '%s\\n' {input.given:q}) --kept @<(printf '%s\\n' {input.kept:q})"
        " --lengths @<(printf '%s\\n' {input.lengths:q})"
        " --icl @<(printf '%s\\n' {input.icl:q})"
        " --models {params.models:q} --published @<(printf '%s\\n' {params.published:q}) --out {output:q}"
