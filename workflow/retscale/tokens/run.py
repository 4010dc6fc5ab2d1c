"""The stage `tokens`: the texts of a collection as a checkpoint's tokenizer reads them, NAME.json and NAME.SIDE.ids."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from retscale.common.canonical import canonical
from retscale.common.copies import fingerprints
from retscale.common.files import link, sha256, sha256_of
from retscale.common.progress import progress
from retscale.errors import UserError
from retscale.model.prompt import Side
from retscale.provenance import code_cache
from retscale.tokens import store
from retscale.tokens.card import TokensCard
from retscale.tokens.collection import Collection, collections
from retscale.tokens.config import Spec
from retscale.tokens.file import write
from retscale.tokens.tokenizer import TokenizerFiles, of_checkpoint, of_encoder


def run(values: dict, inputs: dict, out: Path) -> Iterator[str]:
    """Yields the name of each collection when its files are there: linked, where this machine has them already."""
    spec = Spec.model_validate(values)
    tokenizer = _tokenizer(spec, inputs)
    common = {**tokenizer.identity, "code": code_cache.digest(__name__)[0]}
    for name, collection in collections(spec, inputs):
        texts = {"texts": collection.sources, "copies": collection.copied, "instruction": collection.instruction}
        key = sha256_of(canonical(common | texts).encode())
        *files, card = store.shared(key, lambda work: make(name, collection, tokenizer, work))
        for path in files:
            link(path, out / f"{name}.{path.name}")
        shutil.copyfile(card, out / f"{name}.json")  # Snakemake compares its time with that of this job's inputs
        yield name


def _tokenizer(spec: Spec, inputs: dict) -> TokenizerFiles:
    given = [flag for flag in ("card", "encoder") if flag in inputs]
    if len(given) != 1:
        raise UserError("tokens: give either --card, a checkpoint, or --encoder")
    files = (of_checkpoint if given == ["card"] else of_encoder)(inputs[given[0]], spec.prompt)
    return files.at_length(spec.length) if spec.length else files


def make(name: str, collection: Collection, files: TokenizerFiles, out: Path) -> None:
    """Write SIDE.ids of each side, the fingerprints of training passages, and the card, without a name before them.

    Texts stream by. Only here is a tokenizer loaded, since most jobs find its work done.
    """
    from retscale.model.encoder import check_prompt
    from retscale.model.load import load_tokenizer
    from retscale.model.tokenize import check_room, fingerprint, token_ids

    tokenizer = load_tokenizer(files.folder)
    if files.prompt_sha256:
        check_prompt(files.prompt, files.prompt_sha256, tokenizer, files.folder / "encoder.json")
    if collection.instruction:
        check_room(tokenizer, collection.instruction, files.prompt, f"the training data set {name}")
    copies: list[np.ndarray] = []
    cut: dict[Side, int] = {}

    def batches(side: Side) -> Iterator[list[np.ndarray]]:
        cut[side] = 0
        for texts in progress(
            collection.texts(side), f"tokens of {name}: {side}", unit=f"x {collection.AT_A_TIME:,} texts"
        ):
            if collection.copied and side == "passage":
                copies.append(fingerprints(texts))
            tokens = token_ids(tokenizer, texts, files.prompt, side)
            cut[side] += tokens.cut
            yield tokens.ids

    described = {}
    for side, source in collection.sources.items():
        tokens = write(out / f"{side}.ids", batches(side))
        described[side] = {
            "source": source,
            "texts": len(tokens.number),
            "distinct": len(tokens),
            "tokens": len(tokens.ids),
            "longest": int(np.diff(tokens.ends).max()),
            "cut": cut[side],
            **({"instruction": collection.instruction} if collection.instruction and side == "query" else {}),
        }
    if collection.copied:
        np.save(out / "copies.npy", np.concatenate(copies))
    card = {
        "tokenizer": files.files,
        "prompt": files.prompt.model_dump(mode="json"),
        "prompt_sha256": fingerprint(tokenizer, files.prompt),
        "texts": described,
        "files": {path.name: sha256(path) for path in sorted(out.iterdir())},
    }
    TokensCard.write(out / store.CARD, card)
