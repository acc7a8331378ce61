"""The container image and compose.yaml: from sign-up to connected, without a secret in them."""

import re
import shutil
import smtplib
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from dotenv import dotenv_values

from app.settings.config import ROOT
from tests.support.actors import LIVE, Maker, WireBrowser
from tests.support.clones import Clone
from tests.support.composition import DOCKERFILE, NGINX, composed, exec_form, services
from tests.support.nginx import find_nginx
from tests.support.postgres import Postgres
from tests.support.sandbox import TIMEOUT, Sandbox
from tests.support.until import until

BASE, OVERRIDE = "compose.yaml", "compose.override.yaml"
APP = ("first-start", "migrate", "web-1", "web-2", "worker")
ENDED = ("web-1", "web-2", "worker", "proxy")
COMPOSE = ("docker", "compose")


def journey(url: str, certificate: Path, sandbox_url: str) -> None:
    """A user signs up through nginx, connects, and sees what the worker has copied."""
    browser, sandbox = WireBrowser(url, certificate), Sandbox(sandbox_url, "", "")
    maker = Maker(browser, sandbox)
    maker.sign_up()
    maker.connect()
    until(lambda: LIVE in maker.dashboard().text, lambda: maker.dashboard().text)
    assert "__Host-session" in browser.cookies()
    until(sandbox.webhooks, lambda: "the worker makes no webhook")
    sandbox.happen("new_order")
    sandbox.wait_until_delivered()
    assert {delivery["state"] for delivery in sandbox.deliveries()} == {"delivered"}
    browser.close()
    sandbox.close()


@pytest.fixture
def database_of_its_own(postgres: Postgres, tmp_path: Path) -> Iterator[str]:
    """An empty database: compose.yaml migrates it."""
    name = f"composed_{tmp_path.name[-20:]}"
    yield postgres.create(name)
    postgres.drop(name)


@pytest.mark.slow
def test_its_processes_lead_from_sign_up_to_connected(
    clone: Clone, tmp_path: Path, database_of_its_own: str
) -> None:
    """What `docker compose up` starts, in its order; SIGTERM ends each with status 0."""
    if find_nginx() is None:
        pytest.skip("nginx is not installed: compose.yaml's processes are not tested")
    changed = {"DATABASE_URL": database_of_its_own, "GUNICORN_WORKERS": "1"}
    with composed(clone, tmp_path, BASE, OVERRIDE, changed=changed) as one:
        one.up()
        journey(one.url, one.certificate, f"http://127.0.0.1:{one.ports['8001']}")
        relayed = requests.get(
            f"http://127.0.0.1:{one.ports['8081']}/ledger",
            headers={"Host": f"127.0.0.1:{one.ports['8001']}"},
            timeout=TIMEOUT,
        )

        assert len(relayed.json()["families"]) == 1
        with smtplib.SMTP("127.0.0.1", int(one.ports["8025"])) as smtp:
            assert smtp.noop()[0] == 250
        assert "/sign-up" in one.said("web-1") + one.said("web-2")
        assert {name: one.stop(name) for name in ENDED} == dict.fromkeys(ENDED, 0)
        assert "state=" not in one.said("proxy")


@pytest.mark.slow
def test_without_a_client_of_katana_it_says_so(clone: Clone, tmp_path: Path) -> None:
    """compose.yaml alone starts no sandbox: the same sentence as everywhere, and a failure.

    Nor does it serve the sandbox whose client an earlier start has left in the volume.
    """
    with composed(clone, tmp_path, BASE) as one:
        assert one.popen("first-start").wait() == 0
        started = {name: one.popen(name) for name in ("migrate", "web-1", "worker")}
        assert all(process.wait() > 0 for process in started.values())
        clone.sandbox_env.write_text("KATANA_CLIENT_ID=sandbox-1\n")
        assert one.popen("web-2").wait() > 0

        for name in (*started, "web-2"):
            assert "KATANA_CLIENT_ID is not set" in one.said(name)
            assert "Traceback" not in one.said(name)


@pytest.mark.slow
def test_the_first_start_makes_secrets_once(clone: Clone, tmp_path: Path) -> None:
    """They are the owner's alone, and a second start changes nothing."""
    with composed(clone, tmp_path, BASE, OVERRIDE) as one:
        one.popen("first-start").wait()
        key = one.certificate.with_name("key.pem")
        made = (clone.env, clone.sandbox_env, key, one.password)
        before = [file.read_text() for file in made]
        assert one.popen("first-start").wait() == 0, one.said("first-start")

        assert [file.read_text() for file in made] == before
        assert {stat.S_IMODE(file.stat().st_mode) for file in made} == {0o600}
        settings = dotenv_values(clone.env)
        assert len(settings["SECRET_KEY"] or "") == 64
        assert f":{one.password.read_text()}@database/" in (settings["DATABASE_URL"] or "")
        assert len(one.password.read_text()) == 64


@pytest.mark.slow
def test_what_cannot_be_written_is_named(clone: Clone, tmp_path: Path) -> None:
    """A volume that is missing leaves by one sentence."""
    with composed(clone, tmp_path, BASE) as one:
        one.certificate.parent.rmdir()
        status = one.popen("first-start").wait()

        assert status == 1
        assert "certificate/key.pem: No such file or directory." in one.said("first-start")
        assert "Traceback" not in one.said("first-start")


def test_nginx_is_set_up_as_the_docs_say() -> None:
    """deploy/nginx has the block of docs/running.md, with the places of the containers."""
    (block,) = re.findall(r"(?s)```nginx\n(.*?)```", (ROOT / "docs" / "running.md").read_text())
    for theirs, ours in {
        "    server 127.0.0.1:8000;  # one line for each host\n": (
            "    server 127.0.0.1:8000;\n    server 127.0.0.1:8002;\n"
        ),
        "listen 443 ssl;": "listen 8443 ssl;",
        "server_name your-app.example;": "server_name _;",
        "/etc/ssl/your-app.example.pem": "/certificate/certificate.pem",
        "/etc/ssl/your-app.example.key": "/certificate/key.pem",
        "/var/log/nginx/your-app.log": "/dev/stdout",
    }.items():
        assert theirs in block
        block = block.replace(theirs, ours)

    _, _, said = (NGINX / "connect-to-katana.conf").read_text().partition("\n")
    assert said == block


@pytest.mark.parametrize("name", services(BASE, OVERRIDE))
def test_each_container_may_do_little(name: str) -> None:
    """No root, no capability, nothing to write to but volumes and /tmp; PostgreSQL's own apart."""
    service = services(BASE, OVERRIDE)[name]
    if name == "database":
        return
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service.get("user", "10001:10001") == "10001:10001"


def test_no_file_of_the_deployment_holds_a_secret() -> None:
    """Secrets come from the environment or from a file in a volume; the image has no .env."""
    for name, service in services(BASE, OVERRIDE).items():
        for setting, value in service["environment"].items():
            if re.search(r"SECRET|PASSWORD|KEY|TOKEN", setting):
                assert re.fullmatch(r"|\$\{\w+:-\}|/database-password/password", str(value)), name

    taken = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in taken
    assert not {"!.env", "!instance", "!.git"} & set(taken)


def test_the_image_is_pinned_and_runs_as_nobody() -> None:
    """Its base and its packages are known by hash, and no shell stands before its process."""
    assert re.search(
        r"(?m)^ARG BASE=python:3\.\d+\.\d+-slim-bookworm@sha256:[0-9a-f]{64}$", DOCKERFILE
    )
    assert "--require-hashes" in DOCKERFILE
    assert re.findall(r"(?m)^USER (.*)$", DOCKERFILE)[-1] == "10001:10001"
    assert exec_form("CMD") == ["python", "-m", "app.operations.serve"]
    images = re.findall(r"(?m)^ +image: (.*)$", (ROOT / BASE).read_text())
    foreign = [image for image in images if image != "connect-to-katana"]
    assert len(foreign) == 2
    assert all(re.search(r":\d[\w.-]+@sha256:[0-9a-f]{64}$", image) for image in foreign)


@pytest.mark.slow
def test_the_containers_lead_from_sign_up_to_connected(tmp_path: Path) -> None:
    """The image is built, everything starts from a bare clone, and SIGTERM ends all with 0."""
    if (
        not shutil.which("docker")
        or subprocess.run((*COMPOSE, "ps"), cwd=ROOT, capture_output=True).returncode
    ):
        pytest.skip("no container engine with `docker compose` runs here")
    project = (*COMPOSE, "--project-name", "connect-test")
    try:
        subprocess.run((*project, "up", "--build", "--wait"), cwd=ROOT, check=True)
        certificate = tmp_path / "certificate.pem"
        certificate.write_text(ssl.get_server_certificate(("localhost", 8443)))
        journey("https://localhost:8443", certificate, "http://127.0.0.1:8001")
        subprocess.run((*project, "stop", *ENDED), cwd=ROOT, check=True)
        states = subprocess.run(
            (*project, "ps", "--all", "--format", "{{.Service}} {{.ExitCode}}", *ENDED),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert set(states.split("\n")) - {""} == {f"{name} 0" for name in ENDED}
    finally:
        subprocess.run((*project, "down", "--volumes"), cwd=ROOT)


def test_every_service_of_the_app_runs_the_same_image() -> None:
    """Servers, worker, migrations and first start cannot be of different versions."""
    base = yaml.safe_load((ROOT / BASE).read_text())["services"]

    assert {base[name]["image"] for name in APP} == {"connect-to-katana"}
