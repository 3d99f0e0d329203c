-- Which of a worker's attempts are no longer its own: taken back from it, or canceled.
CREATE FUNCTION viral.lost_jobs(worker uuid, jobs uuid[], tries integer[]) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT g.id FROM viral.reserved_jobs(worker, jobs) AS r
  CROSS JOIN LATERAL unnest(jobs, tries, r.since) AS g (id, attempt, since)
  WHERE NOT EXISTS (
    SELECT FROM public.job_queue AS j
    WHERE j.id = g.id AND (
      j.status = 'running' AND j.worker_id = worker AND j.attempts = g.attempt
      OR j.status = 'pending' AND j.attempts = g.attempt - 1 AND j.scheduled_for <= g.since)
  )
$$
