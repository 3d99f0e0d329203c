"""`viral experiments`: ways to open a video, compared across posts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from viral.cli.concepts import AsJson, Slug
from viral.cli.output import out, print_json
from viral.cli.tenant_sessions import tenant_session

if TYPE_CHECKING:
    from viral.features.experiments.verdicts import Outlook
    from viral.schema.content import Experiment

Name = Annotated[str, typer.Argument(metavar="NAME", help="The experiment's name, see list.")]

group = typer.Typer(
    no_args_is_help=True, help="Experiments: ways to open a video, compared across posts."
)


@group.callback()
def _group() -> None:
    """Experiments: ways to open a video, compared across posts."""


@group.command()
def start(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of your choice.")],
    platform: Annotated[str, typer.Option("--platform", help="tiktok, youtube or instagram.")],
    arms: Annotated[int, typer.Option("--arms", min=2, max=5, help="How many types of hooks.")] = 2,
    hooks: Annotated[
        str | None,
        typer.Option("--hooks", help="These types, with commas; else the promising ones."),
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", help="The risk of a winner by luck, over all looks.")
    ] = 0.05,
    most_posts: Annotated[
        int, typer.Option("--most-posts", help="After so many posts it ends undecided.")
    ] = 200,
    tenant: Slug = None,
    as_json: AsJson = False,
) -> None:
    """Compare types of hooks: each concept generated from here on is told as one of them, by lot.

    Example: viral experiments start openers --platform tiktok --hooks story,question --tenant demo
    """
    outlook = asyncio.run(
        _start(
            tenant,
            name,
            platform=platform,
            count=arms,
            hooks=hooks,
            alpha=alpha,
            most_posts=most_posts,
        )
    )
    _show(outlook, as_json=as_json)


@group.command("list")
def list_(tenant: Slug = None, as_json: AsJson = False) -> None:
    """List experiments, the newest first.

    Example: viral experiments list --tenant demo
    """
    from viral.features.experiments.arms import arms_of

    found = asyncio.run(_list(tenant))
    if as_json:
        print_json([_document(each) for each in found])
        return
    for each in found:
        state = each.status if each.winner is None else f"{each.status}: {each.winner}"
        out.print(Text.assemble((each.name, "bold"), f"  {each.platform}  {state}"))
        arms = ", ".join(f"{arm.label} {arm.hook_type}" for arm in arms_of(each))
        out.print(Text(f"  {each.created_at:%Y-%m-%d}  {arms}", style="dim"))
    if not found:
        out.print("There is no experiment. Begin one: viral experiments start --help")


@group.command()
def show(name: Name, tenant: Slug = None, as_json: AsJson = False) -> None:
    """Show each arm against what was foretold, with intervals that hold however often you look.

    Example: viral experiments show openers --tenant demo
    """
    _show(asyncio.run(_look(tenant, name)), as_json=as_json)


@group.command()
def stop(
    name: Name,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever wonders later.")] = "",
    tenant: Slug = None,
    as_json: AsJson = False,
) -> None:
    """End an experiment without a winner; what its posts taught the learner stays.

    Example: viral experiments stop openers --reason "The platform changed." --tenant demo
    """
    _show(asyncio.run(_stop(tenant, name, reason)), as_json=as_json)


async def _start(
    slug: str | None,
    name: str,
    *,
    platform: str,
    count: int,
    hooks: str | None,
    alpha: float,
    most_posts: int,
) -> Outlook:
    from viral.features.experiments.verdicts import settle_experiment
    from viral.features.generations.tellings import start_hooks_experiment
    from viral.schema.vocabulary import platform_of
    from viral.settings import listed

    async with tenant_session(slug) as (runtime, session):
        now = runtime.clock()
        experiment = await start_hooks_experiment(
            session,
            name,
            platform=platform_of(platform),
            hook_types=None if hooks is None else listed(hooks),
            count=count,
            alpha=alpha,
            most_posts=most_posts,
            now=now,
            hashed=runtime.hashed,
        )
        return await settle_experiment(session, experiment, now=now)


async def _list(slug: str | None) -> list[Experiment]:
    from viral.features.experiments.trials import list_experiments, running_experiment
    from viral.features.experiments.verdicts import settle_experiment

    async with tenant_session(slug) as (runtime, session):
        running = await running_experiment(session)
        if running is not None:
            await settle_experiment(session, running, now=runtime.clock())
        return await list_experiments(session)


async def _look(slug: str | None, name: str) -> Outlook:
    from viral.features.experiments.trials import find_experiment
    from viral.features.experiments.verdicts import settle_experiment

    async with tenant_session(slug) as (runtime, session):
        experiment = await find_experiment(session, name)
        return await settle_experiment(session, experiment, now=runtime.clock())


async def _stop(slug: str | None, name: str, reason: str) -> Outlook:
    from viral.features.experiments.trials import find_experiment
    from viral.features.experiments.verdicts import stop_experiment

    async with tenant_session(slug) as (runtime, session):
        experiment = await find_experiment(session, name)
        return await stop_experiment(session, experiment, now=runtime.clock(), reason=reason)


def _show(outlook: Outlook, *, as_json: bool) -> None:
    if not as_json:
        from viral.cli.experiment_pages import print_outlook

        print_outlook(outlook)
        return
    from dataclasses import asdict

    print_json(
        _document(outlook.experiment)
        | {
            "concepts": outlook.concepts,
            "posts": outlook.posts,
            "reason": outlook.reason,
            "states": [asdict(each) for each in outlook.arms],
            "comparisons": [asdict(each) for each in outlook.comparisons],
        }
    )


def _document(experiment: Experiment) -> dict[str, object]:
    return {
        "id": experiment.id,
        "name": experiment.name,
        "platform": experiment.platform,
        "arms": experiment.arms,
        "alpha": experiment.alpha,
        "most_posts": experiment.most_posts,
        "status": experiment.status,
        "winner": experiment.winner,
        "created_at": experiment.created_at,
        "decided_at": experiment.decided_at,
    }
