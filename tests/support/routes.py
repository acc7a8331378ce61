"""The pages that there are, so that a test reaches those that a fork adds as well."""

import re
from collections.abc import Iterator

from flask import Flask
from werkzeug.routing import Rule


def rules(app: Flask, method: str) -> Iterator[Rule]:
    """The routes that take `method`."""
    return (r for r in app.url_map.iter_rules() if method in (r.methods or ()))


def path(rule: Rule) -> str:
    """A path that leads to the route."""
    return re.sub("<[^>]*>", "1", rule.rule.replace("<path:filename>", "style.css"))
