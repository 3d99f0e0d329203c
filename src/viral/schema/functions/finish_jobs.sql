-- End attempts: completed, or waiting again for `retry_s` seconds, or failed. Returns those that are
-- refused: their lease went to another worker or attempt, or they were canceled. A worker is noted
-- while a job runs, and no longer; a reservation ends with the last of its jobs. An array of which
-- all are empty may be null.
CREATE FUNCTION viral.finish_jobs(
  worker uuid, jobs uuid[], tries integer[], outcomes jsonb[], failures text[],
  retries_s double precision[]
) RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  held record;
  kept uuid[];
  broken uuid[];
  awaited uuid[];
  awaited_too uuid[];
  passed uuid[];
  passed_too uuid[];
BEGIN
  -- Reservations before jobs, as in `begin_jobs`: who takes them the other way round waits for ever.
  PERFORM FROM public.job_reservations AS r WHERE r.worker_id = worker ORDER BY r.id FOR UPDATE;
  SELECT r.* INTO held FROM viral.reserved_jobs(worker, jobs) AS r;
  WITH ended AS (
    UPDATE public.job_queue AS j
    SET status = 'completed', result = coalesce(e.outcome, '{}'), worker_id = NULL, progress = 100,
        attempts = e.attempt, completed_at = now(), error_message = NULL,
        started_at = CASE j.status WHEN 'running' THEN j.started_at ELSE e.since END
    FROM unnest(jobs, tries, outcomes, failures, held.since, held.reservations)
      AS e (id, attempt, outcome, failure, since, reservation)
    WHERE j.id = e.id AND e.failure IS NULL AND (
      j.worker_id = worker AND j.attempts = e.attempt
      OR j.status = 'pending' AND j.attempts = e.attempt - 1 AND j.scheduled_for <= e.since)
    RETURNING j.id, j.is_awaited, e.reservation
  )
  SELECT array_agg(ended.id), array_agg(ended.id) FILTER (WHERE ended.is_awaited),
         array_agg(ended.reservation) FILTER (WHERE ended.reservation IS NOT NULL)
  INTO kept, awaited, passed FROM ended;
  IF cardinality(array_remove(failures, NULL)) > 0 THEN
    WITH ended AS (
      UPDATE public.job_queue AS j
      SET status = CASE WHEN f.is_retried THEN 'pending' ELSE 'failed' END,
          error_message = f.failure, worker_id = NULL, is_due = NOT f.is_retried,
          attempts = f.attempt,
          started_at = CASE j.status WHEN 'running' THEN j.started_at ELSE f.since END,
          -- Later than the reservation, at which an attempt without a pause would be taken for it.
          scheduled_for = CASE WHEN f.is_retried
            THEN clock_timestamp() + make_interval(secs => f.retry_s) ELSE j.scheduled_for END,
          completed_at = CASE WHEN f.is_retried THEN NULL ELSE now() END
      FROM (
        SELECT e.*, e.retry_s IS NOT NULL AND e.attempt < o.max_attempts AS is_retried
        FROM unnest(jobs, tries, failures, retries_s, held.since, held.reservations)
          AS e (id, attempt, failure, retry_s, since, reservation)
        JOIN public.job_queue AS o ON o.id = e.id
        WHERE e.failure IS NOT NULL
      ) AS f
      WHERE j.id = f.id AND (
        j.worker_id = worker AND j.attempts = f.attempt
        OR j.status = 'pending' AND j.attempts = f.attempt - 1 AND j.scheduled_for <= f.since)
      RETURNING j.id, j.is_awaited AND j.status = 'failed' AS is_settled, f.reservation
    )
    SELECT array_agg(ended.id), array_agg(ended.id) FILTER (WHERE ended.is_settled),
           array_agg(ended.reservation) FILTER (WHERE ended.reservation IS NOT NULL)
    INTO broken, awaited_too, passed_too FROM ended;
  END IF;
  IF passed IS NOT NULL OR passed_too IS NOT NULL THEN
    UPDATE public.job_reservations AS r SET open = r.open - p.jobs
    FROM (
      SELECT u.id, count(*) AS jobs FROM unnest(passed || passed_too) AS u (id) GROUP BY u.id
    ) AS p
    WHERE r.id = p.id;
    DELETE FROM public.job_reservations AS r WHERE r.worker_id = worker AND r.open <= 0;
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
