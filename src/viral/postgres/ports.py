"""Ports of this machine: which are free, and what is said of one that is not."""

from __future__ import annotations

import random
import socket

from viral.errors import PortInUse

HOST = "127.0.0.1"
# Below the ports of outgoing connections on Linux, which would take a kept port now and then.
FREE_PORTS = range(20_000, 32_000)
PORT_ATTEMPTS = 50


def is_free(port: int) -> bool:
    """Say whether a server could listen on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as candidate:
        # As PostgreSQL does: connections of the last minute do not keep the port.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Choose a port that nothing listens on."""
    for port in random.SystemRandom().sample(FREE_PORTS, PORT_ATTEMPTS):
        if is_free(port):
            return port
    raise PortInUse(
        f"No free port was found between {FREE_PORTS.start} and {FREE_PORTS.stop - 1}.",
        hint="Set VIRAL_PG_PORT to a free port.",
    )


def port_in_use(port: int) -> PortInUse:
    """Make the error for a port that was asked for and is taken."""
    return PortInUse(
        f"Port {port} is taken by another program.",
        hint="Set VIRAL_PG_PORT to a free port, or leave it unset to have one chosen.",
    )
