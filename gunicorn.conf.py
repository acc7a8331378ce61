"""How gunicorn serves the app. It reads this file by itself: `gunicorn wsgi:app`.

Each value that a deployment may want to change can be set in the environment or in .env.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from types import ModuleType

from dotenv import dotenv_values
from gunicorn import glogging


def _logs() -> ModuleType:
    # Loaded by its path: were the package `app` imported here, workers that come after a reload
    # (SIGHUP) would go on with the old code.
    spec = importlib.util.spec_from_file_location("logs", "app/operations/logs.py")
    logs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(logs)
    return logs


# As the app reads it: the environment over .env, and an empty value counts as not set.
_environ = {
    name: value.strip()
    for values in (dotenv_values(".env"), os.environ)
    for name, value in values.items()
    if value and value.strip()
}

# Loopback: a proxy that speaks https stands in front. Set PROXY_HOPS for it too.
bind = _environ.get("GUNICORN_BIND", "127.0.0.1:8000")

# Threads, because a page waits for Katana most of its time; processes, to use more than one core.
worker_class = "gthread"
workers = int(_environ.get("GUNICORN_WORKERS", "2"))
threads = int(_environ.get("GUNICORN_THREADS", "8"))

# How long an idle connection is kept, in seconds. Longer than balancers keep theirs, which is often
# 60 s: one that reuses a connection at the moment at which it is closed here answers with a 502.
# gthread holds idle connections without a thread.
keepalive = 75

# How long a request may go on after a stop was asked for, in seconds. A refresh that Katana has
# answered must still be saved. A refresh takes no longer than its lease, which is 60 seconds, and
# where it takes a lease over, 5 seconds more.
graceful_timeout = 70

# When a worker counts as hung, in seconds. With gthread this watches the worker's main loop and
# not the single request; it stays above graceful_timeout so that it never cuts a refresh short.
timeout = 90

# How long the first line and each header may be, in bytes, and how many headers there may be. The
# callback's URL holds Katana's code, which may be long; else no page here needs much.
limit_request_line = 8190
limit_request_field_size = 8190
limit_request_fields = 64

loglevel = _environ.get("LOG_LEVEL", "info").lower()
accesslog = "-"


class Logger(glogging.Logger):
    """Writes gunicorn's own lines, and one for each request, in the form of the app's."""

    def setup(self, cfg):
        """Called at the start, and at each reload."""
        super().setup(cfg)
        logs = _logs()
        redirect_uri = _environ.get("KATANA_REDIRECT_URI", "")
        form = logs.form_for(_environ.get("LOG_FORMAT"), redirect_uri)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(logs.formatter(form))
        self.error_log.addFilter(logs.without_query)
        self.without_key = logs.without_key

    def access(self, resp, req, environ, request_time):
        """One request. No query string and no referrer: the callback's hold Katana's code."""
        path = environ.get("PATH_INFO")  # None where gunicorn itself refused the request
        fields = {
            "method": environ["REQUEST_METHOD"],
            "path": path and self.without_key(path),
            "status": int(resp.status.split()[0]),
            "duration_seconds": request_time.total_seconds(),
            "address": environ["REMOTE_ADDR"],
            "request_id": dict(resp.headers).get("X-Request-ID"),
        }
        self.access_log.info(
            "%(method)s %(path)s %(status)s in %(duration_seconds).2f s for %(address)s",
            fields,
            extra=fields,
        )


logger_class = Logger

# Where each worker counts for /metrics, in files of its own that any worker adds up. A start makes
# it anew, a reload (SIGHUP) or a successor (SIGUSR2) goes on with it.
_COUNTS = "connect-counts-"
if _environ.get("METRICS_TOKEN") and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_COUNTS)


def post_fork(server, worker):
    """A worker begins: Ctrl-C tells it to end as SIGTERM does.

    gunicorn's own quick way takes a lock in a signal handler. Ctrl-C reaches a worker twice, from
    the terminal and from its master, and where the second caught the first, the worker hung.
    """
    worker.handle_quit = worker.handle_exit
    # For the app, which shares the threads out, where they were set by `--threads`.
    os.environ["GUNICORN_THREADS"] = str(worker.cfg.threads)


def post_worker_init(worker):
    """The worker has its app: let it see how many requests wait for a thread."""
    pool = getattr(worker, "tpool", None)  # of gthread alone
    extensions = getattr(worker.wsgi, "extensions", None)  # of Flask alone
    if pool and extensions is not None:
        extensions["waiting_requests"] = pool._work_queue.qsize


def when_ready(server):
    """The server is up: from now on it reloads (SIGHUP) only what would start as well.

    Of itself gunicorn ends where a new worker does not start, and with it the workers that serve.
    """
    reload = server.handle_hup

    def reload_what_starts():
        why_not = _why_it_does_not_start(server.app.app_uri)
        if why_not:
            server.log.error("Not reloaded, all goes on as before. %s", why_not)
        else:
            reload()

    server.handle_hup = reload_what_starts


def _why_it_does_not_start(app_uri):
    check = (sys.executable, "-m", "gunicorn", "--check-config", app_uri)
    try:
        subprocess.run(check, check=True, capture_output=True, text=True, timeout=30)  # noqa: S603
    except subprocess.TimeoutExpired:
        return "What is there now does not start in time."
    except subprocess.CalledProcessError as error:
        _, _, sentences = error.stderr.partition("AppImportError: ")
        return " ".join((sentences or error.stderr).split())
    return None


def on_exit(server):
    """The server ends: take the counts away, unless another goes on with them."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    if _COUNTS in folder and not server.reexec_pid and not server.master_pid:
        shutil.rmtree(folder, ignore_errors=True)


# Who stands in front is said by the app's PROXY_HOPS alone; gunicorn itself believes nobody.
forwarded_allow_ips = ""

# No socket for remote control: nothing here uses one, and a second server would fight over it.
control_socket_disable = True

# Workers beat into this file: on disk a busy disk would look like a hung worker.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
