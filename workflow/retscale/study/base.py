"""A study file and the file that it extends.

`base: shared.yaml`, a path relative to the study file, adds every key of shared.yaml that the study file lacks. A key of
the study file replaces the whole list or mapping of its base. A base cannot extend another file.
"""

from dataclasses import dataclass, field
from pathlib import Path

from retscale.errors import UserError
from retscale.study import yaml


@dataclass(frozen=True)
class Written:
    """The `own` keys of a study file, and the keys that it `inherited` from its base."""

    path: Path
    own: dict
    base: Path | None = None
    inherited: dict = field(default_factory=dict)

    @property
    def keys(self) -> dict:
        return self.inherited | self.own

    def place(self, key: str) -> Path:
        """The file that has `key`."""
        return self.base if self.base and key in self.inherited else self.path

    def at_its_place(self, error: UserError) -> UserError:
        """The same error, where each line names the file that has the key with which the line begins."""
        return UserError(*map(self._at_its_place, map(str, error.args)))

    def _at_its_place(self, line: str) -> str:
        rest = line.removeprefix(f"{self.path}: ")
        key = rest.partition(":")[0].partition(".")[0].partition(" ")[0]
        return line if rest == line else f"{self.place(key)}: {rest}"


def read(path: Path) -> Written:
    """The study file `path`; UserError if it or its base cannot be read, or the base extends another."""
    own = yaml.read(path)
    if "base" not in own:
        return Written(path, own)
    if not isinstance(own["base"], str):
        raise UserError(f"{path}: base: must be the path of a study file, relative to this one")
    base = path.parent / own["base"]
    try:
        shared = yaml.read(base)
    except UserError as error:
        raise UserError(f"{path}: base: {error}") from None
    if "base" in shared:
        raise UserError(f"{path}: base: {base} extends {shared['base']!r}; a base may extend no other file")
    return Written(path, own, base, {key: value for key, value in shared.items() if key not in own})
