-- Put jobs of the tenant that failed or were canceled back into the queue, with all attempts
-- before them: those that were. What an attempt hands in that was begun before this moment, is
-- refused.
CREATE FUNCTION viral.retry_jobs(jobs uuid[]) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  UPDATE public.job_queue AS j
  SET status = 'pending', is_due = true, scheduled_for = clock_timestamp(), attempts = 0, crashes = 0,
      progress = 0, dedupe_key = NULL, waits_for = NULL, result = NULL, error_message = NULL,
      completed_at = NULL
  WHERE j.id = ANY (jobs) AND j.tenant_id = (SELECT viral.tenant_id())
    AND j.status IN ('failed', 'canceled')
  RETURNING j.id
$$
