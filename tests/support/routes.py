"""The routes of the app, so that a test also covers those that a fork adds."""

import re
from collections.abc import Iterator

from flask import Flask
from werkzeug.routing import Rule


def rules(app: Flask, method: str) -> Iterator[Rule]:
    """The routes that accept `method`."""
    return (r for r in app.url_map.iter_rules() if method in (r.methods or ()))


def path(rule: Rule) -> str:
    """A path that matches the route."""
    return re.sub("<[^>]*>", "1", rule.rule.replace("<path:filename>", "style.css"))
