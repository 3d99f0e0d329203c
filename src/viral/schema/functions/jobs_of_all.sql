-- Jobs of all tenants for the operator, newest first: routing columns, never a payload or a result.
-- Those that have not ended are few, and are sorted; the others are found by their ids.
CREATE FUNCTION viral.jobs_of_all(
  of_status text, of_type text, before uuid, at_most integer
) RETURNS TABLE (
  id uuid, scope text, tenant_id uuid, queue text, job_type text, status text, priority integer,
  attempts integer, max_attempts integer, crashes integer, progress integer,
  error_message text, worker_id uuid, created_at timestamptz, scheduled_for timestamptz,
  started_at timestamptz, completed_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  WITH taken AS MATERIALIZED (
    SELECT unnest(r.jobs) AS id FROM public.job_reservations AS r
  ), open AS MATERIALIZED (
    SELECT o.* FROM public.job_queue AS o
    WHERE of_status IN ('pending', 'blocked', 'running')
      AND o.status IN ('pending', 'blocked', 'running')
      AND of_status = CASE WHEN o.status = 'pending' AND o.is_due AND o.id IN (
        SELECT t.id FROM taken AS t) THEN 'running' ELSE o.status END
  ), found AS (
    (SELECT e.* FROM public.job_queue AS e
     WHERE coalesce(of_status, '') NOT IN ('pending', 'blocked', 'running')
       AND (of_status IS NULL OR e.status = of_status)
       AND (of_type IS NULL OR e.job_type = of_type) AND (before IS NULL OR e.id < before)
     ORDER BY e.id DESC LIMIT at_most)
    UNION ALL
    SELECT o.* FROM open AS o
    WHERE (of_type IS NULL OR o.job_type = of_type) AND (before IS NULL OR o.id < before)
  )
  SELECT j.id, j.scope, j.tenant_id, j.queue, j.job_type,
         CASE WHEN j.status = 'pending' AND j.is_due AND j.id IN (
           SELECT t.id FROM taken AS t) THEN 'running' ELSE j.status END,
         j.priority, j.attempts, j.max_attempts, j.crashes, j.progress, j.error_message, j.worker_id,
         j.created_at, j.scheduled_for, j.started_at, j.completed_at
  FROM found AS j ORDER BY j.id DESC LIMIT at_most
$$
