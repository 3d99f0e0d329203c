"""What became of each job, step by step, as PostgreSQL itself saw it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from clusters import Cluster

# Every change of a job's row, in the order in which the changes of this row were made.
_WATCH = """
CREATE TABLE public.history (
  no bigserial PRIMARY KEY, job uuid, was text, became text, attempts integer, worker uuid,
  former_worker uuid, result jsonb
);
CREATE FUNCTION public.remember() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''
AS $$
BEGIN
  INSERT INTO public.history (job, was, became, attempts, worker, former_worker, result)
  VALUES (
    NEW.id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status, NEW.attempts,
    NEW.worker_id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.worker_id END, NEW.result);
  RETURN NULL;
END
$$;
CREATE TRIGGER remember AFTER INSERT OR UPDATE ON public.job_queue
FOR EACH ROW EXECUTE FUNCTION public.remember()
"""


@dataclass(frozen=True)
class Change:
    """A change of a job; `was` is None where it was put in."""

    job: UUID
    was: str | None
    became: str
    attempts: int
    worker: UUID | None
    former_worker: UUID | None
    result: str | None


async def watch(cluster: Cluster, database: str) -> None:
    """Remember all changes of jobs from here on."""
    await cluster.execute_as_admin(database, _WATCH)


async def changes(cluster: Cluster, database: str) -> list[Change]:
    """Return all changes in their order."""
    connection = await cluster.connect_as_admin(database)
    try:
        rows = await connection.fetch(
            "SELECT job, was, became, attempts, worker, former_worker, result::text"
            " FROM history ORDER BY no"
        )
    finally:
        await connection.close()
    return [Change(*row) for row in rows]
