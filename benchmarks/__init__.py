"""This app and what one would use in its place, measured side by side. `make bench` runs it all.

The questions, one file each, in the order of RESULTS.md:

token_in_hand.py      how long it takes to have a stored token in hand
storm.py              what happens when everybody finds the token expired at once
running_at_expiry.py  whether requests notice that a token is being renewed
keep_alive.py         how fast many tokens are renewed, and with how much memory
pages.py              how fast the pages are, and how heavy a worker is
slow_katana.py        what a slow Katana holds up
in_step.py            how many orders a copy gets wrong
sync_speed.py         how fast the copy is
million.py            what a million connections cost, beside a thousand
first_run.py          how long it takes from nothing to a connected account
several_hosts.py      what users see while hosts fail: `make several-hosts`

What they stand on:

measuring.py       rounds in turn, warm-up, medians and spread, work checked to be the same
callers.py         many processes with many threads that ask at once
token_endpoint.py  a strict login server that counts
databases.py       fresh databases, and a million rows in little time
fleet.py           a million connections with all that hangs on them
web.py             load on served pages
results.py         answers as data; report.py and charts.py make RESULTS.md of them
machine.py         what all this ran on
peers/             the others, each used as its own documentation shows
"""
