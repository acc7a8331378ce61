"""This app and its alternatives, measured side by side. `make bench` runs everything.

One file for each question, in the order of RESULTS.md:

token_in_hand.py      how long it takes to read a stored token
storm.py              what happens when many callers find the token expired at once
running_at_expiry.py  whether requests are slower while a token is refreshed
keep_alive.py         how fast many tokens are refreshed, and with how much memory
pages.py              how fast the pages are, and how much memory a worker takes
slow_katana.py        what a slow Katana delays
in_step.py            how many orders are wrong in a copy
sync_speed.py         how fast the copy is
million.py            what a million connections cost, compared with a thousand
first_run.py          how long it takes from `git clone` to a connected account
several_hosts.py      what users see while hosts fail: `make several-hosts`

Shared code:

measuring.py       alternating rounds, warm-up, medians and spread, equal work
callers.py         many processes with many threads that request a token at once
token_endpoint.py  a strict login server that counts refreshes
databases.py       new databases, and a million rows quickly
fleet.py           a million connections with all their other rows
web.py             load on served pages
results.py         results as data; report.py and charts.py make RESULTS.md from them
machine.py         the machine and the versions
peers/             the alternatives, each used as its own documentation shows
"""
