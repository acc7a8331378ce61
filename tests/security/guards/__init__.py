"""The guards that the security tests stand for, each with what takes it out and which tests notice.

One file for each area. `tests/security/test_mutants.py` goes through them.
"""

from tests.security.guards import (
    accounts,
    bulkheads,
    callback,
    flow,
    katana,
    proxy,
    secrets,
    sessions,
    tenants,
    throttle,
    web,
)

GUARDS = [
    *flow.GUARDS,
    *callback.GUARDS,
    *katana.GUARDS,
    *secrets.GUARDS,
    *accounts.GUARDS,
    *throttle.GUARDS,
    *sessions.GUARDS,
    *tenants.GUARDS,
    *web.GUARDS,
    *proxy.GUARDS,
    *bulkheads.GUARDS,
]
