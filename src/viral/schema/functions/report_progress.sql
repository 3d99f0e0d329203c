-- Say how far an attempt is, in per cent; false when the job is no longer the worker's.
CREATE FUNCTION viral.report_progress(
  worker uuid, job uuid, attempt integer, percent integer
) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH told AS (
    UPDATE public.job_queue AS j
    SET progress = percent, status = 'running', worker_id = worker, attempts = attempt,
        started_at = CASE j.status WHEN 'running' THEN j.started_at ELSE r.since[1] END,
        error_message = NULL
    FROM viral.reserved_jobs(worker, ARRAY[job]) AS r
    WHERE j.id = job AND (
      j.status = 'running' AND j.worker_id = worker AND j.attempts = attempt
      OR j.status = 'pending' AND j.attempts = attempt - 1 AND j.scheduled_for <= r.since[1])
    RETURNING 1
  )
  SELECT EXISTS (SELECT FROM told)
$$
