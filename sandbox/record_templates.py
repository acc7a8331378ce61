"""Templates of the records of Katana's API: their keys, and the usual values.

They are in `record_templates.json`, with the keys and types of the examples in Katana's reference.
A null there is replaced for each record, or is null at Katana too.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from sandbox.clock import iso

Record = dict[str, Any]

_SHAPES: dict[str, Record] = json.loads(
    Path(__file__).with_name("record_templates.json").read_text("utf-8")
)


def shaped(kind: str, written: datetime | None = None, /, **filled: object) -> Record:
    """Return a record of this kind, created and last changed at `written`.

    :raise KeyError: the template has no such key.
    """
    if written is not None:
        filled |= {"created_at": iso(written), "updated_at": iso(written)}
    if unknown := filled.keys() - _SHAPES[kind].keys():
        raise KeyError(f"A {kind} has no {', '.join(sorted(unknown))}.")

    return _SHAPES[kind] | filled
