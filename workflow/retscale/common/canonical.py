"""The one form of a JSON value: what is equal has the same bytes, so it can be hashed and compared."""

import json


def canonical(value: object) -> str:
    """Sorted keys, no spaces, plain types only; ValueError for a number that JSON does not have."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
