-- Claim up to `wanted` waiting jobs; routing columns only, a payload is read as the job's tenant.
-- The key against twins holds while a job waits: given back, it must not stand in a twin's way.
CREATE FUNCTION viral.claim_jobs(worker uuid, wanted integer)
RETURNS TABLE (id uuid, scope text, tenant_id uuid, job_type text, attempt integer)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  UPDATE public.job_queue AS j
  SET status = 'running', worker_id = worker, attempts = j.attempts + 1, started_at = now(),
      error_message = NULL, dedupe_key = NULL
  WHERE j.id IN (
    SELECT w.id FROM public.job_queue AS w
    WHERE w.status = 'pending' AND w.scheduled_for <= now()
    ORDER BY w.priority DESC, w.scheduled_for, w.id
    LIMIT wanted
    FOR UPDATE SKIP LOCKED
  )
  RETURNING j.id, j.scope, j.tenant_id, j.job_type, j.attempts
$$
