"""How gunicorn serves the app. It reads this file by itself: `gunicorn wsgi:app`.

Each value that a deployment may want to change can be set by an environment variable.
"""

import os

# Loopback: a proxy that speaks https stands in front. Set PROXY_HOPS for it too.
bind = os.environ.get("GUNICORN_BIND", "127.0.0.1:8000")

# Threads, because a page waits for Katana most of its time; processes, to use more than one core.
worker_class = "gthread"
workers = int(os.environ.get("GUNICORN_WORKERS", "2"))
threads = int(os.environ.get("GUNICORN_THREADS", "8"))

# How long a request may go on after a stop was asked for, in seconds. A refresh that Katana has
# answered must still be saved, and a refresh takes no longer than its lease, which is 60 seconds.
graceful_timeout = 60

# When a worker counts as hung, in seconds. With gthread this watches the worker's main loop and
# not the single request; it stays above graceful_timeout so that it never cuts a refresh short.
timeout = 90

# How long the first line and each header may be, in bytes, and how many headers there may be. The
# callback's URL holds Katana's code, which may be long; else no page here needs much.
limit_request_line = 8190
limit_request_field_size = 8190
limit_request_fields = 64

# No query string and no referrer, so never %(r)s, %(q)s or %(f)s: the callback's URL holds Katana's
# code and our state.
accesslog = "-"
access_log_format = '%(h)s %(t)s "%(m)s %(U)s" %(s)s %(B)s %(L)ss'
loglevel = os.environ.get("LOG_LEVEL", "info").lower()

# Who stands in front is said by the app's PROXY_HOPS alone; gunicorn itself believes nobody.
forwarded_allow_ips = ""

# No socket for remote control: nothing here uses one, and a second server would fight over it.
control_socket_disable = True

# Workers beat into this file: on disk a busy disk would look like a hung worker.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
