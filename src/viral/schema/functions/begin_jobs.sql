-- Mark as running what is left of a worker's reservations that are older than `age`, and end these:
-- of one lane and of the jobs that it knows of, or of all. How many jobs were marked.
CREATE FUNCTION viral.begin_jobs(worker uuid, lane text, known uuid[], age interval)
RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
SET enable_seqscan = off SET lock_timeout = '250ms'
AS $$
  WITH ended AS (
    DELETE FROM public.job_reservations AS r
    WHERE r.worker_id = worker AND (lane IS NULL OR r.queue = lane) AND r.made_at <= now() - age
    RETURNING r.jobs, r.made_at
  ), begun AS (
    UPDATE public.job_queue AS j
    SET status = 'running', worker_id = worker, attempts = j.attempts + 1,
        started_at = h.made_at, error_message = NULL, progress = 0
    FROM (SELECT unnest(e.jobs) AS id, e.made_at FROM ended AS e) AS h
    WHERE j.id = h.id AND j.status = 'pending' AND j.scheduled_for <= h.made_at
      AND (known IS NULL OR h.id IN (SELECT unnest(known)))
    RETURNING 1
  )
  SELECT count(*)::integer FROM begun
$$
