"""Hosts on one Linux machine: network namespaces on one bridge. Needs root.

What starts while a host is entered belongs to that host: a process, a socket, and a thread with all
that it starts.
"""

import ctypes
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import cannot_run, program
from tests.support.until import until

CLONE_NEWNET = 0x40000000
#: From the addresses for network benchmarks (RFC 2544).
NET = "198.18.0"

#: Adds the number of seconds in the file WRONG_BY to the machine's clock. CLOCK_MONOTONIC and
#: CLOCK_BOOTTIME stay correct, as when an administrator sets the clock. libfaketime 0.9.10 cannot
#: be used: it changes clock_nanosleep, so that Python's `time.sleep` fails or never ends.
WRONG_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long wrong_by(void) {
    char text[32] = {0};
    const char *path = getenv("WRONG_BY");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
    close(file);
    return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, at);
    if (!failed && clock == CLOCK_REALTIME) at->tv_sec += wrong_by();
    return failed;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
"""


class Host:
    """One host: a network namespace with one address."""

    def __init__(self, lan: "Lan", name: str, number: int) -> None:
        self.name, self.address = name, f"{NET}.{number}"
        self._lan, self._namespace, self._port = lan, f"{lan.prefix}-{name}", f"p{number}"
        ip("netns", "add", self._namespace)
        peer = ("type", "veth", "peer", "name", "eth0", "netns", self._namespace)
        ip("-n", lan.switch, "link", "add", self._port, *peer)
        ip("-n", lan.switch, "link", "set", self._port, "master", "br0", "up")
        ip("-n", self._namespace, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            ip("-n", self._namespace, "link", "set", device, "up")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within the context this thread is on this host."""
        with open("/proc/thread-self/ns/net") as before:
            with open(f"/run/netns/{self._namespace}") as namespace:
                _enter(namespace.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def forward(self, port: int, to: "Host") -> None:
        """Forward this host's 127.0.0.1:`port` to `to`.

        The app and the sandbox allow plain http for loopback addresses only.
        """
        with self.entered():
            Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1")
            rule = ("-d", "127.0.0.1", "-p", "tcp", "--dport", str(port), "-j", "DNAT")
            to_there = ("--to-destination", f"{to.address}:{port}")
            run("iptables", "-t", "nat", "-A", "OUTPUT", *rule, *to_there)
            run("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE")

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Within the context the host is disconnected from the network."""
        ip("-n", self._lan.switch, "link", "set", self._port, "down")
        try:
            yield
        finally:
            ip("-n", self._lan.switch, "link", "set", self._port, "up")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to every process of this host."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """Kill every process of this host at once, as a power cut does."""
        seen: set[int] = set()

        def is_empty() -> bool:
            seen.update(self._pids())
            self.send(signal.SIGKILL)  # again: a process may have started another one before
            # A process that is ending leaves its namespace before it closes its sockets.
            return not self._pids() and not any(map(_runs, seen))

        until(is_empty, lambda: f"{self.name} still runs {self._pids()}")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within the context every process of this host is stopped."""
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)

    def remove(self) -> None:
        """Kill its processes, and remove it."""
        self.kill()
        ip("netns", "del", self._namespace)

    def _pids(self) -> list[int]:
        found = map(int, run("ip", "netns", "pids", self._namespace).split())
        return [pid for pid in found if pid != os.getpid()]


class Lan:
    """A switch with its hosts."""

    def __init__(self) -> None:
        self.prefix = f"connect-{secrets.token_hex(3)}"
        # Its own namespace, so that the machine's firewall rules do not apply to it.
        self.switch = f"{self.prefix}-switch"
        self.hosts: dict[str, Host] = {}

    def start(self) -> None:
        """Create the switch."""
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        ip("-n", self.switch, "link", "set", "br0", "up")

    def add(self, name: str) -> Host:
        """Connect a new host to it."""
        self.hosts[name] = Host(self, name, len(self.hosts) + 1)
        return self.hosts[name]

    def remove(self) -> None:
        """Remove all of it, and kill its processes."""
        for host in self.hosts.values():
            with suppress(subprocess.CalledProcessError, AssertionError):
                host.remove()
        with suppress(subprocess.CalledProcessError):
            ip("netns", "del", self.switch)


@contextmanager
def lan() -> Iterator[Lan]:
    """A switch without hosts, removed at the end."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("network namespaces need root on Linux")
    program("ip")
    program("iptables")
    made = Lan()
    try:
        try:
            made.start()
        except subprocess.CalledProcessError as error:
            cannot_run(f"no network namespace can be made here: {error.stderr}")
        yield made
    finally:
        made.remove()


class MachineClock:
    """The clock of some processes, which can be set while they run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._file, source, library = folder / "by", folder / "clock.c", folder / "clock.so"
        source.write_text(WRONG_CLOCK)
        run(program("cc"), "-shared", "-fPIC", "-o", str(library), str(source), "-ldl")
        self.environ = {"LD_PRELOAD": str(library), "WRONG_BY": str(self._file)}
        self.set(0)

    def set(self, seconds: int) -> None:
        """From now on it is so many seconds wrong."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self._file)


def ip(*arguments: str) -> None:
    """Run `ip` of iproute2."""
    run("ip", *arguments)


def run(*command: str) -> str:
    """The output of a command, which must succeed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")
