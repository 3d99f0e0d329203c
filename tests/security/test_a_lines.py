"""A01 to A50 line by line, as far as the product's own verification attacks them: it runs once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from clusters import Cluster, copy_template
from verifications import verify_database

from security.conftest import Pair
from security.verified import VERIFIED, all_attacks, attempts, only
from viral.features.verification import run
from viral.features.verification.report import Report
from viral.schema.security import OWNER

BACKUP = "viral_backup"
# Made the way the rules ask for: a view that reads as who asks, and what nobody is granted.
FURNITURE = (
    "CREATE VIEW films WITH (security_invoker = true) AS SELECT * FROM concepts",
    "GRANT SELECT ON films TO viral_app, viral_readonly",
    "CREATE MATERIALIZED VIEW stored AS SELECT * FROM concepts",
    "CREATE SEQUENCE numbers",
)


@pytest.fixture(scope="module")
async def sound(cluster: Cluster, module_database: str, pair: Pair) -> Report:
    """Attack an installation at work by everything there is."""
    assert pair
    return await verify_database(cluster, module_database)


@pytest.fixture(scope="module")
async def furnished(cluster: Cluster) -> AsyncIterator[Report]:
    """Attack views and sequences, which the product itself has none of."""
    name = "furnished"
    await copy_template(cluster, name)
    await cluster.execute_as_admin(name, f"SET ROLE {OWNER}", *FURNITURE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "FAMILIES", only({"A01", "A24", "A25", "A33"}))
        report = await verify_database(cluster, name)
    yield report
    await cluster.execute_as_admin("postgres", f"DROP DATABASE {name} WITH (FORCE)")


def assert_held(report: Report, line: str) -> None:
    """Say that a line was tried, and that nothing came through."""
    tried = attempts(report, line)
    through = [
        f"{trial.target.role}: {trial.target.object} {trial.target.statement}"
        for trial in tried
        if trial.verdict.result != "held"
    ]
    assert tried
    assert [] == through


def test_every_attack_belongs_to_a_line(sound: Report) -> None:
    counted = {id(trial) for line in VERIFIED for trial in attempts(sound, line)}
    tried = {id(trial) for trial in sound.trials if trial.verdict.result != "not applicable"}

    # Messages by pg_notify() are A36's and A37's, with more than a privilege.
    rest = [trial for trial in sound.trials if id(trial) in tried - counted]
    assert {"messages"} == {trial.target.object for trial in rest}
    assert all_attacks() <= set(VERIFIED)


def test_every_line_that_is_attacked_has_a_test_here() -> None:
    named = {name.split("_")[1].upper() for name in globals() if name.startswith("test_a")}

    assert set(VERIFIED) == named


def test_a01_rows_are_not_shown_by_their_tenants_id(sound: Report) -> None:
    assert_held(sound, "A01")


def test_a02_rows_are_not_shown_by_their_id(sound: Report) -> None:
    assert_held(sound, "A02")


def test_a03_without_a_tenant_reading_is_an_error(sound: Report) -> None:
    assert_held(sound, "A03")


def test_a04_the_next_owner_of_a_connection_has_no_tenant(sound: Report) -> None:
    assert_held(sound, "A04")


def test_a05_after_an_error_the_connection_has_no_tenant(sound: Report) -> None:
    assert_held(sound, "A05")


def test_a06_without_a_tenant_nothing_is_changed(sound: Report) -> None:
    assert_held(sound, "A06")


def test_a07_an_injected_setting_chooses_no_tenant(sound: Report) -> None:
    assert_held(sound, "A07")


def test_a08_a_forged_token_is_refused(sound: Report) -> None:
    assert_held(sound, "A08")


def test_a09_no_stored_token_can_be_reached(sound: Report) -> None:
    assert_held(sound, "A09")


def test_a11_no_role_becomes_another(sound: Report) -> None:
    assert_held(sound, "A11")


def test_a12_no_role_changes_the_wall(sound: Report) -> None:
    assert_held(sound, "A12")


def test_a13_row_security_cannot_be_switched_off(sound: Report) -> None:
    assert_held(sound, "A13")


def test_a14_the_owner_of_the_tables_sees_nothing(sound: Report) -> None:
    assert_held(sound, "A14")


def test_a15_no_row_is_inserted_for_another(sound: Report) -> None:
    assert_held(sound, "A15")


def test_a16_no_row_is_moved_to_another(sound: Report) -> None:
    assert_held(sound, "A16")


def test_a17_no_row_of_another_is_changed(sound: Report) -> None:
    assert_held(sound, "A17")


def test_a18_no_row_of_another_is_deleted(sound: Report) -> None:
    assert_held(sound, "A18")


def test_a19_a_conflict_with_anothers_id_tells_nothing(sound: Report) -> None:
    assert_held(sound, "A19")


def test_a20_no_row_of_another_is_merged_into(sound: Report) -> None:
    assert_held(sound, "A20")


def test_a21_no_child_hangs_on_anothers_row(sound: Report) -> None:
    assert_held(sound, "A21")


def test_a22_no_child_is_moved_below_anothers_row(sound: Report) -> None:
    assert_held(sound, "A22")


def test_a23_a_unique_key_tells_nothing_of_others(sound: Report) -> None:
    assert_held(sound, "A23")


def test_a26_functions_with_their_owners_rights_tell_nothing(sound: Report) -> None:
    assert_held(sound, "A26")


def test_a27_nobody_makes_a_function_that_tells(sound: Report) -> None:
    assert_held(sound, "A27")


def test_a28_no_error_tells_of_anothers_row(sound: Report) -> None:
    assert_held(sound, "A28")


def test_a29_nothing_can_be_made(sound: Report) -> None:
    assert_held(sound, "A29")


def test_a30_a_copy_out_holds_ones_own_rows(sound: Report) -> None:
    assert_held(sound, "A30")


def test_a31_nothing_is_copied_in(sound: Report) -> None:
    assert_held(sound, "A31")


def test_a32_no_table_can_be_emptied(sound: Report) -> None:
    assert_held(sound, "A32")


def test_a34_the_planners_statistics_are_closed(sound: Report) -> None:
    assert_held(sound, "A34")


def test_a35_statements_of_other_sessions_are_not_shown(sound: Report) -> None:
    assert_held(sound, "A35")


def test_a36_messages_tell_nothing_of_others(sound: Report) -> None:
    assert_held(sound, "A36")


def test_a37_a_forged_message_has_no_effect(sound: Report) -> None:
    assert_held(sound, "A37")


def test_a38_large_objects_are_closed(sound: Report) -> None:
    assert_held(sound, "A38")


def test_a39_no_lock_can_be_put_in_anothers_way(sound: Report) -> None:
    assert_held(sound, "A39")


def test_a40_hashes_tokens_and_keys_are_closed(sound: Report) -> None:
    assert_held(sound, "A40")


def test_a41_nobody_gives_itself_a_plan_or_a_role(sound: Report) -> None:
    assert_held(sound, "A41")


def test_a42_a_kept_plan_serves_each_its_own_rows(sound: Report) -> None:
    assert_held(sound, "A42")


def test_a43_a_held_cursor_is_closed_for_the_next(sound: Report) -> None:
    assert_held(sound, "A43")


def test_a44_the_apps_role_copies_no_row_of_another(sound: Report) -> None:
    assert_held(sound, "A44")


def test_a45_the_rules_of_the_catalogue_are_kept(sound: Report) -> None:
    assert_held(sound, "A45")


def test_a46_partitions_cannot_be_addressed(sound: Report) -> None:
    assert_held(sound, "A46")


def test_a47_the_workers_role_reaches_no_table(sound: Report) -> None:
    assert_held(sound, "A47")


def test_a48_a_job_stays_in_its_tenant(sound: Report) -> None:
    assert_held(sound, "A48")


def test_a49_the_machine_is_out_of_reach(sound: Report) -> None:
    assert_held(sound, "A49")


def test_a50_every_role_has_limits_of_time(sound: Report) -> None:
    assert_held(sound, "A50")


def test_a24_a_view_shows_who_asks_its_own_rows(furnished: Report) -> None:
    assert_held(furnished, "A24")


def test_a25_a_stored_view_is_closed(furnished: Report) -> None:
    assert_held(furnished, "A25")


def test_a33_counters_are_closed(furnished: Report) -> None:
    assert_held(furnished, "A33")
