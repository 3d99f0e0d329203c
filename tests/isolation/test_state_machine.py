"""Three tenants at random: after every step each sees exactly the rows that a model says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest
import tenant_attacks as attacks
import tenant_operations as operations
from clusters import Cluster, superuser
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tenancy import small
from tenant_model import FACTS, READABLE
from tenant_world import Draw, Move, World

from viral.database.encryption.keys import KeyRing, new_key
from viral.database.engine import Database

FEWEST_STEPS = 1_000
RUNS, STEPS_A_RUN = 9, 120
# Two that wait for each other must not take the whole suite's time.
LONGEST_STEP_S = 20

Step = Callable[[Move], Coroutine[None, None, None]]

STEPS: dict[str, Step] = {
    each.__name__: each
    for each in (
        operations.write_concepts,
        operations.find_a_concept,
        operations.favour_concept,
        operations.favour_all_concepts,
        operations.delete_concept,
        operations.reserve,
        operations.give_back,
        operations.add_row,
        operations.move_video,
        operations.report_result,
        operations.ask_for_work,
        operations.find_a_job,
        operations.undo,
        operations.connect_account,
        operations.renew_token,
        attacks.touch_rows_of_another,
        attacks.plant_rows_with_another,
        attacks.read_without_tenant,
        attacks.open_in_a_task_without_tenant,
        attacks.open_as_nobody,
        attacks.name_another_in_sql,
        attacks.leave_settings_behind,
        attacks.break_transaction,
        attacks.undo_to_savepoint,
    )
}

PRODUCT_STEPS: dict[str, Callable[[World], Coroutine[None, None, None]]] = {
    each.__name__: each
    for each in (attacks.learn_from_results, attacks.run_a_job, attacks.look_as_the_system)
}
# What each tenant has when a run begins, so that most steps meet a row: a step, and its number.
FIRST = (
    ("write_concepts", 2),
    ("connect_account", 0),
    *(("report_result", number) for number in range(7)),
    *(("add_row", number) for number in range(len(operations.GROWN))),
)
# More of what makes rows than of what looks at them.
OFTEN = ("add_row", "add_row", "report_result", "report_result", "undo", "delete_concept")

NAMES = st.sampled_from(sorted([*STEPS, *OFTEN]))
DRAWS = st.builds(
    Draw,
    tenant=st.integers(0, 2),
    # Half of what a tenant does is on rows of its own.
    shift=st.sampled_from((0, 0, 1, 2)),
    place=st.integers(0, 11),
    number=st.integers(0, 20),
    is_named=st.booleans(),
    is_raw=st.booleans(),
)


class Tenants(RuleBasedStateMachine):
    """Draws steps of one tenant, of two at once, and of the product's own roles."""

    def __init__(self, world: World, runner: asyncio.Runner) -> None:
        super().__init__()
        self.world = world
        self.runner = runner
        # Of this run: what Hypothesis draws may depend on nothing outside of it.
        self.taken = 0
        runner.run(world.begin())
        for number, (tenant, (name, variant)) in enumerate(product(range(3), FIRST)):
            draw = Draw(tenant, 0, number, variant, is_named=False, is_raw=False)
            runner.run(STEPS[name](world.move(draw)))
        runner.run(attacks.learn_from_results(world))

    def step(self, *works: Coroutine[None, None, None]) -> None:
        self.taken += 1
        self.world.steps += 1
        self.run(*works)

    def run(self, *works: Coroutine[None, None, None]) -> None:
        async def at_once() -> None:
            async with asyncio.timeout(LONGEST_STEP_S):
                outcomes = await asyncio.gather(*works, return_exceptions=True)
            for outcome in outcomes:
                if outcome is not None:
                    self.world.fault = outcome
                    raise outcome

        self.runner.run(at_once())

    @rule(name=NAMES, draw=DRAWS)
    def alone(self, name: str, draw: Draw) -> None:
        self.step(STEPS[name](self.world.move(draw)))

    @rule(name=NAMES, draw=DRAWS, other_name=NAMES, other_draw=DRAWS)
    def at_once(self, name: str, draw: Draw, other_name: str, other_draw: Draw) -> None:
        other = replace(other_draw, tenant=(draw.tenant + 1 + other_draw.tenant % 2) % 3)
        one, two = self.world.move(draw), self.world.move(other)
        self.step(STEPS[name](one), STEPS[other_name](two))

    # A turn of the loop takes longest.
    @precondition(lambda self: self.taken % 4 == 0)
    @rule(name=st.sampled_from(sorted(PRODUCT_STEPS)))
    def by_the_product(self, name: str) -> None:
        self.step(PRODUCT_STEPS[name](self.world))

    @invariant()
    def every_tenant_sees_its_own_rows(self) -> None:
        self.run(self.world.check())

    def teardown(self) -> None:
        self.runner.run(self.world.end())


@contextmanager
def opened_world(cluster: Cluster, name: str) -> Iterator[tuple[World, asyncio.Runner]]:
    """Open the database in a loop of its own: Hypothesis runs outside of the tests' loop."""
    keys = KeyRing([new_key(datetime.now(UTC))])
    # Two connections for three tenants: each gets what another has used.
    url = replace(small(cluster.url("viral_app", name), 2), pool_timeout_s=20)
    app = Database(url, context_key=cluster.secrets.context_key, field_keys=keys)
    system = cluster.database("viral_system", name)
    worker = cluster.database("viral_worker", name)
    stack = AsyncExitStack()
    for database in (app, system, worker):
        stack.push_async_callback(database.close)
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        admin = runner.run(stack.enter_async_context(superuser(cluster, name)))
        try:
            yield World(app, system, worker, admin, cluster.secrets), runner
        finally:
            runner.run(stack.aclose())


def run_machine(world: World, runner: asyncio.Runner, *, runs: int) -> None:
    class TenantsOfWorld(Tenants):
        def __init__(self) -> None:
            super().__init__(world, runner)

    try:
        run_state_machine_as_test(
            TenantsOfWorld,
            settings=settings(
                max_examples=runs,
                stateful_step_count=STEPS_A_RUN,
                derandomize=True,
                deadline=None,
                database=None,
                # Shrinking a run takes minutes; the steps of a failing one are printed as they are.
                phases=(Phase.generate,),
                suppress_health_check=list(HealthCheck),
            ),
        )
    except Flaky as error:
        # A leak by way of the pool need not come again, and Hypothesis says only that.
        raise world.fault or error from error


@pytest.mark.timeout(240)
def test_three_tenants_see_their_own_rows_after_each_of_a_thousand_steps(
    cluster: Cluster, database_name: str
) -> None:
    with opened_world(cluster, database_name) as (world, runner):
        run_machine(world, runner, runs=RUNS)

    assert world.steps >= FEWEST_STEPS


@pytest.mark.parametrize(
    "weakening",
    [
        "ALTER TABLE concepts DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE social_accounts DISABLE ROW LEVEL SECURITY",
        "ALTER POLICY tenant_only ON videos WITH CHECK (true)",
        "CREATE POLICY wide ON concepts FOR UPDATE TO viral_app USING (true)",
    ],
)
def test_the_machine_finds_a_missing_policy(
    cluster: Cluster, database_name: str, weakening: str
) -> None:
    with opened_world(cluster, database_name) as (world, runner):
        runner.run(cluster.execute_as_admin(database_name, weakening))

        with pytest.raises(AssertionError):
            run_machine(world, runner, runs=RUNS)


def test_the_models_know_every_table_they_name() -> None:
    assert set(FACTS) <= set(READABLE)
