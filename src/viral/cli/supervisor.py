"""One process that keeps the others alive: PostgreSQL, the web server, Studio, the worker."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING

from viral.cli.output import err
from viral.errors import PortInUse, ServerError, ServerNotOurs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from viral.postgres.pooler import Pooler
    from viral.postgres.server import Server
    from viral.settings import Settings

CHILDREN = ("web", "worker", "studio")
CHECK_S = 0.5
ANSWER_WITHIN_S = 60.0
STOP_WITHIN_S = 6.0
# A child that ends sooner than this after its start is started again with growing delay.
STEADY_S = 10.0
MOST_DELAY_S = 10.0
LARGEST_LOG_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Running:
    """The process that supervises an installation."""

    pid: int
    since: str


def find_running(home: Path) -> Running | None:
    """Return who supervises the installation, by the lock it holds: a pid alone proves nothing."""
    path = home / "up.lock"
    if not path.exists():
        return None
    with path.open("r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Running(**json.loads(file.read() or '{"pid": 0, "since": "a moment ago"}'))
    return None


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Hold the installation's lock, and see that the ports are free."""
    home = settings.home
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(home / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServerNotOurs(
                "Another `viral up` of this installation is starting.", hint="See `viral status`."
            ) from error
        refuse_taken_port(settings.port, "VIRAL_PORT=8080 viral up")
        refuse_taken_port(settings.studio_port, "VIRAL_STUDIO_PORT=5556 viral up")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        file.truncate(0)
        file.write(json.dumps(asdict(Running(os.getpid(), now))))
        file.flush()
        yield


async def supervise(settings: Settings, greet: Callable[[], Awaitable[None]]) -> int:
    """Run the children, and keep the server up, until a signal; return the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as tasks:
        for name in CHILDREN:
            tasks.create_task(_keep_child(settings, name, stop))
        tasks.create_task(_keep_server(settings, stop))
        ports = (settings.port, settings.studio_port)
        if all([await _answers(port, stop) for port in ports]):
            await greet()
    return 0


@asynccontextmanager
async def ending_server(settings: Settings) -> AsyncIterator[None]:
    """Stop the embedded server after the block, unless another command uses it."""
    from viral.servers import embedded_server, is_embedded

    if not is_embedded(settings):
        yield
        return
    server = embedded_server(settings)
    async with server.used(ends_within_s=STOP_WITHIN_S):
        yield
    if await server.is_answering():
        err.print("PostgreSQL is used by another command; it is stopped when that ends.")


async def _keep_child(settings: Settings, name: str, stop: asyncio.Event) -> None:
    """Start a child again whenever it ends, until `stop`."""
    delay = CHECK_S
    log = settings.home / "logs" / f"{name}.log"
    while not stop.is_set():
        started = asyncio.get_running_loop().time()
        process = await _start_child(name, log)
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set():
            await _end_child(process)
            return
        lived = asyncio.get_running_loop().time() - started
        delay = CHECK_S if lived > STEADY_S else min(MOST_DELAY_S, delay * 2)
        err.print(f"{name} ended with code {process.returncode}; again in {delay:g} s. See {log}")
        await _pause(stop, delay)


async def _start_child(name: str, log: Path) -> asyncio.subprocess.Process:
    """Start a process of ours; its output goes to its log."""
    with _opened_log(log) as file:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "viral",
            name,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            # Ctrl-C reaches the supervisor alone, which ends the others in order.
            start_new_session=True,
        )


def _opened_log(path: Path) -> IO[bytes]:
    """Open a log for appending; a large one starts anew."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    is_large = path.exists() and path.stat().st_size > LARGEST_LOG_BYTES
    return path.open("wb" if is_large else "ab")


async def _end_child(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _keep_server(settings: Settings, stop: asyncio.Event) -> None:
    """Start the embedded server again when it does not answer, and its pooler, until `stop`."""
    from viral.servers import embedded_server, is_embedded, pooler_of

    if not is_embedded(settings):
        return
    server = embedded_server(settings)
    pooler = pooler_of(settings) if settings.database_url is not None else None
    while not stop.is_set():
        if not await server.is_answering():
            await _start_again("PostgreSQL", server, stop)
        elif pooler is not None and not await pooler.is_running():
            await _start_again("The pooler", pooler, stop)
        await _pause(stop, CHECK_S)


async def _start_again(name: str, gone: Server | Pooler, stop: asyncio.Event) -> None:
    if stop.is_set():
        return
    err.print(f"{name} does not answer; starting it again ...")
    start = asyncio.create_task(_started(gone))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({start, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        # On `stop` it may wait for another command, or for a long recovery.
        start.cancel()
    await asyncio.wait({start})
    if start.cancelled():
        return
    try:
        start.result()
    except ServerError as error:
        err.print(f"{name} is not back: {error.message}")
    else:
        err.print(f"{name} is back.")


async def _started(gone: Server | Pooler) -> None:
    await gone.start()


async def _answers(port: int, stop: asyncio.Event) -> bool:
    """Wait until the web server takes connections; False when it did not, or on `stop`."""
    deadline = asyncio.get_running_loop().time() + ANSWER_WITHIN_S
    while not stop.is_set() and asyncio.get_running_loop().time() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await _pause(stop, 0.1)
        else:
            writer.close()
            return True
    return False


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def refuse_taken_port(port: int, otherwise: str) -> None:
    """Raise PortInUse when another program has a port; `otherwise` is the command to use then."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortInUse(
                f"Port {port} is taken by another program.",
                hint=f"Choose another: {otherwise}",
            ) from error
