"""Warns about proxies and certificates in the environment: requests to Katana ignore them."""

import os
from collections.abc import Iterator

from app.operations.doctor.findings import Examined, Finding, ok, warning

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
#: The public certificate authorities of the system. A variable that points here adds no private
#: one.
SYSTEM_FOLDERS = ("/etc/ssl/", "/etc/pki/", "/usr/share/", "/usr/local/share/")


def environment(_: Examined) -> Iterator[Finding]:
    """Requests to Katana ignore the environment, so that no variable can redirect a secret.

    Only names of variables are reported: the address of a proxy may contain a password.
    """
    proxies = [name for name in _both_cases(PROXIES) if os.environ.get(name)]
    bundles = {name: os.environ[name] for name in CERTIFICATES if os.environ.get(name)}
    own = [name for name, place in bundles.items() if not _is_the_systems(place)]
    if proxies:
        yield warning(
            "environment",
            f"{_are_set(proxies)}: requests to Katana ignore that and go directly.",
            "Let this machine reach Katana's login and API directly on port 443.",
        )
    if own:
        yield warning(
            "environment",
            f"{_are_set(own)}: requests to Katana ignore that and trust the public authorities "
            "alone. Only this command reads SSL_CERT_FILE, for the app's own address.",
            "Exempt Katana's login and API from a firewall that opens TLS.",
        )
    if bundles and not own:
        yield ok("environment", f"{_are_set(list(bundles))}, and not used for Katana.")
    elif not proxies and not own:
        yield ok("environment", "It names no proxy and no certificates.")


def _both_cases(names: tuple[str, ...]) -> tuple[str, ...]:
    return (*names, *map(str.lower, names))


def _is_the_systems(place: str) -> bool:
    return f"{os.path.abspath(place)}/".startswith(SYSTEM_FOLDERS)


def _are_set(names: list[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} set"
