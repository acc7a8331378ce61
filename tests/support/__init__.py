"""What the tests stand on: servers, actors, clocks, and ways to look at what came of a test.

actors.py      who uses the app: makers, in this process or over the network
pages.py       a page as they see it
sandbox.py     Katana as they see it, and what Katana has seen
wire.py        a server that misbehaves as a test tells it
partner.py     an app in a test's hands, and a sandbox whose clock stands still
receivers.py   where a webhook's deliveries arrive
servers.py     real servers on real sockets
rig.py         app and Katana shared by a module's tests, which sweep them for secrets
connected.py   a connected user without a browser
syncing.py     sync by hand, and the copy beside Katana's truth
leaving.py     what is left of a user who has left
mutants.py     a guard taken out, to see a test notice
patterns.py    a guard found in the code, whatever its layout and names are
stage.py       what most tests of a process share, one after the other
locks.py       a database that somebody else is writing to
routes.py      the pages that there are
tree.py        the files of the repository, and what they import
statements.py  what the database is asked
clocks.py      clocks that a test moves
until.py       waiting for what happens elsewhere
postgres.py    a real PostgreSQL
browsers.py    Chromium
"""
