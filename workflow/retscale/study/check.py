"""`retscale check STUDY`: is this study right, and what would it run?"""

import argparse

from retscale.study import load


def main(arguments: argparse.Namespace) -> int:
    """Print what the study would run; UserError says what is wrong with it."""
    found = load.study(arguments.study)
    load.check_wheels(found)
    encoders = sum(map(len, found.trained.values()))
    print(f"{arguments.study}: {found.file.title}")
    print(f"checkpoints  {len(found.checkpoints)}: {', '.join(found.checkpoints)}")
    print(f"pairs        {len(found.pairs)}: {', '.join(found.pairs)}")
    for name, trained in found.trained.items():
        mixture = ", ".join(id if w is None else f"{id} ({w:g})" for id, w in found.mixture(name).items())
        print(f"recipe       {name}: {len(trained)} encoders, trained on {mixture}")
    print(f"tasks        {len(found.tasks)}: {', '.join(found.tasks)}")
    print(f"in context   {len(found.icl)}: {', '.join(found.icl) or 'none'}")
    print(f"evaluations  {encoders * len(found.tasks)} of {encoders} encoders in {encoders * len(found.batches)} jobs")
    return 0
