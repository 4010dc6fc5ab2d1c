"""What a digest of code takes from a source file, remembered by the file's text, for the forks of `warm`.

Every copy of the repository lies at a path of its own and would parse the same files again, more than a second long.
"""

import functools
import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

FUNCTIONS = ("_imports", "_normalized")
KNOWN: dict[tuple[str, ...], list[str] | str] = {}


@functools.cache
def of_this_repository() -> dict[tuple[str, ...], list[str] | str]:
    """What is to be known of the package that this process imports."""
    known = {}
    code, rules = _code()
    for path in code.PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(code.PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for function, names in zip(FUNCTIONS, ((name, code.PACKAGE.name), ())):
            known[_key(rules, function, path, *names)] = getattr(code, function)(path, *names)
    return known


def remember() -> None:
    """Let the package that this process imports look up what is KNOWN."""
    code, rules = _code()
    for name in FUNCTIONS:
        setattr(code, name, _looked_up(getattr(code, name).__wrapped__, rules))


def _looked_up(function: Callable, rules: str) -> Callable:
    @functools.cache
    def of_text(path: Path, *names: str) -> list[str] | str:
        known = KNOWN.get(_key(rules, function.__name__, path, *names))
        return function(path, *names) if known is None else known

    return of_text


def _code() -> tuple[ModuleType, str]:
    """The module that takes digests, and the sha256 of its own text."""
    code = importlib.import_module("retscale.provenance.code")
    return code, _sha256(Path(code.__file__))


def _key(rules: str, function: str, path: Path, *names: str) -> tuple[str, ...]:
    return rules, function, path.name, _sha256(path), *names


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
