"""YAML as people mean it: nothing is read as something else, and a file that cannot be read is an error.

PyYAML follows YAML 1.1, to which `no` is false, `010` is 8 and `1e-3` is text. Here words are text but for true and
false, as in YAML 1.2, and an integer that the two versions read differently is refused. A short file cannot become much
data.
"""

import re
import reprlib
from pathlib import Path
from typing import TextIO

import yaml

from retscale.common.regular import require_regular
from retscale.common.terminal import is_text
from retscale.errors import UserError

TAG = "tag:yaml.org,2002:"
NUMBER = list("-+.0123456789")

# What a file may hold once its aliases are written out; the largest study has some 10^5 values, ten levels deep.
VALUES, LEVELS, DIGITS = 10**6, 50, 20


class _Loader(yaml.CSafeLoader):
    """The safe loader, without silent overwriting and guessing."""

    yaml_implicit_resolvers = {
        letter: [(tag, pattern) for tag, pattern in resolvers if tag in (f"{TAG}null", f"{TAG}merge")]
        for letter, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    keys = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise UserError(f"{_place(key)}: a key must be a word; found a list or a mapping")
        if key.value in keys:
            raise UserError(f"{_place(key)}: the key {key.value!r} is given twice; keep one")
        keys.add(key.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > DIGITS:
        raise UserError(
            f"{_place(node)}: a number of {len(node.value):,} digits is larger than any setting here may be"
        )
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


def _require_bounded(stream: TextIO) -> None:
    """UserError if aliases, merge keys or levels would make more of the file than a study may be, for a tag, or for a
    control character, which would break figures and terminals.

    Works on the events of the parser, before anything is built of them.
    """
    sizes: dict[str, tuple[int, int]] = {}  # of each anchor: values and levels, with aliases written out
    open_nodes: list[tuple[str | None, int, int]] = [(None, 0, 0)]  # of the document and each collection that is open
    for event in yaml.parse(stream, _Loader):
        anchor, values, levels = getattr(event, "anchor", None), 1, 0
        if getattr(event, "tag", None):
            raise UserError(f"{_place(event)}: the tag {event.tag!r} is not allowed; write text in quotes, and no tags")
        if isinstance(event, yaml.ScalarEvent) and not is_text(event.value):
            raise UserError(f"{_place(event)}: {reprlib.repr(event.value)} holds a control character; leave it out")
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((anchor, 1, 1))
        elif isinstance(event, yaml.AliasEvent | yaml.ScalarEvent | yaml.CollectionEndEvent):
            if isinstance(event, yaml.AliasEvent):
                if any(anchor == name for name, *_ in open_nodes):
                    raise UserError(
                        f"{_place(event)}: *{anchor} refers to a value that contains it, which would never end"
                    )
                values, levels = sizes.get(anchor, (1, 0))
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, values, levels = open_nodes.pop()
            if anchor:
                sizes[anchor] = values, levels
            name, others, deepest = open_nodes[-1]
            open_nodes[-1] = name, others + values, max(deepest, levels + 1)
        if open_nodes[-1][1] > VALUES or max(len(open_nodes), open_nodes[-1][2]) > LEVELS:
            raise UserError(
                f"{_place(event)}: more than {VALUES:,} values or {LEVELS} levels, with aliases expanded; no study is "
                "so large"
            )


def _place(node: yaml.Node | yaml.Event) -> str:
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
    require_regular(path)
    try:
        with path.open(encoding="utf-8") as stream:
            _require_bounded(stream)
            stream.seek(0)
            data = yaml.load(stream, _Loader)
    except FileNotFoundError:
        siblings = ", ".join(sorted(str(p) for p in path.parent.glob("*.yaml"))) or "no yaml file"
        raise UserError(f"there is no file {path}; its folder holds: {siblings}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold a mapping (keys and values), found {type(data).__name__}")
    return data
