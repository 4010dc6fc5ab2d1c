"""The stage `tokens`: what it writes, makes once, makes again, and refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import artifacts
import numpy as np
import pandas as pd
import pytest
from test_evaluate import encoder, given, spec, tasks  # noqa: F401 - pytest finds the fixtures by their names
from topics import RECIPE, describe, make

from retscale import job
from retscale.audit import walk
from retscale.common import files
from retscale.common.copies import fingerprints
from retscale.errors import UserError
from retscale.evaluate import run as evaluation
from retscale.model.load import load_tokenizer
from retscale.model.prompt import Prompt
from retscale.model.tokenize import token_ids
from retscale.provenance import lock, record
from retscale.tokens import collection, run, store
from retscale.tokens.card import TokensCard, opened
from retscale.tokens.file import Chosen, Tokens, write
from retscale.tokens.run import run as stage

PROMPT = RECIPE["prompt"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make(tmp_path_factory.mktemp("study"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """What jobs share lies in the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def making(monkeypatch) -> list[str]:
    """The collections whose texts are tokenized."""
    names, make = [], run.make
    monkeypatch.setattr(run, "make", lambda name, *rest: names.append(name) or make(name, *rest))
    return names


def tokenized(study: Path, out: str, prompt: dict = PROMPT) -> dict[str, bytes]:
    """The files of a job about the training data in `study`."""
    Path(out).mkdir()
    inputs = {"card": study / "card.json", "pairs": [study / "pairs.json"]}
    assert list(stage({"prompt": prompt, "tasks": {"topics": {}}}, inputs, Path(out))) == ["topics"]
    return {path.name: path.read_bytes() for path in sorted(Path(out).iterdir())}


def copy(study: Path, folder: Path) -> Path:
    return shutil.copytree(study, folder, ignore=shutil.ignore_patterns("tokens-*"))


def retokenized(study: Path, folder: Path) -> Path:
    """A copy whose tokenizer has another file and reads text in the same way."""
    path = copy(study, folder) / "model/tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    return folder


def test_the_files_hold_what_the_tokenizer_makes_of_each_text(study, monkeypatch):
    monkeypatch.setattr(collection.Collection, "AT_A_TIME", 10)
    assert [*tokenized(study, "out")] == ["topics.copies.npy", "topics.json", "topics.passage.ids", "topics.query.ids"]
    card, tokenizer = TokensCard.read(Path("out/topics.json")), load_tokenizer(study / "model")
    pairs, passages = (pd.read_parquet(study / f"{name}.parquet") for name in ("pairs", "passages"))
    for side, texts in (("query", pairs["query"].tolist()), ("passage", passages["text"].tolist())):
        expected = token_ids(tokenizer, texts, Prompt(**PROMPT), side)
        written = opened(Path("out/topics.json"), side, card.texts[side].source, card.prompt_sha256)
        assert [written.text(i).tolist() for i in range(96)] == [x.tolist() for x in expected.ids]
        counts = card.texts[side]
        assert (counts.texts, counts.cut, counts.tokens) == (96, expected.cut, sum(map(len, expected.ids)))
        assert counts.longest == max(map(len, expected.ids)) and counts.distinct == len(written)
    assert card.texts["passage"].cut > 0
    assert np.array_equal(np.load("out/topics.copies.npy"), fingerprints(passages["text"]))


def test_documents_are_title_and_text_under_the_prompt_of_the_encoder(encoder, tasks):
    Path("out").mkdir()
    assert list(stage({"tasks": {"two": {}, "one": {}}}, {"encoder": encoder, "tasks": tasks}, Path("out"))) == [
        "two",
        "one",
    ]
    corpus = pd.read_parquet(tasks[1].parent / "corpus.parquet")
    texts = (corpus["title"] + " " + corpus["text"]).tolist()
    prompt = Prompt(**json.loads(encoder.read_text())["prompt"])
    expected = token_ids(load_tokenizer(encoder.parent), texts, prompt, "passage").ids
    written = Tokens(Path("out/two.passage.ids"), len(texts))
    assert [written.text(i).tolist() for i in range(len(texts))] == [x.tolist() for x in expected]
    assert not Path("out/two.query.ids").exists()


def test_who_reads_the_same_texts_alike_shares_the_files(study, making):
    """Another checkpoint with this tokenizer; another tokenizer, prompt, or text has files of its own."""
    first = tokenized(study, "a")
    other = copy(study, Path("other"))
    (other / "card.json").write_text(json.dumps(artifacts.card(id="another")))
    (other / "model/model.safetensors").write_bytes(b"other weights")
    assert tokenized(other, "b") == first and making == ["topics"]
    assert os.path.samefile("a/topics.passage.ids", "b/topics.passage.ids")
    assert not os.path.samefile("a/topics.json", "b/topics.json")  # whose times Snakemake compares
    assert tokenized(retokenized(study, Path("retokenized")), "c") != first  # the card names its files
    tokenized(study, "d", PROMPT | {"passage_length": 6})
    pd.read_parquet(other / "passages.parquet")[::-1].to_parquet(other / "passages.parquet")
    describe(other)
    tokenized(other, "e")
    assert len(making) == 4 and not os.path.samefile("a/topics.passage.ids", "c/topics.passage.ids")


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "card"])
def test_what_is_not_whole_is_made_again(study, making, damage):
    whole = tokenized(study, "a")
    (folder,) = (path for path in store.STATE.iterdir() if path.is_dir())
    path = folder / ("json" if damage == "card" else "passage.ids")
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:-1] + b"!" if damage == "flipped" else content[: len(content) // 2])
    assert tokenized(study, "b") == whole and making == ["topics"] * 2
    assert tokenized(study, "c") == whole and making == ["topics"] * 2


KILLED = """
import os, signal
from pathlib import Path
from retscale.tokens import run
write = run.write
def killed(path, batches):
    tokens = write(path, batches)
    if path.name == "passage.ids":
        os.truncate(path, 100)
        os.kill(os.getpid(), signal.SIGKILL)
    return tokens
run.write = killed
study = Path({study!r})
list(run.run({spec}, {{"card": study / "card.json", "pairs": [study / "pairs.json"]}}, Path("out")))
"""


@pytest.mark.slow
def test_a_killed_job_leaves_nothing_that_looks_whole(study, making):
    Path("out").mkdir()
    code = KILLED.format(spec={"prompt": PROMPT, "tasks": {"topics": {}}}, study=str(study))
    path = str(Path(job.__file__).parents[1])
    killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    (left,) = store.STATE.glob(".*.tmp")
    assert sorted(path.name for path in left.iterdir()) == ["passage.ids", "query.ids"] and not any(
        Path("out").iterdir()
    )
    whole = tokenized(study, "again")
    assert making == ["topics"] and not list(store.STATE.glob(".*"))
    shutil.rmtree(store.STATE)
    assert tokenized(study, "fresh") == whole


def test_of_two_jobs_at_once_one_makes_the_files_and_the_other_waits(study, making, monkeypatch):
    waiting, make = threading.Event(), run.make

    def once_another_waits(*arguments):
        assert waiting.wait(60)
        make(*arguments)

    monkeypatch.setattr(lock, "say", lambda message: waiting.set())
    monkeypatch.setattr(run, "make", once_another_waits)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda out: tokenized(study, out), ("one", "two"))
    assert first == second and making == ["topics"]


def test_work_that_is_done_needs_no_torch(study):
    """A study has a job for each encoder, and most of them only link to what another has made."""
    tokenized(study, "a")
    Path("b").mkdir()
    code = (
        "import sys; from pathlib import Path; from retscale.tokens.run import run; study = Path(sys.argv[1]); "
        f"list(run({ {'prompt': PROMPT, 'tasks': {'topics': {}}} }, "
        "{'card': study / 'card.json', 'pairs': [study / 'pairs.json']}, Path('b'))); "
        "print({'torch', 'transformers', 'pandas'} & sys.modules.keys())"
    )
    path = str(Path(job.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, str(study)], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout == "set()\n", done.stderr
    assert os.path.samefile("a/topics.query.ids", "b/topics.query.ids")


def recorded(source: Path, folder: Path) -> Path:
    """A copy of a primary file and what lies beside it, with a record."""
    shutil.copytree(source.parent, folder, ignore=shutil.ignore_patterns("*.record.json"))
    names = [path.name for path in folder.iterdir()]
    content = record.make("test", {}, "", [], folder, names, None, 0.0)
    record.path_of(folder / source.name).write_text(json.dumps(content))
    return folder / source.name


def test_outputs_that_are_made_again_are_links_to_the_same_files(encoder, tasks):
    """Where both names are of one file, a rename leaves both; what is left must not become the next task's output."""
    inputs = {"encoder": recorded(encoder, Path("encoder")), "pairs": []}
    inputs["tasks"] = [recorded(path, Path("task", name)) for name, path in zip(("one", "two"), tasks)]
    for _ in range(2):
        outputs = [Path(f"results/{name}.json") for name in ("one", "two")]
        job.run("tokens", {"tasks": {"one": {}, "two": {}}}, inputs, outputs)
        for name, output in zip(("one", "two"), outputs):
            saved = record.read(output)
            assert [row["path"] for row in saved["outputs"]] == [f"{name}.passage.ids", f"{name}.json"]
            rows = {os.path.normpath(output.parent / row["path"]) for row in saved["inputs"]}
            read = [f"task/{name}/{file}" for file in os.listdir(f"task/{name}") if not file.endswith(".record.json")]
            assert rows == {"encoder/encoder.json", *read}  # of an encoder no weights
            output.unlink()


def test_an_audit_reads_a_file_that_results_share_once(tmp_path, monkeypatch):
    read, contents = [], files.sha256
    monkeypatch.setattr(walk, "sha256", lambda path: read.append(path) or contents(path))
    Path("a.ids").write_bytes(b"ids")
    os.link("a.ids", "b.ids")
    Path("c.ids").write_bytes(b"idz")
    walked = walk.Walk([])
    a, b, c = (walked.sha256(Path(name)) for name in ("a.ids", "b.ids", "c.ids"))
    assert a == b != c and read == [Path("a.ids"), Path("c.ids")]


@pytest.mark.parametrize(
    "change, says",
    [
        ({"card": None}, "give either --card, a checkpoint, or --encoder"),
        ({"pairs": []}, "give either --tasks or --pairs"),
        ({"tasks": [Path("task.json")]}, "give either --tasks or --pairs"),
    ],
)
def test_inputs_that_do_not_go_together_are_refused(study, change, says):
    inputs = {"card": study / "card.json", "pairs": [study / "pairs.json"]} | change
    with pytest.raises(UserError, match=says):
        list(
            stage(
                {"prompt": PROMPT, "tasks": {"topics": {}}}, {k: v for k, v in inputs.items() if v is not None}, Path()
            )
        )


@pytest.mark.parametrize(
    "values, flag, says",
    [
        ({"tasks": {"topics": {}}}, "card", "--spec: prompt is missing"),
        ({"tasks": {"topics": {}}, "prompt": PROMPT}, "encoder", "--spec: prompt must be left out with --encoder"),
        ({"tasks": {"other": {}}, "prompt": PROMPT}, "card", "no pairs.json of other, .*; given: topics"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(study, values, flag, says):
    with pytest.raises(UserError, match=says):
        list(stage(values, {flag: study / "card.json", "pairs": [study / "pairs.json"]}, Path()))


@pytest.mark.parametrize(
    "table, row, says",
    [
        ("passages", {"text": " "}, "passage p000 is empty; run the pairs"),
        ("pairs", {"query": ""}, "query q000 is empty"),
    ],
)
def test_a_text_without_a_word_is_refused(study, table, row, says):
    folder = copy(study, Path("copy"))
    content = pd.read_parquet(folder / f"{table}.parquet")
    content.loc[0, [*row]] = [*row.values()]
    content.to_parquet(folder / f"{table}.parquet")
    describe(folder)
    with pytest.raises(UserError, match=says):
        tokenized(folder, "out")
    assert not any(Path("out").iterdir())


def test_a_tokenizer_that_is_not_the_listed_one_is_refused(study):
    folder = copy(study, Path("copy"))
    (folder / "card.json").write_text(json.dumps(artifacts.card(files={"tokenizer.json": "0" * 64})))
    with pytest.raises(UserError, match="tokenizer.json is not the file that copy/card.json lists"):
        tokenized(folder, "out")


def test_tokens_of_other_texts_or_of_another_prompt_are_refused(study):
    tokenized(study, "out")
    path = Path("out/topics.json")
    card = TokensCard.read(path)
    source = card.texts["passage"].source
    with pytest.raises(UserError, match="is of other texts than the passage texts of this job"):
        opened(path, "passage", card.texts["query"].source, card.prompt_sha256)
    with pytest.raises(UserError, match="was made with another tokenizer or prompt than this job's"):
        opened(path, "passage", source, "0" * 64)
    Path("out/topics.passage.ids").unlink()
    Path("out/topics.passage.ids").write_bytes(b"short")
    with pytest.raises(UserError, match="too short for 96 texts; delete it and run the tokens stage again"):
        opened(path, "passage", source, card.prompt_sha256)


def test_an_evaluation_says_which_tokens_it_lacks(encoder, tasks):
    with pytest.raises(UserError, match="--tokens: there are none of one; run the tokens stage for this encoder first"):
        list(evaluation.run(spec(["one"]), given(encoder, tasks[0]) | {"tokens": []}, Path()))


TEXTS = ["one two", "", "three", "four five six"] * 5


def in_two(texts: list[str]):
    ids = [np.array([len(word) for word in text.split()] or [0], np.int32) for text in texts]
    return iter([ids[:7], ids[7:]])


def test_a_file_holds_texts_and_what_is_distinct_among_them(tmp_path):
    written = write(tmp_path / "ids", in_two(TEXTS))
    assert [x.tolist() for x in written[0:9]] == [[3, 3], [0], [5], [4, 4, 3]]
    assert [x.tolist() for x in written[1:3]] == [[0], [5]] and len(written) == 4
    assert written.number.tolist() == [0, 1, 2, 3] * 5 and written.text(18).tolist() == [5]
    other = write(tmp_path / "other", in_two(TEXTS[3:11]))
    chosen = Chosen([written, other], np.array([20, 3, 23, 19, 0]))
    assert [x.tolist() for x in chosen] == [[4, 4, 3], [4, 4, 3], [5], [4, 4, 3], [3, 3]] and len(chosen) == 5


def damaged(whole: bytes, damage: str) -> bytes:
    ends = len(whole) - 12 * len(TEXTS) - 8
    return {
        "empty": b"",
        "cut": whole[:-4],
        "half": whole[: len(whole) // 2],
        "longer": whole + b"0000",
        "no ends": whole[:ends],
        "no ids": whole[ends:],
        "other count": whole[:-8],
        "blank": bytes(len(whole)),
        "no numbers": whole[: -4 * len(TEXTS)],
        "out of order": whole[:-4] + bytes([9, 0, 0, 0]),
    }[damage]


@pytest.mark.parametrize(
    "damage",
    ["empty", "cut", "half", "longer", "no ends", "no ids", "no numbers", "other count", "blank", "out of order"],
)
def test_a_file_that_is_not_whole_is_seen(tmp_path, damage):
    path = tmp_path / "ids"
    write(path, in_two(TEXTS))
    path.write_bytes(damaged(path.read_bytes(), damage))
    with pytest.raises(ValueError, match="ids: (too short for|not the tokens of) 20 texts"):
        Tokens(path, len(TEXTS))
