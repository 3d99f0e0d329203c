"""What tenants do with the product, each with what it should change: the tenant's own rows."""

from __future__ import annotations

from uuid import UUID

import msgspec
from factories import Row, new_row
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from studio import NOW, generate, result
from tenant_model import FACTS, READABLE, Reference, TenantModel, references_of
from tenant_world import Move, count_touched

from viral.errors import NothingToWriteAbout, QuotaExceeded
from viral.features.generations.concepts import find_concept
from viral.features.generations.quota import Reservation, refund_quota, take_quota
from viral.features.jobs.queue import Wish, enqueue, find_job
from viral.features.jobs.types import JobType
from viral.features.performance.files import ResultRow
from viral.features.performance.imports import import_results
from viral.features.reflexion.undo import undo_adjustment
from viral.schema.base import uuid7
from viral.schema.content import Concept
from viral.schema.encrypted import Secret
from viral.schema.publishing import SocialAccount, Video

# Tables that a row is added to as it is, with parents drawn from any tenant.
GROWN = (
    "concept_variants",
    "videos",
    "social_posts",
    "analytics_snapshots",
    "api_usage",
    "audit_log",
    "reflexion_insights",
)


class Asked(msgspec.Struct, frozen=True):
    """What a job of the test carries."""

    asked_by: str


TEST = JobType("test", payload=Asked)


# Concepts and quota.


async def write_concepts(move: Move) -> None:
    me, count = move.me, 1 + move.draw.number % 3
    left = me.monthly_quota - me.used_quota
    made: list[Concept] = []
    try:
        made = await generate(move.world.app, me.tenant.id, count, seed=move.draw.place)
    except QuotaExceeded:
        assert left < count
        return
    except NothingToWriteAbout:
        pass
    assert left >= count
    reservation = await move.world.name_new(me, "quota_ledger", kind="reserve", amount=count)
    if missing := count - len(made):
        await move.world.name_new(
            me, "quota_ledger", kind="refund", amount=-missing, reservation_id=reservation
        )
    me.use_quota(len(made))
    if made:
        generation = str(made[0].generation_id)
        me.add("generations", generation, reservation_id=reservation, is_favorite=False)
    for each in made:
        me.add(
            "concepts",
            each.id,
            generation_id=str(each.generation_id),
            origin="generated",
            title=each.title,
            is_favorite=False,
        )
        for foretold in each.predictions:
            me.add(
                "predictions",
                foretold.id,
                concept_id=str(each.id),
                platform=foretold.platform,
                score=foretold.score,
            )


async def find_a_concept(move: Move) -> None:
    wanted = move.pick("concepts")

    async def find(session: AsyncSession) -> None:
        key = (move.owner.tenant.id, UUID(wanted))
        assert (await session.get(Concept, key) is not None) == (wanted in move.me.rows["concepts"])
        await find_concept(session, UUID(wanted))

    expected = None if wanted in move.me.rows["concepts"] else "NotFound"
    assert await move.answer(find) == expected


async def favour_concept(move: Move) -> None:
    wanted, is_favorite = move.pick("concepts"), move.draw.number % 2 == 0
    mine = move.me.rows["concepts"].get(wanted)

    async with move.session() as session:
        if move.draw.is_raw:
            sql = "UPDATE concepts SET is_favorite = :value WHERE id = :id"
            touched = await count_touched(session, sql, value=is_favorite, id=UUID(wanted))
        else:
            change = update(Concept).where(Concept.id == UUID(wanted))
            found = await session.scalars(
                change.values(is_favorite=is_favorite).returning(Concept.id)
            )
            touched = len(found.all())

    assert touched == (mine is not None)
    if mine is not None:
        mine["is_favorite"] = is_favorite


async def favour_all_concepts(move: Move) -> None:
    """Change all concepts without naming any: such a statement reads no row that it changes."""
    is_favorite = move.draw.is_raw
    async with move.session() as session:
        sql = "UPDATE concepts SET is_favorite = :value"
        touched = await count_touched(session, sql, value=is_favorite)

    assert touched == len(move.me.rows["concepts"])
    for each in move.me.rows["concepts"].values():
        each["is_favorite"] = is_favorite


async def delete_concept(move: Move) -> None:
    wanted = move.pick("concepts")

    async def remove(session: AsyncSession) -> None:
        if move.draw.is_raw:
            await count_touched(session, "DELETE FROM concepts WHERE id = :id", id=UUID(wanted))
        else:
            await session.execute(delete(Concept).where(Concept.id == UUID(wanted)))

    is_held = wanted in move.me.rows["concepts"] and not move.me.remove("concepts", wanted)
    assert await move.answer(remove) == ("23503" if is_held else None)


async def reserve(move: Move) -> None:
    """Take quota, in the name of a member of the owner."""
    me, count = move.me, 1 + move.draw.number
    member = move.owner.tenant.user_id
    made: list[Reservation] = []

    async def take(session: AsyncSession) -> None:
        made.append(await take_quota(session, count=count, user_id=member))

    answer = await move.answer(take)
    if me.used_quota + count > me.monthly_quota:
        assert answer == "QuotaExceeded"
    elif move.owner is not me:
        assert answer == "23503"
    else:
        assert answer is None
        me.use_quota(count)
        me.add("quota_ledger", made[0].id, kind="reserve", amount=count, user_id=str(member))


async def give_back(move: Move) -> None:
    me, wanted, count = move.me, move.pick("quota_ledger"), 1 + move.draw.number
    line = me.rows["quota_ledger"].get(wanted)
    amount = line["amount"] if line is not None else 0
    assert isinstance(amount, int)
    spent = [me.find(table, reservation_id=wanted) for table in ("quota_ledger", "generations")]
    is_open = count <= amount and not any(spent)

    async with move.session() as session:
        refunded = await refund_quota(session, Reservation(UUID(wanted), amount), count=count)

    assert refunded == is_open
    if is_open and line is not None:
        known = {"reservation_id": wanted, "user_id": line["user_id"]}
        await move.world.name_new(me, "quota_ledger", kind="refund", amount=-count, **known)
        me.use_quota(-count)


# Children and parents.


def _is_there(model: TenantModel, reference: Reference, value: object) -> bool:
    return bool(model.find(reference.parent, **{reference.target: str(value)}))


async def add_row(move: Move) -> None:
    """Add a row to a table as it is, pointing at rows of the owner."""
    table = READABLE[GROWN[move.draw.number % len(GROWN)]]
    parents: dict[str, Row] = {
        name: {"id": UUID(move.pick(name)), "user_id": move.owner.tenant.user_id}
        for name in READABLE
    }
    row = new_row(table, tenant_id=move.me.tenant.id, parents=parents) | {"id": uuid7()}
    if table.name == "concept_variants":
        row["label"] = "ABC"[move.draw.place % 3]
    pointers = references_of(table.name)
    for each in pointers:
        if table.c[each.column].nullable and not _is_there(move.owner, each, row[each.column]):
            del row[each.column]
    known = {each.column: str(row[each.column]) for each in pointers if each.column in row}
    expected = None
    pointing = [each for each in pointers if each.column in known]
    if not all(_is_there(move.me, each, known[each.column]) for each in pointing):
        expected = "23503"
    elif table.name == "concept_variants":
        taken = move.me.find(table.name, concept_id=known["concept_id"], label=row["label"])
        expected = "23505" if taken else None

    answer = await move.answer(lambda session: session.execute(table.insert().values(row)))

    assert answer == expected, f"{table.name}: {answer}"
    if expected is None:
        facts = {name: row[name] for name in FACTS[table.name] if name in row}
        move.me.add(table.name, row["id"], **known, **facts)


async def move_video(move: Move) -> None:
    """Hang a video of the tenant under a concept of the owner."""
    video, concept = move.pick("videos", of=move.me), move.pick("concepts")
    mine = move.me.rows["videos"].get(video)
    is_own = concept in move.me.rows["concepts"]

    async def hang(session: AsyncSession) -> None:
        change = update(Video).where(Video.id == UUID(video))
        await session.execute(change.values(concept_id=UUID(concept)))

    answer = await move.answer(hang)

    assert answer == ("23503" if mine is not None and not is_own else None)
    if mine is not None and is_own:
        mine["concept_id"] = concept


# Results, jobs, adjustments.


async def report_result(move: Move) -> None:
    """Import a result, of a video made elsewhere or of a concept of the owner."""
    me, concept = move.me, UUID(move.pick("concepts")) if move.draw.is_raw else None
    row = result(
        f"v{move.draw.number}" if concept is None else f"post-{concept}",
        concept_id=concept,
        views=1_000 * 3 ** (move.draw.number + move.draw.place % 3),
        days=2 + move.draw.place % 2,
        title=f"Crispy {me.tenant.slug} number {move.draw.number}",
    )

    async with move.session() as session:
        report = await import_results(session, [row])

    if concept is not None and str(concept) not in me.rows["concepts"]:
        assert (report.stored, report.known, len(report.rejects)) == (0, 0, 1)
        return
    known = {"external_id": row.external_id, "observed_on": str(row.observed_on)}
    is_known = bool(me.find("performance_feedback", **known))
    assert (report.stored, report.known, report.rejects) == (not is_known, is_known, [])
    if not is_known:
        known["concept_id"] = await _concept_of(move, row) if concept is None else str(concept)
        await move.world.name_new(me, "performance_feedback", **known, views=row.views)


async def _concept_of(move: Move, row: ResultRow) -> str:
    """Say which concept of the tenant stands for a video made elsewhere."""
    for each in move.me.find("concepts", source_id=row.external_id):
        return str(each["id"])
    known = {"origin": "imported", "source_id": row.external_id, "title": row.title}
    return await move.world.name_new(move.me, "concepts", **known, is_favorite=False)


async def ask_for_work(move: Move) -> None:
    """Put a job into the queue for the owner."""
    me, key = move.me, f"k{move.draw.number}" if move.draw.is_raw else None
    made: list[UUID | None] = []

    async def ask(session: AsyncSession) -> None:
        payload = Asked(me.tenant.slug)
        tenant_id = move.owner.tenant.id
        wish = Wish(dedupe_key=key)
        made.append(await enqueue(session, TEST, payload, tenant_id=tenant_id, wish=wish))

    waits = key is not None and me.find("job_queue", dedupe_key=key, status="pending")
    answer = await move.answer(ask)
    if move.owner is not me:
        assert answer == "42501"
        return
    assert answer is None
    assert (made[0] is None) == bool(waits)
    if made[0] is not None:
        known = {"status": "pending", "dedupe_key": key, "asked_by": me.tenant.slug}
        me.add("job_queue", made[0], job_type="test", **known)


async def find_a_job(move: Move) -> None:
    wanted = move.pick("job_queue")
    expected = None if wanted in move.me.rows["job_queue"] else "NotFound"
    assert await move.answer(lambda session: find_job(session, UUID(wanted))) == expected


async def undo(move: Move) -> None:
    """Undo an adjustment of the owner."""
    me, wanted = move.me, move.pick("scoring_adjustments")
    mine = me.rows["scoring_adjustments"].get(wanted)
    expected, effect = None, {}
    if mine is None:
        expected = "NotFound"
    else:
        effect = {name: mine[name] for name in ("platform", "goal", "family", "key")}
        standing = me.find("scoring_adjustments", **effect, is_undone=False)
        if mine["is_undone"]:
            expected = "AlreadyExists"
        elif any(str(each["id"]) > wanted for each in standing):
            expected = "BadInput"

    answer = await move.answer(
        lambda session: undo_adjustment(session, UUID(wanted), user_id=me.tenant.user_id, now=NOW)
    )

    assert answer == expected, f"{answer}, not {expected}: {mine}"
    if mine is not None and expected is None:
        mine |= {"is_undone": True, "reverted_by": str(me.tenant.user_id)}
        for each in me.find("learner_effects", **effect):
            each |= {"published": mine["old_value"], "is_frozen": True}


# Accounts with encrypted tokens.


async def connect_account(move: Move) -> None:
    """Connect an account; the same one may be connected by several tenants."""
    me, name = move.me, f"@{move.draw.number}"
    account = SocialAccount(
        id=uuid7(),
        platform="tiktok",
        external_id=name,
        username=me.tenant.slug,
        access_token=Secret(f"{me.tenant.slug} {name}"),
        refresh_token=Secret(f"{me.tenant.slug} again") if move.draw.is_raw else None,
    )

    async def connect(session: AsyncSession) -> None:
        session.add(account)
        await session.flush()

    is_taken = bool(me.find("social_accounts", external_id=name))
    assert await move.answer(connect) == ("23505" if is_taken else None)
    if not is_taken:
        me.add("social_accounts", account.id, external_id=name, username=me.tenant.slug)
        refresh = f"{me.tenant.slug} again" if move.draw.is_raw else None
        me.tokens[str(account.id)] = (f"{me.tenant.slug} {name}", refresh)


async def renew_token(move: Move) -> None:
    wanted, token = move.pick("social_accounts"), f"{move.me.tenant.slug} {move.draw.number}"
    async with move.session() as session:
        account = await session.scalar(
            select(SocialAccount).where(SocialAccount.id == UUID(wanted))
        )
        if account is not None:
            account.access_token = Secret(token)

    assert (account is not None) == (wanted in move.me.tokens)
    if account is not None:
        move.me.tokens[wanted] = (token, move.me.tokens[wanted][1])
