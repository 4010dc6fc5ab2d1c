"""YAML as people mean it: a key given twice is an error, and so is a file that cannot be read."""

from pathlib import Path

import yaml

from retscale.errors import UserError


class _Loader(yaml.CSafeLoader):
    """The safe loader, without silent overwriting."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict:
    seen = set()
    for key, _ in node.value:
        if key.value in seen:
            raise UserError(
                f"{key.start_mark.name}, line {key.start_mark.line + 1}: the key {key.value!r} is given twice; keep one"
            )
        seen.add(key.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


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
