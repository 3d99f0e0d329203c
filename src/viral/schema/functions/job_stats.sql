-- How the queue stands by tenant, type and status: how many, the seconds that the oldest due job
-- waits, and of those that ended in the last hour the run times in seconds.
CREATE FUNCTION viral.job_stats()
RETURNS TABLE (
  tenant_id uuid, queue text, job_type text, status text, jobs bigint,
  oldest_s double precision, run_p50_s double precision, run_p95_s double precision
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT j.tenant_id, j.queue, j.job_type, j.shown, count(*),
         extract(epoch FROM now() - min(j.scheduled_for) FILTER (
           WHERE j.shown = 'pending' AND j.scheduled_for <= now()))::double precision,
         percentile_cont(0.5) WITHIN GROUP (
           ORDER BY extract(epoch FROM j.completed_at - j.started_at)::double precision),
         percentile_cont(0.95) WITHIN GROUP (
           ORDER BY extract(epoch FROM j.completed_at - j.started_at)::double precision)
  FROM (
    SELECT o.*, CASE WHEN o.status = 'pending' AND o.is_due AND o.id IN (
        SELECT unnest(r.jobs) FROM public.job_reservations AS r)
      THEN 'running' ELSE o.status END AS shown
    FROM public.job_queue AS o
    WHERE o.status IN ('pending', 'blocked', 'running')
       OR (o.id >= (SELECT viral.first_id_at(now() - interval '1 day'))
           AND o.completed_at >= now() - interval '1 hour')
  ) AS j
  GROUP BY j.tenant_id, j.queue, j.job_type, j.shown
$$
