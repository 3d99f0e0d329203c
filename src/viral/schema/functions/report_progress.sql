-- Say how far an attempt is, in per cent; false when the job is no longer the worker's.
CREATE FUNCTION viral.report_progress(
  worker uuid, job uuid, attempt integer, percent integer
) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH told AS (
    UPDATE public.job_queue AS j SET progress = percent
    WHERE j.id = job AND j.worker_id = worker AND j.attempts = attempt AND j.status = 'running'
    RETURNING 1
  )
  SELECT EXISTS (SELECT FROM told)
$$
