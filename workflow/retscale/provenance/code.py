"""The digest of a module's code: what Snakemake tracks as `params.code`.

It ignores comments, docstrings and layout. It covers the first-party modules that the entry module imports, at any
depth and wherever the import is, and the data files (templates) beside them.
"""

import ast
import functools
from pathlib import Path

from retscale.common.files import sha256_of
from retscale.provenance.states import States, states

PACKAGE = Path(__file__).resolve().parents[1]
DATA_SUFFIXES = {".html", ".css", ".json"}


def digest(module: str, package: Path = PACKAGE) -> str:
    """sha256 over the import closure of `module` (dotted name below the package that `package` holds)."""
    parts = []
    for name in closure(module, package):
        path = _path(name, package)
        parts.append(f"{name}\n{_normalized(path)}\n".encode())
        for data in sorted(p for p in path.parent.iterdir() if p.suffix in DATA_SUFFIXES):
            parts += [data.name.encode(), data.read_bytes()]
    return sha256_of(*parts)


def covered(module: str, package: Path = PACKAGE) -> list[Path]:
    """The files that the digest of `module` depends on, and their folders, in which others may appear."""
    modules = [path for name in closure(module, package) if (path := _path(name, package))]
    folders = {path.parent for path in modules}
    data = [path for folder in folders for path in folder.iterdir() if path.suffix in DATA_SUFFIXES]
    return sorted({*modules, *folders, *data})


def changed(module: str, code: str, before: States, package: Path = PACKAGE) -> bool:
    """Whether the digest of `module`, which was `code` when its files were in the states `before`, is another by now."""
    if states(map(Path, before)) == before:
        return False
    for cached in (_tree, _imports, _normalized):
        cached.cache_clear()
    try:
        return digest(module, package) != code
    except (OSError, SyntaxError, UnicodeDecodeError):
        return True


def closure(module: str, package: Path = PACKAGE) -> list[str]:
    """First-party modules that `module` loads, itself included, sorted."""
    modules, queue = set(), [module]
    while queue:
        name = queue.pop()
        if name in modules or _path(name, package) is None:
            continue
        modules.add(name)
        parents = name.split(".")[:-1]
        queue += [".".join(parents[: i + 1]) for i in range(len(parents))]
        queue += _imports(_path(name, package), name, package.name)
    return sorted(modules)


def _path(name: str, package: Path) -> Path | None:
    base = package.parent.joinpath(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _imports(path: Path, name: str, root: str) -> list[str]:
    imported = []
    package_parts = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package_parts[: len(package_parts) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            imported += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return [n for n in imported if n == root or n.startswith(f"{root}.")]


@functools.cache
def _normalized(path: Path) -> str:
    tree = _tree(path)
    for node in ast.walk(tree):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
