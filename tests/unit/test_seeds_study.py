"""`seeds:` in a study: which trainings it adds, what they are called, and what is refused."""

from pathlib import Path

import pytest
import yaml

from retscale.collect.repeats import Repeat
from retscale.errors import UserError
from retscale.plan.jobs import jobs
from retscale.study import load, overview, specs

ROOT = Path(__file__).resolve().parents[2]
BOTH = {"use": [1, 5], "checkpoints": ["d16", "d24"]}


def written(folder: Path, seeds: object = None, of_checkpoint: object = None, **changes: object) -> Path:
    """The smoke study with `seeds` on its first recipe and checkpoint."""
    data = yaml.safe_load((ROOT / "config/smoke.yaml").read_text()) | changes
    if seeds is not None:
        data["recipes"][0] |= {"seeds": seeds}
    if of_checkpoint is not None:
        data["checkpoints"][0]["seeds"] = of_checkpoint
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def test_further_seeds_are_recipes_of_their_own_and_leave_the_first_as_it_is(tmp_path):
    plain, study = load.study(written(tmp_path)), load.study(written(tmp_path, [1, 5, 7]))
    assert study.repeats.recipes == {f"own-mini.seed-{seed}": Repeat(of="own-mini", seed=seed) for seed in (5, 7)}
    assert study.ladders == plain.trained
    assert study.trained == plain.trained | dict.fromkeys(study.repeats.recipes, plain.trained["own-mini"])
    assert specs.finetune(study, "own-mini") == specs.finetune(plain, "own-mini")
    for cut in (specs.tokens(["fiqa"]), specs.evaluate(["fiqa"])):
        assert cut(study, "d16", "own-mini") == cut(plain, "d16", "own-mini")
    first, second = specs.finetune(study, "own-mini"), specs.finetune(study, "own-mini.seed-5")
    assert (first.pop("seed"), second.pop("seed")) == (1, 5)
    assert second["recipe"].pop("id") == "own-mini.seed-5" and first["recipe"].pop("id") == "own-mini"
    assert first == second


def test_the_jobs_of_the_first_seed_stay_and_only_trainings_and_evaluations_are_added(tmp_path):
    plain, study = load.study(written(tmp_path)), load.study(written(tmp_path, BOTH))
    before = {(job.stage, *job.makes): [make() for make in job.makes.values()] for job in jobs(plain)}
    after = {(job.stage, *job.makes): [make() for make in job.makes.values()] for job in jobs(study)}
    changed = {key[0] for key in before if before[key] != after[key]}
    assert changed == {"collect"}
    added = after.keys() - before.keys()
    assert sorted(key[0] for key in added) == ["evaluate"] * 2 + ["finetune"] * 2 + ["tokens"] * 4
    assert all("/own-mini.seed-5/" in output for key in added for output in key[1:])


def test_a_study_without_seeds_says_nothing_of_them(tmp_path):
    assert "repeats" not in specs.collect(load.study(written(tmp_path)))
    spec = specs.collect(load.study(written(tmp_path, BOTH)))
    assert spec["recipes"] == ["own-mini", "microbatch-mini"]
    assert spec["repeats"] == {"recipes": {"own-mini.seed-5": {"of": "own-mini", "seed": 5}}, "checkpoints": {}}


def test_learning_curves_are_of_every_training(tmp_path):
    recipes = [{"use": "own-mini", "n_negatives": 2, "keep": [4], "seeds": [1, 2]}]
    study = load.study(written(tmp_path, of_checkpoint=[1, 2], recipes=recipes))
    trainings = {("d16", "own-mini"), ("d16", "own-mini.seed-2"), ("d16.seed-2", "own-mini")}
    kept = {(checkpoint, recipe) for checkpoint, recipe, _ in study.kept_encoders if checkpoint.startswith("d16")}
    assert kept == trainings
    for checkpoint, recipe in trainings:
        assert specs.finetune(study, recipe)["recipe"]["keep"] == [4]
        assert specs.evaluate(["fiqa"])(study, checkpoint, recipe)["keep"] == [4]
    assert "ablation" not in study.figures  # a repeat is no second recipe


def test_a_pretraining_is_repeated_and_measured_in_retrieval_alone(tmp_path):
    study, plain = load.study(written(tmp_path, of_checkpoint=[1, 2])), load.study(written(tmp_path))
    assert study.repeats.checkpoints == {"d16.seed-2": Repeat(of="d16", seed=2)}
    assert specs.checkpoint(study, "d16") == specs.checkpoint(plain, "d16")
    assert specs.checkpoint(study, "d16.seed-2") == specs.checkpoint(plain, "d16") | {"id": "d16.seed-2", "seed": 2}
    assert study.ladders == plain.trained and "d16.seed-2" in study.trained["own-mini"]
    assert specs.finetune(study, "own-mini") == specs.finetune(plain, "own-mini")
    assert not [job for job in jobs(study) if job.stage == "icl" and "d16.seed-2" in job.name]
    assert load.study(written(tmp_path, of_checkpoint=[1, 2], only=["d24"])).repeats.checkpoints == {}


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([1, 2, 2], "recipes (own-mini).seeds: 2 is given twice; name each seed once"),
        ([2, 3], "recipes (own-mini).seeds: the study's own seed, 1, is missing"),
        ([1], "recipes (own-mini).seeds.use: list should have at least 2 items"),
        ([1, -1], "recipes (own-mini).seeds.use.1: input should be greater than or equal to 0"),
        ([1, "2"], "recipes (own-mini).seeds.use.1: input should be a valid integer"),
        ({"use": [1, 2], "checkpoint": ["d16"]}, "recipes (own-mini).seeds.checkpoint: unknown key"),
        ({"use": [1, 2], "checkpoints": ["d17"]}, "seeds.checkpoints: unknown checkpoint of this recipe 'd17'"),
    ],
)
def test_bad_seeds_are_refused(tmp_path, seeds, message):
    with pytest.raises(UserError) as error:
        load.study(written(tmp_path, seeds))
    assert message in str(error.value)


def test_a_written_id_that_a_repeat_would_have_is_refused(tmp_path):
    recipes = [
        {"use": "own-mini", "n_negatives": 2, "seeds": [1, 2]},
        {"use": "microbatch-mini", "id": "own-mini.seed-2"},
    ]
    with pytest.raises(UserError, match=r"the repeat with seed 2 is called 'own-mini.seed-2', as another entry is"):
        load.study(written(tmp_path, recipes=recipes))


def test_a_recipe_that_trains_nothing_has_no_seed(tmp_path):
    recipes = [
        {"use": "own-mini", "n_negatives": 2},
        {"use": "own-mini", "id": "as-is", "tuning": "none", "seeds": [1, 2]},
    ]
    with pytest.raises(UserError, match=r"recipes \(as-is\).seeds: this recipe trains nothing"):
        load.study(written(tmp_path, recipes=recipes))


def test_only_what_is_pretrained_here_has_a_seed(tmp_path):
    smoke = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())["checkpoints"]
    checkpoints = [*smoke, {"use": "pythia-160m", "seeds": [1, 2]}]
    with pytest.raises(
        UserError, match=r"checkpoints \(pythia-160m\).seeds: only a checkpoint that is pretrained here"
    ):
        load.study(written(tmp_path, checkpoints=checkpoints))


def test_check_lists_repeats_as_such(tmp_path):
    study = load.study(written(tmp_path, BOTH, [1, 2]))
    assert overview.repeated(study) == ["d16 is pretrained again with 2", "own-mini again with 5: d16, d24"]
