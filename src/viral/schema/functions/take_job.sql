-- Take the attempt that the engine outside calls for; no row when somebody has it, or it is over.
CREATE FUNCTION viral.take_job(worker uuid, job uuid, attempt integer)
RETURNS TABLE (id uuid, tenant_id uuid, queue text, job_type text, crashes integer, has_payload boolean)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  UPDATE public.job_queue AS j SET worker_id = worker, started_at = now()
  WHERE j.id = job AND j.attempts = attempt AND j.status = 'running'
    AND j.worker_id = '00000000-0000-0000-0000-000000000000'
  RETURNING j.id, j.tenant_id, j.queue, j.job_type, j.crashes, j.payload <> '{}'
$$
