"""The jobs of the worker as Celery tasks, for a team that runs Celery already (docs/celery.md).

    celery --app app.operations.worker.celery_tasks worker --beat

Beat starts a `look` for each job, which finds due items. A `do` task does one. The lease in the row
decides which process does an item, as for `flask worker`: a lost task is found due again, and a
repeated one finds nothing to do. So late acknowledgement is off, and messages expire soon.
"""

import sys
from typing import Any

from celery import Celery
from celery.signals import setup_logging
from flask import Flask

from app import create_app
from app.connections import start_up
from app.errors import ConfigurationError
from app.operations.worker import Job, attempt, jobs
from app.settings.config import INSTANCE

LOOK_SECONDS = 1.0  # at least, between two calls of `due` of one job
AT_ONCE = 50  # the most tasks that one call of `due` sends
EXPIRES_SECONDS = 5.0  # an older message is dropped: the next call of `due` finds its key again


def celery_of(app: Flask) -> Celery:
    """The Celery application of `app`, whose tasks run in its context.

    Raises ConfigurationError if CELERY_BROKER_URL is not set.
    """
    broker = app.extensions["settings"].celery_broker_url
    if broker is None:
        raise ConfigurationError(("CELERY_BROKER_URL is not set.",))

    celery = Celery("connect-to-katana", broker=broker)
    with app.app_context():
        table = {job.name: job for job in jobs()}
    celery.conf.update(
        task_ignore_result=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_prefetch_multiplier=1,  # a task may take seconds: no process reserves a second one
        beat_schedule_filename=str(INSTANCE / "celery-beat"),
        beat_schedule={name: _beat_entry(job) for name, job in table.items()},
    )

    @celery.task(name="look")  # type: ignore[untyped-decorator]
    def look(name: str) -> None:
        with app.app_context():
            keys = table[name].due(AT_ONCE)
        for key in keys:
            do.apply_async((name, key), expires=EXPIRES_SECONDS)

    @celery.task(name="do")  # type: ignore[untyped-decorator]
    def do(name: str, key: list[str]) -> None:
        attempt(app, table[name], tuple(key), lambda: False)

    return celery


def _beat_entry(job: Job) -> dict[str, Any]:
    seconds = max(job.every, LOOK_SECONDS)
    options = {"expires": max(seconds, EXPIRES_SECONDS)}
    return {"task": "look", "schedule": seconds, "args": (job.name,), "options": options}


@setup_logging.connect  # type: ignore[untyped-decorator]
def _keep_our_log(**_: object) -> None:
    """Connected to this signal, because Celery then does not configure logging itself."""


try:
    flask_app = create_app()
    celery_app = celery_of(flask_app)
    start_up.check(flask_app)  # it closes its connections, because Celery forks after this
except ConfigurationError as error:
    sys.exit(str(error))
