-- Give jobs back that were claimed and not ended, as if they had never been: how many.
CREATE FUNCTION viral.release_jobs(worker uuid, jobs uuid[], tries integer[]) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH released AS (
    UPDATE public.job_queue AS j
    SET status = 'pending', worker_id = NULL, attempts = j.attempts - 1, started_at = NULL,
        progress = 0
    FROM unnest(jobs, tries) AS g (id, attempt)
    WHERE j.id = g.id AND j.worker_id = worker AND j.attempts = g.attempt
    RETURNING 1
  )
  SELECT count(*)::integer FROM released
$$
