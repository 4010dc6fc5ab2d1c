"""Pin what pyproject.toml states, each version with the hashes of all its files: `make pins` writes envs/*.txt.

Pins that still fit are kept; `make pins ARGS=--upgrade` takes the newest, `ARGS='--upgrade-package numpy'` one of them.
One resolution covers every platform and Python from 3.11 on, so files that are installed together never disagree.
The resolver is uv, pinned in uv.txt like the rest; it asks the registry of its own configuration.
"""

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

ENVS = Path(__file__).parent

ALONE = {
    "build": "--group=build",
    "data": "--group=data",
    "minilm": "--group=minilm",
    "smollm2": "--group=smollm2",
    "uv": "--group=pins",
}
BASE = ("pyproject.toml", "--extra=gpu")
BESIDE_BASE = {"crate": "--extra=crate", "test": "--extra=test", "lint": "--group=lint"}

Pins = dict[str, str]  # name of a package -> its lines


def parsed(text: str) -> Pins:
    pins = defaultdict(str)
    for lines, name in re.findall(r"^(([a-z0-9-]+)==.*\n(?: .*\n)*)", text, re.M):
        pins[name] += lines
    return dict(pins)


def versions(text: str) -> str:
    """The pins without their hashes, which are always asked for again."""
    return "".join(re.sub(r" \\\n(?: .*\n)*", "\n", lines) for lines in parsed(text).values())


def resolved(*request: str, kept: str, changes: Iterable[str] = ()) -> Pins:
    """What uv pins for a request; it keeps the versions in `kept` that `changes` do not ask it to move."""
    file = ENVS / ".resolved.txt"
    file.write_text(kept, encoding="utf-8")
    command = ["uv", "pip", "compile", *request, *changes, "--output-file", str(file), "--generate-hashes", "--quiet"]
    platforms = ["--universal", "--python-version=3.11", "--fork-strategy=fewest"]
    try:
        subprocess.run([*command, *platforms, "--no-annotate", "--no-header"], check=True, cwd=ENVS.parent)
        return parsed(file.read_text(encoding="utf-8"))
    finally:
        file.unlink()


def write(name: str, pins: Pins) -> None:
    lines = "".join(pins[package] for package in sorted(pins))
    (ENVS / f"{name}.txt").write_text(f"# Written by `make pins` from pyproject.toml.\n{lines}", encoding="utf-8")


def is_gpu(package: str) -> bool:
    """Is it the registry's build of torch, or one of the CUDA libraries that this needs on Linux?

    cpu.txt pins the other build, by hand, since the registry does not have it. All else is the same with either.
    """
    return package == "torch" or package.startswith(("triton", "cuda-", "nvidia-"))


def main(changes: list[str]) -> None:
    written = sorted(set(ENVS.glob("*.txt")) - {ENVS / "cpu.txt"})
    present = versions("".join(path.read_text(encoding="utf-8") for path in written))
    everything = resolved(*BASE, *BESIDE_BASE.values(), "--group=build", kept=present, changes=changes)
    together = versions("".join(everything.values()))

    base = resolved(*BASE, kept=together)
    for name, option in BESIDE_BASE.items():
        pins = resolved(*BASE, option, kept=together)
        # A pin of base may be for another platform than what comes beside it.
        write(name, {package: pin for package, pin in pins.items() if pin != base.get(package)})
    for name, option in ALONE.items():
        write(name, resolved(option, "--no-deps", kept=together + present, changes=changes))

    write("gpu", {package: pin for package, pin in base.items() if is_gpu(package)})
    write("base", {package: pin for package, pin in base.items() if not is_gpu(package)})


if __name__ == "__main__":
    main(sys.argv[1:])
