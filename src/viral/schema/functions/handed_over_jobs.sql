-- The attempts that the engine outside was given so long ago and has not called for, oldest first.
CREATE FUNCTION viral.handed_over_jobs(silence interval, at_most integer)
RETURNS TABLE (id uuid, attempt integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT j.id, j.attempts FROM public.job_queue AS j
  WHERE j.status = 'running' AND j.worker_id = '00000000-0000-0000-0000-000000000000'
    AND j.started_at < now() - silence
  ORDER BY j.started_at LIMIT at_most
$$
