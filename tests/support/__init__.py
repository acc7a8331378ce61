"""Shared code of the tests: servers, users, clocks, and ways to inspect the result.

actors.py      users of the app, in this process or over the network
pages.py       an HTML page as a user sees it
sandbox.py     drives the sandbox, and reads its records
wire.py        a server that misbehaves as a test tells it
partner.py     an app and a sandbox whose clock stands still
receivers.py   a receiver of webhook deliveries
servers.py     real servers on real sockets
rig.py         app and Katana for the tests of a module, swept for secrets
connected.py   a connected user without a browser
syncing.py     sync step by step, and the copy compared with Katana's data
leaving.py     the rows that are left after a user has left
mutants.py     removes a guard, to see a test fail
patterns.py    finds a guard in the code, after a change of layout or names too
stage.py       the servers that the tests of a process share
locks.py       a database that another connection is writing to
routes.py      the routes of the app
tree.py        the files of the repository, and what they import
statements.py  the statements that are sent to a database
clocks.py      clocks that a test moves
until.py       waits for an event in another thread or process
postgres.py    a real PostgreSQL
browsers.py    Chromium
"""
