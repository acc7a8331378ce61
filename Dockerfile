# One image for the servers, the worker and the commands. Without a command it serves (`make serve`).
#   docker build --tag connect-to-katana .
#   docker run ... connect-to-katana flask worker
# The tag says what the digest is. For another version, `docker buildx imagetools inspect
# python:<tag>` prints the digest of all platforms.
ARG BASE=python:3.12.11-slim-bookworm@sha256:519591d6871b7bc437060736b9f7456b8731f1499a57e22e6c285135ae657bf7

FROM ${BASE} AS packages
# requirements-tracing.txt: with OpenTelemetry. requirements-celery.txt: with Celery.
ARG REQUIREMENTS=requirements.txt
COPY ${REQUIREMENTS} .
RUN python3 -m venv /venv \
    && /venv/bin/pip install --disable-pip-version-check --no-cache-dir --require-hashes -r ${REQUIREMENTS}

FROM ${BASE}
COPY --from=packages /venv /venv
WORKDIR /app
COPY . .
# The root file system may be read-only, so bytecode is written now. instance/ is the one folder to
# write to, and holds .env too; an empty named volume takes over the owner that it has here. A clone
# made with a strict umask has files that only their owner may read.
RUN chmod -R a+rX . \
    && /venv/bin/python -m compileall -q app sandbox migrations wsgi.py gunicorn.conf.py \
    && ln -s instance/.env .env \
    && install -d -m 0700 -o 10001 -g 10001 instance /certificate /database-password
ENV PATH=/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 GUNICORN_BIND=0.0.0.0:8000
USER 10001:10001
VOLUME /app/instance
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://' + os.environ['GUNICORN_BIND'] + '/healthz', timeout=4)"]
# No shell and no script around it: the process becomes gunicorn, and SIGTERM reaches it.
CMD ["python", "-m", "app.operations.serve"]
