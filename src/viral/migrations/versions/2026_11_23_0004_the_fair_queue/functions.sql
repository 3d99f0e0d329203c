-- The fair queue: the functions from allowed_jobs to first_id_at.

-- step: expand: create the functions from allowed_jobs to first_id_at
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.allowed_jobs(lane text, owner uuid, wanted integer, running_limit integer, rate_limit integer, rate_span interval)
 RETURNS tid[]
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
DECLARE
  allowed integer := wanted;
  found tid[];
  turns integer := 0;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtextextended(lane || owner::text, 0)) THEN
    RETURN '{}';
  END IF;
  IF running_limit IS NOT NULL THEN
    allowed := least(allowed, running_limit - (
      SELECT count(*) FROM public.job_queue AS j
      WHERE j.status = 'running' AND j.queue = lane
        AND j.place = owner
    ));
  END IF;
  found := ARRAY(
    SELECT j.ctid FROM public.job_queue AS j
    WHERE j.status = 'pending' AND j.is_due AND j.queue = lane
      AND j.place = owner
      AND j.crashes = 0
      AND j.scheduled_for <= now()
    ORDER BY j.priority DESC, j.id
    LIMIT greatest(allowed, 0) FOR UPDATE SKIP LOCKED
  );
  IF rate_limit IS NULL THEN
    RETURN found;
  END IF;
  WHILE turns < cardinality(found)
    AND viral.take_turn('job:' || lane || ':' || owner, rate_limit, rate_span) = 0
  LOOP
    turns := turns + 1;
  END LOOP;
  RETURN found[1:turns];
END
$function$
;

REVOKE ALL ON FUNCTION viral.allowed_jobs(text, uuid, integer, integer, integer, interval) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.cancel_jobs(jobs uuid[])
 RETURNS SETOF uuid
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  canceled uuid[];
BEGIN
  WITH ended AS (
    UPDATE public.job_queue AS j
    SET status = 'canceled', worker_id = NULL, completed_at = now()
    WHERE j.id = ANY (jobs) AND j.tenant_id = (SELECT viral.tenant_id())
      AND j.status IN ('pending', 'blocked', 'running')
    RETURNING j.id
  )
  SELECT array_agg(e.id) INTO canceled FROM ended AS e;
  PERFORM viral.settle_jobs(coalesce(canceled, '{}'));
  RETURN QUERY SELECT unnest(canceled);
END
$function$
;

REVOKE ALL ON FUNCTION viral.cancel_jobs(uuid[]) FROM PUBLIC;

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

CREATE OR REPLACE FUNCTION viral.due_schedules()
 RETURNS TABLE(id uuid, name text, job_type text, cron text, time_zone text, missed text, due_at timestamp with time zone, moment timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  SELECT s.id, s.name, s.job_type, s.cron, s.time_zone, s.missed, s.next_at, now()
  FROM public.job_schedules AS s WHERE NOT s.is_paused AND s.next_at <= now()
$function$
;

REVOKE ALL ON FUNCTION viral.due_schedules() FROM PUBLIC;

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

CREATE OR REPLACE FUNCTION viral.fire_schedule(schedule uuid, due_at timestamp with time zone, next_at timestamp with time zone, job uuid, tries integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  passed record;
BEGIN
  UPDATE public.job_schedules AS s
  SET next_at = fire_schedule.next_at,
      last_at = CASE WHEN job IS NULL THEN s.last_at ELSE now() END
  WHERE s.id = schedule AND s.next_at = due_at AND NOT s.is_paused
  RETURNING s.name, s.job_type, s.queue INTO passed;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO public.job_queue (id, scope, job_type, queue, max_attempts, dedupe_key)
  SELECT job, 'system', passed.job_type, passed.queue, tries, 'schedule ' || passed.name
  WHERE job IS NOT NULL
  ON CONFLICT DO NOTHING;
  RETURN true;
END
$function$
;

REVOKE ALL ON FUNCTION viral.fire_schedule(uuid, timestamp with time zone, timestamp with time zone, uuid, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.first_id_at(moment timestamp with time zone)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  SELECT (lpad(to_hex(floor(extract(epoch FROM moment) * 1000)::bigint), 12, '0')
          || '70008000000000000000')::uuid
$function$
;

REVOKE ALL ON FUNCTION viral.first_id_at(timestamp with time zone) FROM PUBLIC;
