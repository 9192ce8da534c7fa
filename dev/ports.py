"""Ports on this machine: which are free, and which program has one that is not."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket

import psutil

BELOW_THE_EPHEMERAL = range(10_240, 32_000)
"""Linux gives ports from 32768 on to outgoing connections, macOS and Windows from 49152 on."""


SITE_PORT, SIMULATOR_PORT = 8888, 8890


class PortTaken(Exception):
    """A server cannot have its port; the message says why and what to do."""


def free_port() -> int:
    """One that stays free until its server is up: not one that the system gives to outgoing connections."""
    while True:
        port = secrets.choice(BELOW_THE_EPHEMERAL)
        if not is_taken(port):
            return port


def is_taken(port: int) -> bool:
    """Whether a program listens on this port, on any of this machine's own addresses."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with contextlib.suppress(OSError), socket.socket(family) as probe:
            probe.settimeout(1)
            if probe.connect_ex((address, port)) == 0:
                return True
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def holder(port: int) -> str:
    """The program that listens on this port, as ` by NAME (process N)`; empty where the system does not say."""
    with contextlib.suppress(psutil.Error, OSError, RuntimeError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                program = os.path.basename(psutil.Process(connection.pid).exe())
                return f" by {program} (process {connection.pid})"
    return ""


def require_free(port: int, variable: str, purpose: str) -> None:
    """Raises PortTaken with the holder's name and another port."""
    if is_taken(port):
        other = next(candidate for candidate in range(port + 1, 65536) if not is_taken(candidate))
        raise PortTaken(
            f"Port {port}, meant for {purpose}, is taken{holder(port)}. "
            f"Stop that program, or choose another port: {variable}={other} make dev"
        )


def port_from_environment(variable: str, default: int) -> int:
    """The port that the environment names. Raises PortTaken where it is no port that we may have."""
    text = os.environ.get(variable, "").strip() or str(default)
    if not text.isdecimal() or not 1024 <= int(text) <= 65535:
        raise PortTaken(f"{variable} must be a port number from 1024 to 65535.")
    return int(text)


def usual_ports() -> tuple[int, int]:
    """The shop's and the simulator's. Raises PortTaken where the environment names two that cannot be used."""
    port, simulator_port = port_from_environment("PORT", SITE_PORT), port_from_environment("SIM_PORT", SIMULATOR_PORT)
    if port == simulator_port:
        raise PortTaken(f"PORT and SIM_PORT are both {port}: the shop and the simulator need one each.")
    return port, simulator_port
