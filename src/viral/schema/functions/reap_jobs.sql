-- Take back the jobs of workers not heard of for `silence`; how many were taken back.
CREATE FUNCTION viral.reap_jobs(silence interval) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH gone AS (
    DELETE FROM public.job_workers AS w WHERE w.heartbeat_at < now() - silence RETURNING w.id
  ), freed AS (
    UPDATE public.job_queue AS j
    SET status = CASE WHEN j.attempts < j.max_attempts THEN 'pending' ELSE 'failed' END,
        worker_id = NULL, error_message = 'the worker stopped',
        completed_at = CASE WHEN j.attempts < j.max_attempts THEN NULL ELSE now() END
    WHERE j.status = 'running' AND (
      j.worker_id IN (SELECT gone.id FROM gone)
      OR NOT EXISTS (SELECT FROM public.job_workers AS w WHERE w.id = j.worker_id)
    )
    RETURNING j.id
  )
  SELECT count(*)::integer FROM freed
$$
