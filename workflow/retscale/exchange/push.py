"""`retscale push CHECKPOINT/RECIPE STUDY --to OWNER/NAME`: an encoder, its card and its scores in a repository of the hub."""

import argparse
import tempfile
from pathlib import Path

from retscale import paths
from retscale.common.terminal import answer
from retscale.errors import UserError
from retscale.exchange.card import card, described
from retscale.plan.formatting import size
from retscale.provenance import record
from retscale.study import load
from retscale.study.study import Study

CARD, SCORES = "README.md", "results"  # names in the repository: the card, and the folder of scores


def main(arguments: argparse.Namespace) -> int:
    """Upload the files and print the address; UserError if the study has not run, or the hub refuses."""
    study = load.study(arguments.study)
    text = str(card(described(study, arguments.study, arguments.encoder)))
    files = pushed(study, arguments.encoder)
    for name, path in files.items():
        answer(f"{size(path.stat().st_size):>8}  {name}")
    if arguments.dry_run:
        answer(f"{arguments.to}: {len(files)} files and the card {CARD}; nothing was sent")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, path in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(path.resolve())
        (folder / CARD).write_text(text, encoding="utf-8")
        where = upload(folder, arguments.to, arguments.public, f"{arguments.encoder} of the study {study.name}")
    answer(where)
    return 0


def pushed(study: Study, encoder: str) -> dict[str, Path]:
    """The files by their names in the repository: those of the encoder, and the scores of its tasks.

    UserError if a file differs from its record. Records are not uploaded, since they name this machine.
    """
    checkpoint, _, recipe = encoder.partition("/")
    results = paths.Results(str(paths.folder(study.name)))
    primary = Path(results.finetune(checkpoint, recipe))
    files = {row["path"]: (primary.parent / row["path"], row["sha256"]) for row in record.read(primary)["outputs"]}
    for task in study.tasks:
        scores = Path(results.evaluate(checkpoint, recipe, task))
        digests = {row["path"]: row["sha256"] for row in record.read(scores)["outputs"]}
        files[f"{SCORES}/{scores.name}"] = scores, digests[scores.name]
    for path, sha256 in files.values():
        record.check(path, sha256)
    return {name: path for name, (path, _) in files.items()}


def upload(folder: Path, repo: str, public: bool, message: str) -> str:
    """Upload the files of `folder` to the repository `repo`, which is created if missing; returns the commit's address.

    A file that is there already is not sent again. UserError without a token, if the repository is public and `public` is
    not set, or if the hub refuses.
    """
    from huggingface_hub import HfApi, get_token

    from retscale.hub.client import prepare
    from retscale.hub.refusals import NO_NETWORK, readable_errors

    if not get_token():
        raise UserError("there is no token of the hub here; set HF_TOKEN to one that may write, or run: hf auth login")
    prepare()
    api = HfApi()
    try:
        with readable_errors(repo, "main", "model"):
            api.create_repo(repo, private=not public, exist_ok=True)
            if not (public or api.model_info(repo).private):
                raise UserError(f"{repo} is public; give --public to push there, or name another repository")
            return str(api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message).commit_url)
    except NO_NETWORK:
        raise UserError(f"the hub cannot be reached, so {repo} was not written; run the same command again") from None
    except RuntimeError as error:  # a failed upload of a large file; the message is the name of the file
        raise UserError(f"{repo}: {error} Run the same command again: it sends what is missing") from None
