-- Take back: A narrow claim.

-- step: expand: change function viral.claim_jobs(uuid, text, integer, uuid, integer, integer, interval, boolean), create function viral.enqueue_jobs(text, uuid[], text, text, jsonb[], integer, integer, text, interval, uuid) and 13 more
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.claim_jobs(worker uuid, lane text, wanted integer, after uuid, running_limit integer, rate_limit integer, rate_span interval, may_suspect boolean)
 RETURNS TABLE(id uuid, tenant_id uuid, job_type text, attempt integer, crashes integer, has_payload boolean, place uuid)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
DECLARE
  places constant integer := CASE WHEN running_limit IS NULL AND rate_limit IS NULL
    THEN least(wanted, 64) ELSE 256 END;
  ring uuid[];
  wrapped uuid[];
  chosen tid[] := '{}';
  suspect tid;
  share integer;
BEGIN
  IF wanted < 1 THEN
    RETURN;
  END IF;
  ring := viral.waiting_places(lane, after, places);
  IF cardinality(ring) < places THEN
    wrapped := viral.waiting_places(
      lane, '00000000-0000-0000-0000-000000000000', places - cardinality(ring));
    ring := ring || ARRAY(SELECT w.place FROM unnest(wrapped) AS w (place) WHERE w.place <= after);
  END IF;
  IF may_suspect THEN
    suspect := viral.suspect_job(lane, running_limit);
  END IF;
  IF cardinality(ring) = 0 AND suspect IS NULL THEN
    RETURN;
  END IF;
  share := ceil(wanted::numeric / greatest(cardinality(ring), 1));
  IF running_limit IS NULL AND rate_limit IS NULL THEN
    chosen := ARRAY(
      SELECT w.ctid FROM unnest(ring) WITH ORDINALITY AS r (place, position)
      CROSS JOIN LATERAL (
        SELECT j.ctid FROM public.job_queue AS j
        WHERE j.status = 'pending' AND j.is_due AND j.queue = lane
          AND j.place = r.place
          AND j.crashes = 0 AND j.scheduled_for <= now()
        ORDER BY j.priority DESC, j.id
        LIMIT share FOR UPDATE SKIP LOCKED
      ) AS w
      ORDER BY r.position LIMIT wanted
    );
  ELSIF suspect IS NULL THEN
    -- A suspect counts for its place's limit only once it runs: the others come with the next call.
    FOR position IN 1..cardinality(ring) LOOP
      chosen := chosen || viral.allowed_jobs(
        lane, ring[position], least(share, wanted - cardinality(chosen)),
        running_limit, rate_limit, rate_span);
      IF cardinality(chosen) >= wanted THEN
        ring := ring[1:position];
        EXIT;
      END IF;
    END LOOP;
  END IF;
  IF suspect IS NOT NULL THEN
    chosen := suspect || chosen[1:wanted - 1];
  END IF;
  RETURN QUERY
    UPDATE public.job_queue AS j
    SET status = 'running', worker_id = worker, attempts = j.attempts + 1, started_at = now(),
        error_message = NULL, dedupe_key = NULL, progress = 0
    WHERE j.ctid = ANY (chosen)
    RETURNING j.id, j.tenant_id, j.job_type, j.attempts, j.crashes, j.payload <> '{}',
      NULL::uuid;
  RETURN QUERY SELECT NULL::uuid, NULL::uuid, NULL::text,
    (cardinality(ring) >= places OR cardinality(chosen) >= wanted)::integer, NULL::integer,
    NULL::boolean, coalesce(ring[cardinality(ring)], after);
END
$function$
;

REVOKE ALL ON FUNCTION viral.claim_jobs(uuid, text, integer, uuid, integer, integer, interval, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.enqueue_jobs(context text, ids uuid[], job_type text, queue text, payloads jsonb[], priority integer, max_attempts integer, dedupe_key text, delay interval, batch uuid)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  mine uuid;
  made integer;
BEGIN
  PERFORM set_config('app.tenant', context, true);
  mine := viral.tenant_id();
  INSERT INTO public.job_queue (id, tenant_id, scope, job_type, queue, payload, priority,
    max_attempts, dedupe_key, batch_id, is_due, scheduled_for)
  SELECT given.id, mine, 'tenant', enqueue_jobs.job_type, enqueue_jobs.queue, given.payload,
    enqueue_jobs.priority, enqueue_jobs.max_attempts, enqueue_jobs.dedupe_key, batch,
    delay <= interval '0', now() + delay
  FROM unnest(ids, payloads) AS given (id, payload)
  ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS made = ROW_COUNT;
  RETURN made;
END
$function$
;

REVOKE ALL ON FUNCTION viral.enqueue_jobs(text, uuid[], text, text, jsonb[], integer, integer, text, interval, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.exchange_jobs(worker uuid, jobs uuid[], tries integer[], outcomes jsonb[], failures text[], retries_s double precision[], lane text, wanted integer, after uuid, running_limit integer, rate_limit integer, rate_span interval, may_suspect boolean)
 RETURNS TABLE(id uuid, tenant_id uuid, job_type text, attempt integer, crashes integer, has_payload boolean, place uuid)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET lock_timeout TO '250ms'
AS $function$
BEGIN
  IF cardinality(jobs) > 0 THEN
    RETURN QUERY
      SELECT f.id, NULL::uuid, NULL::text, 0, NULL::integer, NULL::boolean, NULL::uuid
      FROM viral.finish_jobs(worker, jobs, tries, outcomes, failures, retries_s) AS f (id);
  END IF;
  RETURN QUERY SELECT * FROM viral.claim_jobs(
    worker, lane, wanted, after, running_limit, rate_limit, rate_span, may_suspect);
END
$function$
;

REVOKE ALL ON FUNCTION viral.exchange_jobs(uuid, uuid[], integer[], jsonb[], text[], double precision[], text, integer, uuid, integer, integer, interval, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.finish_jobs(worker uuid, jobs uuid[], tries integer[], outcomes jsonb[], failures text[], retries_s double precision[])
 RETURNS SETOF uuid
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
DECLARE
  kept uuid[];
  broken uuid[];
  awaited uuid[];
  awaited_too uuid[];
BEGIN
  WITH ended AS (
    UPDATE public.job_queue AS j
    SET status = 'completed', result = e.outcome, worker_id = NULL, progress = 100,
        completed_at = now()
    FROM unnest(jobs, tries, outcomes, failures) AS e (id, attempt, outcome, failure)
    WHERE j.id = e.id AND j.worker_id = worker AND j.attempts = e.attempt AND e.failure IS NULL
    RETURNING j.id, j.is_awaited
  )
  SELECT array_agg(ended.id), array_agg(ended.id) FILTER (WHERE ended.is_awaited)
  INTO kept, awaited FROM ended;
  IF cardinality(array_remove(failures, NULL)) > 0 THEN
    WITH ended AS (
      UPDATE public.job_queue AS j
      SET status = CASE WHEN f.is_retried THEN 'pending' ELSE 'failed' END,
          error_message = f.failure, worker_id = NULL, is_due = NOT f.is_retried,
          scheduled_for = CASE WHEN f.is_retried
            THEN now() + make_interval(secs => f.retry_s) ELSE j.scheduled_for END,
          completed_at = CASE WHEN f.is_retried THEN NULL ELSE now() END
      FROM (
        SELECT e.*, e.retry_s IS NOT NULL AND e.attempt < o.max_attempts AS is_retried
        FROM unnest(jobs, tries, failures, retries_s) AS e (id, attempt, failure, retry_s)
        JOIN public.job_queue AS o ON o.id = e.id
        WHERE e.failure IS NOT NULL
      ) AS f
      WHERE j.id = f.id AND j.worker_id = worker AND j.attempts = f.attempt
      RETURNING j.id, j.is_awaited AND j.status = 'failed' AS is_settled
    )
    SELECT array_agg(ended.id), array_agg(ended.id) FILTER (WHERE ended.is_settled)
    INTO broken, awaited_too FROM ended;
  END IF;
  IF awaited IS NOT NULL OR awaited_too IS NOT NULL THEN
    PERFORM viral.settle_jobs(awaited || awaited_too);
  END IF;
  IF cardinality(kept || broken) = cardinality(jobs) THEN
    RETURN;
  END IF;
  RETURN QUERY
    SELECT g.id FROM unnest(jobs) AS g (id)
    WHERE NOT g.id = ANY (coalesce(kept || broken, '{}'));
END
$function$
;

REVOKE ALL ON FUNCTION viral.finish_jobs(uuid, uuid[], integer[], jsonb[], text[], double precision[]) FROM PUBLIC;

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

CREATE OR REPLACE FUNCTION viral.reap_jobs(worker uuid, silence interval)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  gone uuid[];
  freed uuid[];
  failed uuid[];
BEGIN
  gone := ARRAY(
    SELECT w.id FROM public.job_workers AS w
    WHERE w.id <> worker AND (
      w.heartbeat_at < now() - silence
      -- A server that was started anew has freed the locks of the living.
      OR CASE WHEN w.is_leased AND pg_postmaster_start_time() < now() - interval '3 seconds'
           THEN pg_try_advisory_xact_lock(hashtextextended('worker:' || w.id::text, 0))
           ELSE false END
    )
    FOR UPDATE SKIP LOCKED
  );
  IF cardinality(gone) = 0 THEN
    RETURN 0;
  END IF;
  WITH taken AS (
    UPDATE public.job_queue AS j
    SET status = CASE WHEN j.attempts < j.max_attempts THEN 'pending' ELSE 'failed' END,
        worker_id = NULL, crashes = j.crashes + 1, error_message = 'the worker stopped',
        is_due = j.crashes = 0,
        scheduled_for = CASE WHEN j.crashes = 0 THEN j.scheduled_for
          ELSE now() + interval '5 seconds' * (2 ^ least(j.crashes, 9)) * (0.5 + random()) END,
        completed_at = CASE WHEN j.attempts < j.max_attempts THEN NULL ELSE now() END
    WHERE j.status = 'running' AND j.worker_id = ANY (gone)
    RETURNING j.id, j.is_awaited AND j.status = 'failed' AS is_settled
  )
  SELECT array_agg(t.id), array_agg(t.id) FILTER (WHERE t.is_settled)
  INTO freed, failed FROM taken AS t;
  IF failed IS NOT NULL THEN
    PERFORM viral.settle_jobs(failed);
  END IF;
  DELETE FROM public.job_workers AS w WHERE w.id = ANY (gone);
  RETURN coalesce(cardinality(freed), 0);
END
$function$
;

REVOKE ALL ON FUNCTION viral.reap_jobs(uuid, interval) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.release_jobs(worker uuid, jobs uuid[], tries integer[])
 RETURNS integer
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  WITH released AS (
    UPDATE public.job_queue AS j
    SET status = 'pending', worker_id = NULL, attempts = j.attempts - 1, started_at = NULL,
        progress = 0
    FROM unnest(jobs, tries) AS g (id, attempt)
    WHERE j.id = g.id AND j.worker_id = worker AND j.attempts = g.attempt
    RETURNING 1
  )
  SELECT count(*)::integer FROM released
$function$
;

REVOKE ALL ON FUNCTION viral.release_jobs(uuid, uuid[], integer[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.report_progress(worker uuid, job uuid, attempt integer, percent integer)
 RETURNS boolean
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  WITH told AS (
    UPDATE public.job_queue AS j SET progress = percent
    WHERE j.id = job AND j.worker_id = worker AND j.attempts = attempt AND j.status = 'running'
    RETURNING 1
  )
  SELECT EXISTS (SELECT FROM told)
$function$
;

REVOKE ALL ON FUNCTION viral.report_progress(uuid, uuid, integer, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.retry_jobs(jobs uuid[])
 RETURNS SETOF uuid
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  UPDATE public.job_queue AS j
  SET status = 'pending', is_due = true, scheduled_for = now(), attempts = 0, crashes = 0,
      progress = 0, dedupe_key = NULL, waits_for = NULL, result = NULL, error_message = NULL, completed_at = NULL
  WHERE j.id = ANY (jobs) AND j.tenant_id = (SELECT viral.tenant_id())
    AND j.status IN ('failed', 'canceled')
  RETURNING j.id
$function$
;

REVOKE ALL ON FUNCTION viral.retry_jobs(uuid[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.stray_jobs(worker uuid, lane text, known uuid[])
 RETURNS TABLE(id uuid, attempt integer)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  SELECT j.id, j.attempts FROM public.job_queue AS j
  WHERE j.status = 'running' AND j.queue = lane AND j.worker_id = worker
    AND NOT j.id = ANY (known)
$function$
;

REVOKE ALL ON FUNCTION viral.stray_jobs(uuid, text, uuid[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.suspect_job(lane text, running_limit integer)
 RETURNS tid
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
AS $function$
  SELECT j.ctid FROM public.job_queue AS j
  WHERE j.status = 'pending' AND j.is_due AND j.crashes > 0 AND j.queue = lane
    AND j.scheduled_for <= now()
    AND (running_limit IS NULL OR running_limit > (
      SELECT count(*) FROM public.job_queue AS o
      WHERE o.status = 'running' AND o.queue = lane AND o.place = j.place))
  ORDER BY j.priority DESC, j.id LIMIT 1 FOR UPDATE SKIP LOCKED
$function$
;

REVOKE ALL ON FUNCTION viral.suspect_job(text, integer) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.enqueue_jobs(text, uuid[], text, text, jsonb[], integer, integer, text, interval, uuid) TO viral_app;

GRANT EXECUTE ON FUNCTION viral.exchange_jobs(uuid, uuid[], integer[], jsonb[], text[], double precision[], text, integer, uuid, integer, integer, interval, boolean) TO viral_worker;

SET LOCAL ROLE viral_owner;

-- step: contract: drop public.job_reservations, drop function viral.begin_jobs(uuid, text, uuid[], interval) and 7 more
-- at risk: rows of public.job_reservations: SELECT count(*) FROM public.job_reservations
-- lint: ban-drop-table: the models do not have this table
DROP TABLE public.job_reservations;

SET LOCAL ROLE viral_auth;

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.begin_jobs(uuid, text, uuid[], interval);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.enqueue_jobs(text, uuid[], text, text, jsonb[], integer, integer, text, interval, uuid, boolean);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.exchange_jobs(uuid, uuid[], integer[], jsonb[], text[], double precision[], text, integer, uuid, integer, integer, interval, boolean, text[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.jobs_at_work();

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.next_places(text, uuid, integer);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.owners_of(text[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.reserve_jobs(uuid, text, integer, uuid, boolean, text[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.reserved_jobs(uuid, uuid[]);

SET LOCAL ROLE viral_owner;
