-- Which of a worker's attempts are no longer its own: taken back from it, or canceled.
CREATE FUNCTION viral.lost_jobs(worker uuid, jobs uuid[], tries integer[]) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT g.id FROM unnest(jobs, tries) AS g (id, attempt)
  WHERE NOT EXISTS (
    SELECT FROM public.job_queue AS j
    WHERE j.id = g.id AND j.worker_id = worker AND j.attempts = g.attempt
      AND j.status = 'running'
  )
$$
