"""What pyproject.toml states and what envs/ installs agree, and every pin carries hashes."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
OTHER_NAMES = {"pins": "uv"}  # group -> its file in envs/, where that has another name
GROUPS = PROJECT["project"]["optional-dependencies"] | PROJECT["dependency-groups"]
STATED = {"base": PROJECT["project"]["dependencies"]}
STATED |= {OTHER_NAMES.get(group, group): requirements for group, requirements in GROUPS.items()}


def pins(name: str) -> dict[str, str]:
    """Package -> its version, of envs/NAME.txt."""
    text = (ROOT / "envs" / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9-]+)==([^ \n]+)", text, re.M))


def pins_here(name: str) -> set[str]:
    """The packages that envs/NAME.txt installs on this platform."""
    text = (ROOT / "envs" / f"{name}.txt").read_text(encoding="utf-8")
    lines = re.findall(r"^([a-z0-9-]+)==[^ \n]+(?: ; ([^\\]+?))? \\$", text, re.M)
    return {package for package, marker in lines if not marker or Marker(marker).evaluate()}


def test_every_group_has_its_file():
    by_hand = {"cpu"}
    assert STATED.keys() | by_hand == {path.stem for path in (ROOT / "envs").glob("*.txt")}


def test_the_group_for_gpus_is_in_its_file_and_not_in_base():
    stated = {canonicalize_name(Requirement(text).name) for text in STATED["gpu"]}
    assert stated <= pins("gpu").keys() and not pins("gpu").keys() & pins("base").keys()


@pytest.mark.parametrize("name", STATED)
def test_what_pyproject_states_is_pinned_to_a_version_that_it_allows(name):
    pinned = pins("gpu") | pins("base") | pins(name)
    for stated in map(Requirement, STATED[name]):
        assert stated.specifier.contains(pinned[canonicalize_name(stated.name)]), f"{stated}: run make pins"


def test_the_build_that_pip_isolates_is_the_build_that_is_pinned():
    assert PROJECT["build-system"]["requires"] == STATED["build"]


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.txt")), ids=lambda path: path.name)
def test_a_pin_is_a_version_with_hashes_and_names_no_registry(path):
    lines = path.read_text(encoding="utf-8").replace(" \\\n", " ").splitlines()
    for line in (line for line in lines if not line.startswith("#")):
        assert re.fullmatch(r"[a-z0-9-]+==[^ ]+( ; [^\\]+?)?( +--hash=sha256:[0-9a-f]{64})+", line), line[:100]


def test_both_builds_of_torch_have_one_version():
    assert pins("cpu")["torch"].split("+") == [pins("gpu")["torch"], "cpu"]


@pytest.mark.parametrize("beside", ["cpu", "gpu", "test", "lint"])
def test_files_that_are_installed_together_agree(beside):
    base, others = pins("base"), pins(beside)
    assert all(base[name] == others[name] for name in base.keys() & others.keys())


def test_whatever_an_installed_package_requires_is_pinned_for_this_platform():
    pinned = {name for file in ("base", "cpu", "gpu", "test", "build") for name in pins_here(file)}
    met, left = set(), [*map(Requirement, STATED["base"] + STATED["test"])]
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} is required but not pinned: run make pins"
        for key in {(name, extra) for extra in ("", *requirement.extras)} - met:
            met.add(key)
            further = map(Requirement, requires(name) or [])
            left += [part for part in further if not part.marker or part.marker.evaluate({"extra": key[1]})]


def test_test_and_lint_agree_on_what_both_pin():
    test, lint = pins("test"), pins("lint")
    assert all(test[name] == lint[name] for name in test.keys() & lint.keys())
