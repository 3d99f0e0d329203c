-- A narrow claim: the table of reservations, and the functions that mind it.

-- step: expand: create table public.job_reservations, functions from begin_jobs to jobs_of_all
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_owner;

CREATE TABLE public.job_reservations (
  id uuid NOT NULL,
  worker_id uuid NOT NULL,
  queue text NOT NULL,
  jobs uuid[] NOT NULL,
  open integer NOT NULL,
  made_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT pk_job_reservations PRIMARY KEY (id)
);

ALTER TABLE public.job_reservations ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.job_reservations FORCE ROW LEVEL SECURITY;

CREATE POLICY functions ON public.job_reservations AS PERMISSIVE FOR ALL TO viral_auth USING (true) WITH CHECK (true);

GRANT DELETE, INSERT, SELECT, UPDATE ON public.job_reservations TO viral_auth;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.begin_jobs(worker uuid, lane text, known uuid[], age interval)
 RETURNS integer
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
 SET lock_timeout TO '250ms'
AS $function$
  WITH ended AS (
    DELETE FROM public.job_reservations AS r
    WHERE r.worker_id = worker AND (lane IS NULL OR r.queue = lane) AND r.made_at <= now() - age
    RETURNING r.jobs, r.made_at
  ), begun AS (
    UPDATE public.job_queue AS j
    SET status = 'running', worker_id = worker, attempts = j.attempts + 1,
        started_at = h.made_at, error_message = NULL, progress = 0
    FROM (SELECT unnest(e.jobs) AS id, e.made_at FROM ended AS e) AS h
    WHERE j.id = h.id AND j.status = 'pending' AND j.scheduled_for <= h.made_at
      AND (known IS NULL OR h.id IN (SELECT unnest(known)))
    RETURNING 1
  )
  SELECT count(*)::integer FROM begun
$function$
;

REVOKE ALL ON FUNCTION viral.begin_jobs(uuid, text, uuid[], interval) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.claim_jobs(worker uuid, lane text, wanted integer, after uuid, running_limit integer, rate_limit integer, rate_span interval, may_suspect boolean)
 RETURNS TABLE(id uuid, tenant_id uuid, job_type text, attempt integer, crashes integer, has_payload boolean, place uuid)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
 SET lock_timeout TO '5s'
AS $function$
DECLARE
  places constant integer := CASE WHEN running_limit IS NULL AND rate_limit IS NULL
    THEN least(wanted, 64) ELSE 256 END;
  ring uuid[];
  chosen tid[] := '{}';
  suspect tid;
  share integer;
BEGIN
  IF wanted < 1 THEN
    RETURN;
  END IF;
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('lane:' || lane, 0));
  ring := viral.next_places(lane, after, places);
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
          AND j.id NOT IN (
            SELECT unnest(o.jobs) FROM public.job_reservations AS o WHERE o.queue = lane)
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

CREATE OR REPLACE FUNCTION viral.enqueue_jobs(context text, ids uuid[], job_type text, queue text, payloads jsonb[], priority integer, max_attempts integer, dedupe_key text, delay interval, batch uuid, wakes boolean)
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
  IF dedupe_key IS NULL THEN
    -- Without a key nothing can be in the way, and looking for it takes a tenth of the time.
    INSERT INTO public.job_queue (id, tenant_id, job_type, queue, payload, priority, max_attempts,
      batch_id, is_due, scheduled_for)
    SELECT given.id, mine, enqueue_jobs.job_type, enqueue_jobs.queue, given.payload,
      enqueue_jobs.priority, enqueue_jobs.max_attempts, batch, delay <= interval '0', now() + delay
    FROM unnest(ids, payloads) AS given (id, payload);
  ELSE
    INSERT INTO public.job_queue (id, tenant_id, job_type, queue, payload, priority, max_attempts,
      dedupe_key, batch_id, is_due, scheduled_for)
    SELECT given.id, mine, enqueue_jobs.job_type, enqueue_jobs.queue, given.payload,
      enqueue_jobs.priority, enqueue_jobs.max_attempts, enqueue_jobs.dedupe_key, batch,
      delay <= interval '0', now() + delay
    FROM unnest(ids, payloads) AS given (id, payload)
    ON CONFLICT DO NOTHING;
  END IF;
  GET DIAGNOSTICS made = ROW_COUNT;
  IF wakes THEN
    NOTIFY viral_jobs;
  END IF;
  RETURN made;
END
$function$
;

REVOKE ALL ON FUNCTION viral.enqueue_jobs(text, uuid[], text, text, jsonb[], integer, integer, text, interval, uuid, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.exchange_jobs(worker uuid, jobs uuid[], tries integer[], outcomes jsonb[], failures text[], retries_s double precision[], lane text, wanted integer, after uuid, running_limit integer, rate_limit integer, rate_span interval, may_suspect boolean, contexts text[])
 RETURNS TABLE(id uuid, tenant_id uuid, job_type text, attempt integer, crashes integer, has_payload boolean, place uuid, payload text)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
 SET lock_timeout TO '250ms'
AS $function$
DECLARE
  owners uuid[];
BEGIN
  IF cardinality(jobs) > 0 THEN
    RETURN QUERY
      SELECT f.id, NULL::uuid, NULL::text, 0, NULL::integer, NULL::boolean, NULL::uuid, NULL::text
      FROM viral.finish_jobs(worker, jobs, tries, outcomes, failures, retries_s) AS f (id);
  END IF;
  IF wanted < 1 THEN
    RETURN;
  END IF;
  owners := viral.owners_of(contexts);
  RETURN QUERY
    SELECT c.*, CASE WHEN c.has_payload AND c.tenant_id = ANY (owners) THEN (
      SELECT p.payload::text FROM public.job_queue AS p WHERE p.id = c.id) END
    FROM viral.claim_jobs(
      worker, lane, wanted, after, running_limit, rate_limit, rate_span, may_suspect) AS c;
END
$function$
;

REVOKE ALL ON FUNCTION viral.exchange_jobs(uuid, uuid[], integer[], jsonb[], text[], double precision[], text, integer, uuid, integer, integer, interval, boolean, text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.finish_jobs(worker uuid, jobs uuid[], tries integer[], outcomes jsonb[], failures text[], retries_s double precision[])
 RETURNS SETOF uuid
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
DECLARE
  held record;
  kept uuid[];
  broken uuid[];
  awaited uuid[];
  awaited_too uuid[];
  passed uuid[];
  passed_too uuid[];
BEGIN
  -- Reservations before jobs, as in `begin_jobs`: who takes them the other way round waits for ever.
  PERFORM FROM public.job_reservations AS r WHERE r.worker_id = worker ORDER BY r.id FOR UPDATE;
  SELECT r.* INTO held FROM viral.reserved_jobs(worker, jobs) AS r;
  WITH ended AS (
    UPDATE public.job_queue AS j
    SET status = 'completed', result = coalesce(e.outcome, '{}'), worker_id = NULL, progress = 100,
        attempts = e.attempt, completed_at = now(), error_message = NULL,
        started_at = CASE j.status WHEN 'running' THEN j.started_at ELSE e.since END
    FROM unnest(jobs, tries, outcomes, failures, held.since, held.reservations)
      AS e (id, attempt, outcome, failure, since, reservation)
    WHERE j.id = e.id AND e.failure IS NULL AND (
      j.worker_id = worker AND j.attempts = e.attempt
      OR j.status = 'pending' AND j.attempts = e.attempt - 1 AND j.scheduled_for <= e.since)
    RETURNING j.id, j.is_awaited, e.reservation
  )
  SELECT array_agg(ended.id), array_agg(ended.id) FILTER (WHERE ended.is_awaited),
         array_agg(ended.reservation) FILTER (WHERE ended.reservation IS NOT NULL)
  INTO kept, awaited, passed FROM ended;
  IF cardinality(array_remove(failures, NULL)) > 0 THEN
    WITH ended AS (
      UPDATE public.job_queue AS j
      SET status = CASE WHEN f.is_retried THEN 'pending' ELSE 'failed' END,
          error_message = f.failure, worker_id = NULL, is_due = NOT f.is_retried,
          attempts = f.attempt,
          started_at = CASE j.status WHEN 'running' THEN j.started_at ELSE f.since END,
          -- Later than the reservation, at which an attempt without a pause would be taken for it.
          scheduled_for = CASE WHEN f.is_retried
            THEN clock_timestamp() + make_interval(secs => f.retry_s) ELSE j.scheduled_for END,
          completed_at = CASE WHEN f.is_retried THEN NULL ELSE now() END
      FROM (
        SELECT e.*, e.retry_s IS NOT NULL AND e.attempt < o.max_attempts AS is_retried
        FROM unnest(jobs, tries, failures, retries_s, held.since, held.reservations)
          AS e (id, attempt, failure, retry_s, since, reservation)
        JOIN public.job_queue AS o ON o.id = e.id
        WHERE e.failure IS NOT NULL
      ) AS f
      WHERE j.id = f.id AND (
        j.worker_id = worker AND j.attempts = f.attempt
        OR j.status = 'pending' AND j.attempts = f.attempt - 1 AND j.scheduled_for <= f.since)
      RETURNING j.id, j.is_awaited AND j.status = 'failed' AS is_settled, f.reservation
    )
    SELECT array_agg(ended.id), array_agg(ended.id) FILTER (WHERE ended.is_settled),
           array_agg(ended.reservation) FILTER (WHERE ended.reservation IS NOT NULL)
    INTO broken, awaited_too, passed_too FROM ended;
  END IF;
  IF passed IS NOT NULL OR passed_too IS NOT NULL THEN
    UPDATE public.job_reservations AS r SET open = r.open - p.jobs
    FROM (
      SELECT u.id, count(*) AS jobs FROM unnest(passed || passed_too) AS u (id) GROUP BY u.id
    ) AS p
    WHERE r.id = p.id;
    DELETE FROM public.job_reservations AS r WHERE r.worker_id = worker AND r.open <= 0;
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
$function$
;

REVOKE ALL ON FUNCTION viral.job_stats() FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.jobs_at_work()
 RETURNS SETOF uuid
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  SELECT j.id
  FROM (
    SELECT unnest(r.jobs) AS id, r.made_at FROM public.job_reservations AS r
  ) AS h
  JOIN public.job_queue AS j ON j.id = h.id
  WHERE j.tenant_id = (SELECT viral.tenant_id())
    AND j.status = 'pending' AND j.scheduled_for <= h.made_at
$function$
;

REVOKE ALL ON FUNCTION viral.jobs_at_work() FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.jobs_of_all(of_status text, of_type text, before uuid, at_most integer)
 RETURNS TABLE(id uuid, scope text, tenant_id uuid, queue text, job_type text, status text, priority integer, attempts integer, max_attempts integer, crashes integer, progress integer, error_message text, worker_id uuid, created_at timestamp with time zone, scheduled_for timestamp with time zone, started_at timestamp with time zone, completed_at timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
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
$function$
;

REVOKE ALL ON FUNCTION viral.jobs_of_all(text, text, uuid, integer) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.begin_jobs(uuid, text, uuid[], interval) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.enqueue_jobs(text, uuid[], text, text, jsonb[], integer, integer, text, interval, uuid, boolean) TO viral_app;

GRANT EXECUTE ON FUNCTION viral.exchange_jobs(uuid, uuid[], integer[], jsonb[], text[], double precision[], text, integer, uuid, integer, integer, interval, boolean, text[]) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.jobs_at_work() TO viral_app;

SET LOCAL ROLE viral_owner;
