-- End one attempt of a job: completed, or back to waiting until `retry_at`, or failed.
-- Fenced: false when the lease went to another worker or attempt meanwhile.
CREATE FUNCTION viral.finish_job(
  job uuid, worker uuid, attempt integer, outcome jsonb, failure text, retry_at timestamptz
) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH ended AS (
    UPDATE public.job_queue AS j
    SET status = CASE
          WHEN failure IS NULL THEN 'completed'
          WHEN j.attempts < j.max_attempts AND retry_at IS NOT NULL THEN 'pending'
          ELSE 'failed' END,
        result = outcome, error_message = failure, worker_id = NULL,
        scheduled_for = CASE
          WHEN failure IS NOT NULL AND j.attempts < j.max_attempts
          THEN coalesce(retry_at, j.scheduled_for) ELSE j.scheduled_for END,
        completed_at = CASE
          WHEN failure IS NOT NULL AND j.attempts < j.max_attempts AND retry_at IS NOT NULL
          THEN NULL ELSE now() END
    WHERE j.id = job AND j.worker_id = worker AND j.attempts = attempt AND j.status = 'running'
    RETURNING j.id
  )
  SELECT EXISTS (SELECT FROM ended)
$$
