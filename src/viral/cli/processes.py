"""`viral web` and `viral worker`: the processes that `viral up` supervises, one by one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import structlog
import typer

from viral.settings import Settings, listed, load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from socket import socket

    from litestar import Litestar
    from uvicorn import Server

PARENT_CHECK_S = 1.0
STARTED_CHECK_S = 0.05
GRACE_S = 5


def web() -> None:
    """Serve the dashboard and the API. Example: VIRAL_PORT=8080 viral web."""
    from viral.web.application import create_application

    settings = load_settings()
    configure_logs()
    application = create_application(settings)
    serve(application, settings.port, when_stopping=application.state.hub.close)


def serve(
    application: Litestar,
    port: int,
    when_started: Callable[[], Awaitable[object]] | None = None,
    when_stopping: Callable[[], object] = bool,
) -> None:
    """Serve an application on this machine until a signal, or until our supervisor is gone.

    `when_stopping` ends what would keep connections open; the server waits for them.
    """
    import uvicorn
    import uvloop

    class Serving(uvicorn.Server):
        async def startup(self, sockets: list[socket] | None = None) -> None:
            await super().startup(sockets)
            # What is loaded stays: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()

        async def shutdown(self, sockets: list[socket] | None = None) -> None:
            when_stopping()
            await super().shutdown(sockets)

    configuration = uvicorn.Config(
        application,
        host="127.0.0.1",
        port=port,
        log_config=None,
        access_log=False,
        # The door knows which proxies to believe.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = Serving(configuration)

    async def live() -> None:
        def end() -> None:
            server.should_exit = True

        async with asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(_end_with_parent(end))
            if when_started is not None:
                tasks.create_task(_once_started(server, when_started))
            await server.serve()
            watcher.cancel()

    with contextlib.suppress(KeyboardInterrupt):
        # Uvicorn chooses a loop only where it starts one itself.
        uvloop.run(live())


async def _once_started(server: Server, act: Callable[[], Awaitable[object]]) -> None:
    # Uvicorn says so by a flag alone.
    while not server.started and not server.should_exit:  # noqa: ASYNC110
        await asyncio.sleep(STARTED_CHECK_S)
    if server.started:
        await act()


def worker(
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=1000, help="Jobs at once, of each queue.")
    ] = 4,
    queues: Annotated[
        str, typer.Option("--queues", help="Only these, with commas between; else all.")
    ] = "",
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port", min=1, max=65535, help="Serve /metrics for Prometheus on 127.0.0.1."
        ),
    ] = None,
) -> None:
    """Run jobs. Example: viral worker --concurrency 8 --queues default --metrics-port 9400."""
    import uvloop

    configure_logs()
    # Short jobs cost as much as the loop that runs them.
    uvloop.run(_work(load_settings(), concurrency, listed(queues), metrics_port))


def configure_logs() -> None:
    """Write events with fields to standard error; nothing below INFO."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(_as_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


def _as_json(event: object, **_: object) -> bytes:
    return msgspec.json.encode(event, enc_hook=repr)


async def _work(
    settings: Settings, concurrency: int, queues: list[str], metrics_port: int | None
) -> None:
    from viral.runtime import open_runtime
    from viral.worker.loop import Worker
    from viral.worker.metrics import serving_metrics

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    watcher = asyncio.create_task(_end_with_parent(stop.set))
    async with open_runtime(settings) as runtime, serving_metrics(runtime, metrics_port):
        worker = Worker(runtime, concurrency=concurrency, queues=queues, has_watchdog=True)
        await worker.run(stop)
    watcher.cancel()


async def _end_with_parent(end: Callable[[], object]) -> None:
    """End a process whose supervisor was killed and cannot end it any more."""
    parent = os.getppid()
    # The kernel tells nobody that a parent died; it only gives the child another one.
    while os.getppid() == parent:  # noqa: ASYNC110
        await asyncio.sleep(PARENT_CHECK_S)
    end()
