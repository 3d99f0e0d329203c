-- The fair queue: the functions from hand_over_jobs to prune_jobs.

-- step: expand: create the functions from hand_over_jobs to prune_jobs
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.hand_over_jobs(worker uuid, jobs uuid[], tries integer[])
 RETURNS integer
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  WITH given AS (
    UPDATE public.job_queue AS j SET worker_id = '00000000-0000-0000-0000-000000000000'
    FROM unnest(jobs, tries) AS g (id, attempt)
    WHERE j.id = g.id AND j.worker_id = worker AND j.attempts = g.attempt
    RETURNING 1
  )
  SELECT count(*)::integer FROM given
$function$
;

REVOKE ALL ON FUNCTION viral.hand_over_jobs(uuid, uuid[], integer[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.handed_over_jobs(silence interval, at_most integer)
 RETURNS TABLE(id uuid, attempt integer)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  SELECT j.id, j.attempts FROM public.job_queue AS j
  WHERE j.status = 'running' AND j.worker_id = '00000000-0000-0000-0000-000000000000'
    AND j.started_at < now() - silence
  ORDER BY j.started_at LIMIT at_most
$function$
;

REVOKE ALL ON FUNCTION viral.handed_over_jobs(interval, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.heartbeat(worker uuid)
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  INSERT INTO public.job_workers (id, is_leased)
  VALUES (worker, NOT pg_try_advisory_xact_lock(hashtextextended('worker:' || worker::text, 0)))
  ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
$function$
;

REVOKE ALL ON FUNCTION viral.heartbeat(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.job_stats()
 RETURNS TABLE(tenant_id uuid, queue text, job_type text, status text, jobs bigint, oldest_s double precision, run_p50_s double precision, run_p95_s double precision)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
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
$function$
;

REVOKE ALL ON FUNCTION viral.job_stats() FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.jobs_of_all(of_status text, of_type text, before uuid, at_most integer)
 RETURNS TABLE(id uuid, scope text, tenant_id uuid, queue text, job_type text, status text, priority integer, attempts integer, max_attempts integer, crashes integer, progress integer, error_message text, worker_id uuid, created_at timestamp with time zone, scheduled_for timestamp with time zone, started_at timestamp with time zone, completed_at timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  WITH open AS MATERIALIZED (
    SELECT o.* FROM public.job_queue AS o
    WHERE of_status IN ('pending', 'blocked', 'running') AND o.status = of_status
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
  SELECT j.id, j.scope, j.tenant_id, j.queue, j.job_type, j.status, j.priority, j.attempts,
         j.max_attempts, j.crashes, j.progress, j.error_message, j.worker_id, j.created_at,
         j.scheduled_for, j.started_at, j.completed_at
  FROM found AS j ORDER BY j.id DESC LIMIT at_most
$function$
;

REVOKE ALL ON FUNCTION viral.jobs_of_all(text, text, uuid, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.lease_worker(worker uuid)
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  SELECT pg_advisory_lock(hashtextextended('worker:' || worker::text, 0));
  UPDATE public.job_workers AS w SET is_leased = true WHERE w.id = worker
$function$
;

REVOKE ALL ON FUNCTION viral.lease_worker(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.lost_jobs(worker uuid, jobs uuid[], tries integer[])
 RETURNS SETOF uuid
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  SELECT g.id FROM unnest(jobs, tries) AS g (id, attempt)
  WHERE NOT EXISTS (
    SELECT FROM public.job_queue AS j
    WHERE j.id = g.id AND j.worker_id = worker AND j.attempts = g.attempt
      AND j.status = 'running'
  )
$function$
;

REVOKE ALL ON FUNCTION viral.lost_jobs(uuid, uuid[], integer[]) FROM PUBLIC;

SET LOCAL ROLE viral_owner;

CREATE OR REPLACE FUNCTION viral.make_partitions()
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  parent record;
  first date;
  name text;
  made integer := 0;
BEGIN
  FOR parent IN
    SELECT c.oid, c.relname FROM pg_catalog.pg_class AS c
    WHERE c.relkind = 'p' AND c.relnamespace = 'public'::regnamespace
    ORDER BY c.relname
  LOOP
    FOR months IN -1..3 LOOP
      first := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => months);
      name := parent.relname || to_char(first, '_YYYYMM');
      CONTINUE WHEN to_regclass('public.' || quote_ident(name)) IS NOT NULL;
      BEGIN
        EXECUTE format(
          'CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
          name, parent.relname, first::text || ' 00:00:00+00',
          (first + interval '1 month')::date::text || ' 00:00:00+00'
        );
      EXCEPTION WHEN duplicate_table OR unique_violation THEN
        -- Another worker made it at the same moment.
        CONTINUE;
      END;
      EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
      EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', name);
      made := made + 1;
    END LOOP;
  END LOOP;
  RETURN made;
END
$function$
;

REVOKE ALL ON FUNCTION viral.make_partitions() FROM PUBLIC;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.payloads_of(context text, jobs uuid[])
 RETURNS TABLE(id uuid, payload text)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
BEGIN
  PERFORM set_config('app.tenant', context, true);
  RETURN QUERY
    SELECT j.id, j.payload::text FROM public.job_queue AS j
    WHERE j.id = ANY (jobs) AND j.tenant_id = (SELECT viral.tenant_id());
END
$function$
;

REVOKE ALL ON FUNCTION viral.payloads_of(text, uuid[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.promote_jobs()
 RETURNS TABLE(promoted integer, next_in_s double precision)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
BEGIN
  UPDATE public.job_queue AS j SET is_due = true
  WHERE j.id IN (
    SELECT d.id FROM public.job_queue AS d
    WHERE d.status = 'pending' AND NOT d.is_due AND d.scheduled_for <= now()
    ORDER BY d.scheduled_for LIMIT 1000 FOR UPDATE SKIP LOCKED
  );
  GET DIAGNOSTICS promoted = ROW_COUNT;
  SELECT extract(epoch FROM d.scheduled_for - now()) INTO next_in_s FROM public.job_queue AS d
  WHERE d.status = 'pending' AND NOT d.is_due
  ORDER BY d.scheduled_for LIMIT 1;
  RETURN NEXT;
END
$function$
;

REVOKE ALL ON FUNCTION viral.promote_jobs() FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.prune_jobs(kept interval, failed_kept interval, at_most integer)
 RETURNS integer
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  WITH pruned AS (
    DELETE FROM public.job_queue AS j
    WHERE j.id IN (
      SELECT o.id FROM public.job_queue AS o
      WHERE o.id < (SELECT viral.first_id_at(now() - kept))
        AND o.completed_at < now() - CASE WHEN o.status = 'failed' THEN failed_kept ELSE kept END
      ORDER BY o.id LIMIT at_most FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
  ), effects AS (
    DELETE FROM public.job_effects AS e
    WHERE (e.tenant_id, e.id) IN (
      SELECT o.tenant_id, o.id FROM public.job_effects AS o
      WHERE o.begun_at < now() - failed_kept LIMIT at_most
    )
  )
  SELECT count(*)::integer FROM pruned
$function$
;

REVOKE ALL ON FUNCTION viral.prune_jobs(interval, interval, integer) FROM PUBLIC;
