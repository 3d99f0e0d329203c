-- Give claimed jobs to the engine outside, which is no worker that could fall silent: how many.
CREATE FUNCTION viral.hand_over_jobs(worker uuid, jobs uuid[], tries integer[]) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH given AS (
    UPDATE public.job_queue AS j SET worker_id = '00000000-0000-0000-0000-000000000000'
    FROM unnest(jobs, tries) AS g (id, attempt)
    WHERE j.id = g.id AND j.worker_id = worker AND j.attempts = g.attempt
    RETURNING 1
  )
  SELECT count(*)::integer FROM given
$$
