"""How gunicorn serves the app. gunicorn reads this file by default: `gunicorn wsgi:app`.

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
    # Loaded by its path. An import of the package `app` here would make workers continue with the
    # old code after a reload (SIGHUP).
    spec = importlib.util.spec_from_file_location("logs", "app/operations/logs.py")
    logs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(logs)
    return logs


# Read as the app does: the environment over .env, and an empty value counts as not set.
_environ = {
    name: value.strip()
    for values in (dotenv_values(".env"), os.environ)
    for name, value in values.items()
    if value and value.strip()
}

# Loopback: a proxy in front terminates https. Set PROXY_HOPS for it too.
bind = _environ.get("GUNICORN_BIND", "127.0.0.1:8000")

# Threads, because a request may wait for Katana; processes, to use more than one core.
worker_class = "gthread"
workers = int(_environ.get("GUNICORN_WORKERS", "2"))
threads = int(_environ.get("GUNICORN_THREADS", "8"))

# How long an idle connection is kept, in seconds: longer than load balancers do, which is often a
# minute. If a balancer reuses a connection at the moment at which it is closed here, it responds
# with 502. gthread keeps idle connections without a thread.
keepalive = 75

# How long requests may continue after a stop was requested, in seconds. If Katana has responded to
# a refresh, it must still be saved. A refresh takes no longer than its lease, 60 seconds, and 5
# seconds more for a takeover.
graceful_timeout = 70

# After how many seconds without a heartbeat a worker counts as hung. With gthread the main loop
# sends the heartbeat, not the single request. It is longer than graceful_timeout, so that it never
# interrupts a refresh.
timeout = 90

# Limits of the request line and of each header, in bytes, and of the number of headers. The
# callback's URL contains Katana's code, which may be long. No other page needs much.
limit_request_line = 8190
limit_request_field_size = 8190
limit_request_fields = 64

loglevel = _environ.get("LOG_LEVEL", "info").lower()
accesslog = "-"


class Logger(glogging.Logger):
    """Logs gunicorn's own messages, and one line for each request, in the format of the app."""

    def setup(self, cfg):
        """Runs at the start, and at each reload."""
        super().setup(cfg)
        logs = _logs()
        redirect_uri = _environ.get("KATANA_REDIRECT_URI", "")
        form = logs.form_for(_environ.get("LOG_FORMAT"), redirect_uri)
        for handler in (*self.error_log.handlers, *self.access_log.handlers):
            handler.setFormatter(logs.formatter(form))
        self.error_log.addFilter(logs.without_query)
        self.without_key = logs.without_key

    def access(self, resp, req, environ, request_time):
        """Log one request without query string and referrer: a callback's contain Katana's code."""
        path = environ.get("PATH_INFO")  # None if gunicorn itself refused the request
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

# The folder in which each worker keeps its counters for /metrics; any worker adds them up. A start
# creates it. After a reload (SIGHUP), or in a successor (SIGUSR2), it is used further.
_COUNTS = "connect-counts-"
if _environ.get("METRICS_TOKEN") and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_COUNTS)


def post_fork(server, worker):
    """A worker starts: Ctrl-C stops it gracefully, as SIGTERM does.

    gunicorn's quick shutdown takes a lock in a signal handler. Ctrl-C reaches a worker twice, from
    the terminal and from the master. If the second signal interrupted the first, the worker hung.
    """
    worker.handle_quit = worker.handle_exit
    # The app divides the threads among its bulkheads. They may have been set by `--threads`.
    os.environ["GUNICORN_THREADS"] = str(worker.cfg.threads)


def post_worker_init(worker):
    """A worker has loaded the app: give the app the number of requests that wait for a thread."""
    pool = getattr(worker, "tpool", None)  # only gthread has it
    extensions = getattr(worker.wsgi, "extensions", None)  # only a Flask app has it
    if pool and extensions is not None:
        extensions["waiting_requests"] = pool._work_queue.qsize


def when_ready(server):
    """The server is up: from now on it reloads (SIGHUP) only if the new code starts.

    By default gunicorn exits if a new worker does not start, and stops the running workers too.
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
    """The server ends: delete the counters, unless a successor uses them."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    if _COUNTS in folder and not server.reexec_pid and not server.master_pid:
        shutil.rmtree(folder, ignore_errors=True)


# Only the app's PROXY_HOPS says which proxies are in front; gunicorn itself trusts none.
forwarded_allow_ips = ""

# No socket for remote control: it is not used, and a second server would conflict with it.
control_socket_disable = True

# The heartbeat file of a worker is in memory: on a slow disk a worker could look hung.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
