-- End attempts: completed, or waiting again for `retry_s` seconds, or failed. Returns those that are
-- refused: their lease went to another worker or attempt, or they were canceled. A worker is noted
-- while a job runs, and no longer.
CREATE FUNCTION viral.finish_jobs(
  worker uuid, jobs uuid[], tries integer[], outcomes jsonb[], failures text[],
  retries_s double precision[]
) RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  kept uuid[];
  broken uuid[];
  awaited uuid[];
  awaited_too uuid[];
BEGIN
  WITH ended AS (
    UPDATE public.job_queue AS j
    SET status = 'completed', result = e.outcome, worker_id = NULL, progress = 100,
        completed_at = now()
    FROM unnest(jobs, tries, outcomes, failures) AS e (id, attempt, outcome, failure)
    WHERE j.id = e.id AND j.worker_id = worker AND j.attempts = e.attempt AND e.failure IS NULL
    RETURNING j.id, j.is_awaited
  )
  SELECT array_agg(ended.id), array_agg(ended.id) FILTER (WHERE ended.is_awaited)
  INTO kept, awaited FROM ended;
  IF cardinality(array_remove(failures, NULL)) > 0 THEN
    WITH ended AS (
      UPDATE public.job_queue AS j
      SET status = CASE WHEN f.is_retried THEN 'pending' ELSE 'failed' END,
          error_message = f.failure, worker_id = NULL, is_due = NOT f.is_retried,
          scheduled_for = CASE WHEN f.is_retried
            THEN now() + make_interval(secs => f.retry_s) ELSE j.scheduled_for END,
          completed_at = CASE WHEN f.is_retried THEN NULL ELSE now() END
      FROM (
        SELECT e.*, e.retry_s IS NOT NULL AND e.attempt < o.max_attempts AS is_retried
        FROM unnest(jobs, tries, failures, retries_s) AS e (id, attempt, failure, retry_s)
        JOIN public.job_queue AS o ON o.id = e.id
        WHERE e.failure IS NOT NULL
      ) AS f
      WHERE j.id = f.id AND j.worker_id = worker AND j.attempts = f.attempt
      RETURNING j.id, j.is_awaited AND j.status = 'failed' AS is_settled
    )
    SELECT array_agg(ended.id), array_agg(ended.id) FILTER (WHERE ended.is_settled)
    INTO broken, awaited_too FROM ended;
  END IF;
  IF awaited IS NOT NULL OR awaited_too IS NOT NULL THEN
    PERFORM viral.settle_jobs(awaited || awaited_too);
  END IF;
  IF cardinality(kept || broken) = cardinality(jobs) THEN
    RETURN;
  END IF;
  RETURN QUERY
    SELECT g.id FROM unnest(jobs) AS g (id)
    WHERE NOT g.id = ANY (coalesce(kept || broken, '{}'));
END
$$
