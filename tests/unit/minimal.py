"""The shortest study there is, as text to which a test adds keys."""


def study(tasks: str) -> str:
    return f"""
name: s
title: t
description: d
checkpoints: [pythia-160m]
pairs: msmarco
mine: {{negatives: 15}}
recipes: [portes2025]
tasks: [{tasks}]
"""
