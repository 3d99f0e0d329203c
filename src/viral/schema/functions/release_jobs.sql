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
  ), dropped AS (
    UPDATE public.job_reservations AS r
    SET jobs = ARRAY(SELECT h.id FROM unnest(r.jobs) AS h (id) WHERE h.id NOT IN (
          SELECT unnest(release_jobs.jobs))),
        open = r.open - d.jobs
    FROM (
      SELECT o.id, count(*)::integer AS jobs
      FROM public.job_reservations AS o CROSS JOIN LATERAL unnest(o.jobs) AS h (id)
      WHERE o.worker_id = worker AND h.id IN (SELECT unnest(release_jobs.jobs))
      GROUP BY o.id
    ) AS d
    WHERE r.id = d.id
    RETURNING d.jobs
  )
  SELECT (SELECT count(*) FROM released)::integer
       + coalesce((SELECT sum(d.jobs) FROM dropped AS d), 0)::integer
$$
