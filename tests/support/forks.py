"""A copy of the repository that is changed, and the commands that are run in it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from app.settings.config import ROOT
from tests.support.clones import LEFT_OUT

#: The files that a fork puts in place of ours.
FORK = ROOT / "tests" / "repository" / "fork"


class Fork:
    """A copy that somebody makes their own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(ROOT, path, ignore=LEFT_OUT)

    def change(self, file: str, old: str, new: str) -> None:
        """Replace what stands there."""
        text = (self.path / file).read_text()
        assert re.search(old, text), f"{file} has no {old}"
        (self.path / file).write_text(re.sub(old, new, text))

    def remove(self, *files: str) -> None:
        """Take away what is there."""
        for file in files:
            there = self.path / file
            shutil.rmtree(there) if there.is_dir() else there.unlink()

    def put(self, name: str, folder: str) -> None:
        """Put a file of the fork's own in its place."""
        shutil.copy(FORK / name, self.path / folder / name)

    def run(self, *arguments: str, **environ: str) -> None:
        """`python -m <arguments>` ends well."""
        ended = self.ended(*arguments, **environ)
        assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]

    def ended(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """How `python -m <arguments>` ends, without any setting of this machine."""
        ours = {n: v for n, v in os.environ.items() if n in {"PATH", "HOME", "CI", "TMPDIR"}}
        return subprocess.run(
            (sys.executable, "-m", *arguments),
            cwd=self.path,
            env=ours | environ,
            capture_output=True,
            text=True,
        )
