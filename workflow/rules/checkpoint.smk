"""A pretrained checkpoint, from the hub, a folder, a GGUF file, or pretrained here.

requires: text.json (only what is pretrained here), card.json of another one (only random weights)
writes: card.json, model/
"""

cards = [results.checkpoint(checkpoint) for checkpoint in study.checkpoints]


rule checkpoint:
    input:
        text=lambda wildcards: (
            results.text() if study.checkpoints[wildcards.checkpoint].source.kind == "pretrain" else []
        ),
        like=lambda wildcards: [results.checkpoint(id) for id in study.like(wildcards.checkpoint)],
    output:
        results.checkpoint("{checkpoint}"),
    log:
        f"{logs}/checkpoint/{{checkpoint}}.log",
    benchmark:
        f"{logs}/checkpoint/{{checkpoint}}.tsv"
    priority: 2  # the longest chains start here, and short jobs at the end leave no processor idle
    localrule: fetched_here and not study.text
    threads: threads("checkpoint", "checkpoint")
    resources:
        **resources("checkpoint", "checkpoint"),
    params:
        spec=spec(specs.checkpoint, "checkpoint"),
        files=files("checkpoint", specs.checkpoint, "checkpoint"),
        code=digest("checkpoint"),
    shell:
        "attempt {log:q}; retscale checkpoint --spec @<(printf %s {params.spec:q}) --text {input.text:q} --like {input.like:q}"
        " --out {output:q}"
