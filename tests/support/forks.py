"""A copy of the repository that a test changes as a fork does, and runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from app.settings.config import ROOT
from tests.support.clones import LEFT_OUT

#: The files that the fork uses in place of ours.
FORK = ROOT / "tests" / "repository" / "fork"


class Fork:
    """A changed copy of the repository."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(ROOT, path, ignore=LEFT_OUT)

    def change(self, file: str, old: str, new: str) -> None:
        """Replace text in a file."""
        text = (self.path / file).read_text()
        assert re.search(old, text), f"{file} has no {old}"
        (self.path / file).write_text(re.sub(old, new, text))

    def remove(self, *files: str) -> None:
        """Delete files."""
        for file in files:
            there = self.path / file
            shutil.rmtree(there) if there.is_dir() else there.unlink()

    def put(self, name: str, folder: str) -> None:
        """Add a file of the fork, or replace one."""
        shutil.copy(FORK / name, self.path / folder / name)

    def run(self, *arguments: str, **environ: str) -> None:
        """Run `python -m <arguments>`, which must succeed."""
        ended = self.ended(*arguments, **environ)
        assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]

    def ended(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m <arguments>` without the settings of this machine; the result."""
        ours = {n: v for n, v in os.environ.items() if n in {"PATH", "HOME", "CI", "TMPDIR"}}
        return subprocess.run(
            (sys.executable, "-m", *arguments),
            cwd=self.path,
            env=ours | environ,
            capture_output=True,
            text=True,
        )
