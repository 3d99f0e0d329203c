"""The command `viral`: its groups, and the edge at which errors become words and exit codes."""

from __future__ import annotations

import logging
import sys
import traceback
from importlib.metadata import version as package_version
from typing import Annotated

import structlog
import typer

from viral.cli import (
    audit,
    backup,
    branch,
    concepts,
    db,
    doctor,
    experiments,
    generate,
    import_prisma,
    jobs,
    keys,
    migrate,
    people,
    performance,
    pooler,
    processes,
    pull,
    push,
    recovery,
    reflexion,
    replica,
    scale,
    server,
    studio,
    tenant,
    tenant_export,
    trends,
    up,
    validate,
    variants,
    verify,
    wal,
)
from viral.cli.output import err, out, print_error
from viral.errors import ViralError
from viral.settings import load_settings

INTERRUPTED = 130

application = typer.Typer(
    name="viral",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A private studio for short videos that learns from its own misses.",
)
application.command("up")(up.up)
application.command("status")(up.status)
application.command("doctor")(doctor.doctor)
application.command("sign-in")(up.sign_in)
application.command("web")(processes.web)
application.command("worker")(processes.worker)
application.command("studio")(studio.studio)
application.add_typer(server.group, name="server")
application.add_typer(branch.group, name="branch")
application.add_typer(scale.group, name="scale")
application.add_typer(replica.group, name="replica")
application.add_typer(pooler.group, name="pooler")
application.command("validate")(validate.validate)
application.command("format")(validate.format_)
application.command("generate")(generate.generate)
application.add_typer(migrate.group, name="migrate")
application.add_typer(db.group, name="db")
db.group.command("pull")(pull.pull)
db.group.command("push")(push.push)
db.group.command("import-prisma")(import_prisma.import_prisma)
application.add_typer(backup.group, name="backup")
backup.group.command("verify")(recovery.verify)
backup.group.command("restore")(recovery.restore)
application.add_typer(wal.group, name="wal")
application.add_typer(keys.group, name="keys")
application.add_typer(tenant.group, name="tenant")
tenant.group.command("verify")(verify.verify)
tenant.group.command("export")(tenant_export.export)
tenant.group.command("restore")(tenant_export.restore)
application.add_typer(people.group, name="user")
application.add_typer(audit.group, name="audit")
application.add_typer(trends.group, name="trends")
application.add_typer(concepts.group, name="concepts")
concepts.group.command("vary")(variants.vary)
concepts.group.command("variants")(variants.variants)
concepts.group.command("select")(variants.select)
application.add_typer(experiments.group, name="experiments")
application.add_typer(performance.group, name="performance")
application.add_typer(reflexion.group, name="reflexion")
application.add_typer(jobs.group, name="jobs")


def _print_version(asked: bool) -> None:
    if asked:
        out.print(f"viral {package_version('viral-dashboard')}")
        raise typer.Exit


@application.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Choose a command; each has --help with an example."""
    # Standard output is the answer's. `web` and `worker` write more, and as JSON.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def run() -> None:
    """Run one command; every error ends here as one line, its fix, and an exit code."""
    as_json = "--json" in sys.argv
    try:
        result = application(prog_name="viral", standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except ViralError as error:
        print_error(error, as_json=as_json)
        sys.exit(error.exit_code)
    except typer.TyperException as error:
        if not error.format_message():
            # A group alone: the help that it printed is the answer.
            sys.exit(0)
        # Typer would exit with 2, which means "pending" here.
        context = getattr(error, "ctx", None)
        command = "viral" if context is None else context.command_path
        hint = f"See `{command} --help`."
        print_error(ViralError(error.format_message(), hint=hint), as_json=as_json)
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        err.print("stopped")
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the outer edge: a person sees no stack trace
        print_error(_unexpected(error), as_json=as_json)
        sys.exit(1)


def _unexpected(error: Exception) -> ViralError:
    """Keep the details of an error that we do not know by name in a file."""
    report = load_settings().home / "logs" / "crash.log"
    hint = f"The details are in {report}; please report them."
    try:
        report.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with report.open("a", encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
    except OSError as unwritable:
        hint = f"VIRAL_HOME cannot be written: {unwritable.strerror}."
    return ViralError(f"Something unexpected happened: {type(error).__name__}.", hint=hint)
