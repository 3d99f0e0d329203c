-- How the queue stands by tenant, type and status: how many, the seconds that the oldest due job
-- waits, and of those that ended in the last hour the run times in seconds.
CREATE FUNCTION viral.job_stats()
RETURNS TABLE (
  tenant_id uuid, queue text, job_type text, status text, jobs bigint,
  oldest_s double precision, run_p50_s double precision, run_p95_s double precision
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT j.tenant_id, j.queue, j.job_type, j.status, count(*),
         extract(epoch FROM now() - min(j.scheduled_for) FILTER (
           WHERE j.status = 'pending' AND j.scheduled_for <= now()))::double precision,
         percentile_cont(0.5) WITHIN GROUP (
           ORDER BY extract(epoch FROM j.completed_at - j.started_at)::double precision),
         percentile_cont(0.95) WITHIN GROUP (
           ORDER BY extract(epoch FROM j.completed_at - j.started_at)::double precision)
  FROM public.job_queue AS j
  WHERE j.status IN ('pending', 'blocked', 'running')
     OR (j.id >= (SELECT viral.first_id_at(now() - interval '1 day'))
         AND j.completed_at >= now() - interval '1 hour')
  GROUP BY j.tenant_id, j.queue, j.job_type, j.status
$$
