"""An encoder made elsewhere, used in place.

requires: its folder        writes: encoder.json
"""

given = [results.given(id) for id in study.encoders]


rule encoder:
    output:
        results.given("{encoder}"),
    log:
        f"{logs}/encoder/{{encoder}}.log",
    benchmark:
        f"{logs}/encoder/{{encoder}}.tsv"
    priority: 2
    threads: threads("encoder")
    resources:
        **resources("encoder"),
    params:
        spec=spec(specs.encoder, "encoder"),
        files=files("encoder", specs.encoder, "encoder"),
        code=digest("encoder"),
        listed=lambda wildcards: [str(path) for path in study.encoders[wildcards.encoder].source.files()],
    shell:
        "attempt {log:q}; retscale encoder --spec @<(printf %s {params.spec:q}) --files {params.listed:q} --out {output:q}"
