"""The digest of a module's code: what Snakemake tracks as `params.code`.

It ignores comments, docstrings and layout. It covers the first-party modules that the entry module imports, at any
depth and wherever the import is, and the data files (templates) beside them.
"""

import ast
import functools
from pathlib import Path

from retscale.common.files import sha256_of

PACKAGE = Path(__file__).resolve().parents[1]
DATA_SUFFIXES = {".html", ".css", ".json"}

Files = dict[Path, tuple[int, int, int]]


def digest(module: str, package: Path = PACKAGE) -> str:
    """sha256 over the import closure of `module` (dotted name below the package that `package` holds)."""
    parts = []
    for name in closure(module, package):
        path = _path(name, package)
        parts.append(f"{name}\n{_normalized(path)}\n".encode())
        for data in sorted(p for p in path.parent.iterdir() if p.suffix in DATA_SUFFIXES):
            parts += [data.name.encode(), data.read_bytes()]
    return sha256_of(*parts)


def files(module: str, package: Path = PACKAGE) -> Files:
    """The files that the digest of `module` covers, each with what tells it from a later state of it."""
    modules = [path for name in closure(module, package) if (path := _path(name, package))]
    data = (path for folder in {path.parent for path in modules} for path in folder.iterdir())
    return {path: _state(path) for path in (*modules, *(path for path in data if path.suffix in DATA_SUFFIXES))}


def changed(module: str, before: Files, code: str, package: Path = PACKAGE) -> bool:
    """Whether the digest of `module`, which was `code` when its `files` were `before`, is another by now."""
    try:
        if files(module, package) == before:
            return False
        for cached in (_tree, _imports, _normalized):
            cached.cache_clear()
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


def _state(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


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
