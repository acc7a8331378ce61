"""`make several-hosts`: run the test of several hosts and write what users saw into RESULTS.md."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.report import SEVERAL_HOSTS, several_hosts

RESULTS = Path(__file__).with_name("RESULTS.md")
TEST = "tests/operations/test_several_hosts.py"
HOW = """\
Network namespaces of one machine: three web hosts, two workers, PostgreSQL, pgbouncer in
transaction mode, nginx and the sandbox. Users load pages all the time, with access tokens of a few
seconds, while one thing after the other goes wrong. The columns count pages. The test also checks
the sandbox's record of every token: a refresh token came twice only where its response was lost
with its host, and each of these grants ended as `answer_lost`. Repeat it with `make several-hosts`
(as root on Linux, 5 minutes).
"""


def main() -> None:
    """Write the table; exit with the status of the test if it fails."""
    command = (sys.executable, "-m", "pytest", "-q", "-s", "-m", "slow", TEST)
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        print(run.stdout)
        sys.exit(run.returncode)

    write(run.stdout, datetime.now(UTC))
    print(f"Wrote {RESULTS.name}.")


def write(output: str, at: datetime) -> None:
    """Replace the last section by the table and the count of ended grants in `output`."""
    lines = output.splitlines()
    table = [line for line in lines if line.startswith("| ")]
    ended = next(line for line in lines if line.startswith("grants ended"))
    machine = (
        f"{at:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} processors. {ended[0].upper()}{ended[1:]}."
    )
    section = "\n".join(["", SEVERAL_HOSTS, "", HOW, machine, "", *table, ""])
    results = RESULTS.read_text()
    RESULTS.write_text(results.removesuffix(several_hosts(results)) + section)


if __name__ == "__main__":
    main()
