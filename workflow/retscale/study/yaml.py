"""YAML as people mean it: nothing is read as something else, and a file that cannot be read is an error.

PyYAML follows YAML 1.1, to which `no` is false, `010` is 8 and `1e-3` is text. Here words are text but for true and false,
as in YAML 1.2, and an integer that the two versions read differently is refused.
"""

import re
from pathlib import Path

import yaml

from retscale.errors import UserError

TAG = "tag:yaml.org,2002:"
NUMBER = list("-+.0123456789")


class _Loader(yaml.CSafeLoader):
    """The safe loader, without silent overwriting and guessing."""

    yaml_implicit_resolvers = {
        letter: [(tag, pattern) for tag, pattern in known if tag in (f"{TAG}null", f"{TAG}merge")]
        for letter, known in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    seen = set()
    for key, _ in node.value:
        if key.value in seen:
            raise UserError(f"{_place(key)}: the key {key.value!r} is given twice; keep one")
        seen.add(key.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    if not re.fullmatch(r"[-+]?(0|[1-9]\d*)", node.value):
        raise UserError(
            f"{_place(node)}: {node.value} is a number to one version of YAML and another number or text to the next; "
            "write it with decimal digits and no leading zero, or in quotes if it is text"
        )
    return int(node.value)


def _float(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    """A whole number that is written with an exponent, such as 2e12 tokens, is an integer."""
    value = loader.construct_yaml_float(node)
    return int(value) if "e" in node.value.lower() and value.is_integer() else value


def _place(node: yaml.Node) -> str:
    return f"{node.start_mark.name}, line {node.start_mark.line + 1}"


_Loader.add_implicit_resolver(f"{TAG}bool", re.compile("^(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(f"{TAG}int", re.compile(r"^[-+]?(\d[\d_]*(:[\d_]+)*|0[xob][\da-fA-F_]+)$"), NUMBER)
_Loader.add_implicit_resolver(
    f"{TAG}float",
    re.compile(r"^([-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
    NUMBER,
)
_Loader.add_constructor(f"{TAG}int", _integer)
_Loader.add_constructor(f"{TAG}float", _float)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(path: Path) -> dict:
    """The mapping in the file `path`; UserError if there is none."""
    try:
        with path.open(encoding="utf-8") as stream:
            data = yaml.load(stream, _Loader)
    except FileNotFoundError:
        near = ", ".join(sorted(str(p) for p in path.parent.glob("*.yaml"))) or "no yaml file"
        raise UserError(f"there is no file {path}; its folder holds: {near}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold a mapping (keys and values), found {type(data).__name__}")
    return data
