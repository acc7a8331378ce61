"""Builds and parses the URL of a callback."""

from urllib.parse import parse_qsl, urlencode, urlsplit


def query(url: str) -> dict[str, str]:
    """The query of a URL in which no name is repeated."""
    return dict(parse_qsl(urlsplit(url).query, strict_parsing=True))


def callback(**parameters: str) -> str:
    """A callback's path with these parameters."""
    return f"/katana/callback?{urlencode(parameters)}"
