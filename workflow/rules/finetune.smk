"""An encoder: a checkpoint fine-tuned by a recipe.

requires: card.json, and pairs.json, negatives.parquet and tokens of each data set that the recipe trains on
writes: encoder.json, weights, tokenizer, log.jsonl
"""

encoders = [results.finetune(checkpoint, recipe) for recipe, trained in study.trained.items() for checkpoint in trained]


rule finetune:
    input:
        card=results.checkpoint("{checkpoint}"),
        pairs=lambda wildcards: expand(rules.pairs.output, pairs=study.mixture(wildcards.recipe)),
        negatives=lambda wildcards: expand(rules.mine.output, pairs=study.mixture(wildcards.recipe)),
        tokens=lambda wildcards: expand(rules.tokens.output, pairs=study.mixture(wildcards.recipe), allow_missing=True),
    output:
        results.finetune("{checkpoint}", "{recipe}"),
    log:
        f"{logs}/finetune/{{checkpoint}}/{{recipe}}.log",
    benchmark:
        f"{logs}/finetune/{{checkpoint}}/{{recipe}}.tsv"
    priority: 1
    threads: threads("finetune", "checkpoint", "recipe")
    resources:
        **resources("finetune", "checkpoint", "recipe"),
        launch=launch("checkpoint", "recipe"),
    params:
        spec=spec(specs.finetune, "recipe"),
        code=digest("finetune"),
    shell:
        # The launcher must survive the SIGTERM of a preemption, which asks the training to save its state.
        # Every process that it starts reads the spec, so the spec is a file: a pipe can be read only once.
        "attempt {log:q}; trap '' TERM; printf %s {params.spec:q} > {log:q}.spec; "
        "{resources.launch} -m retscale finetune --spec @{log:q}.spec"
        " --card {input.card:q} --pairs {input.pairs:q} --negatives {input.negatives:q}"
        " --tokens {input.tokens:q} --out {output:q}"
