-- A narrow claim.

-- step: expand: functions from lost_jobs to suspect_job
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.lost_jobs(worker uuid, jobs uuid[], tries integer[])
 RETURNS SETOF uuid
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  SELECT g.id FROM viral.reserved_jobs(worker, jobs) AS r
  CROSS JOIN LATERAL unnest(jobs, tries, r.since) AS g (id, attempt, since)
  WHERE NOT EXISTS (
    SELECT FROM public.job_queue AS j
    WHERE j.id = g.id AND (
      j.status = 'running' AND j.worker_id = worker AND j.attempts = g.attempt
      OR j.status = 'pending' AND j.attempts = g.attempt - 1 AND j.scheduled_for <= g.since)
  )
$function$
;

REVOKE ALL ON FUNCTION viral.lost_jobs(uuid, uuid[], integer[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.next_places(lane text, after uuid, wanted integer)
 RETURNS uuid[]
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  ring uuid[] := viral.waiting_places(lane, after, wanted);
  wrapped uuid[];
BEGIN
  IF cardinality(ring) < wanted THEN
    wrapped := viral.waiting_places(
      lane, '00000000-0000-0000-0000-000000000000', wanted - cardinality(ring));
    ring := ring || ARRAY(SELECT w.place FROM unnest(wrapped) AS w (place) WHERE w.place <= after);
  END IF;
  RETURN ring;
END
$function$
;

REVOKE ALL ON FUNCTION viral.next_places(text, uuid, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.owners_of(contexts text[])
 RETURNS uuid[]
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  SELECT array_agg(c.tenant_id) FROM unnest(contexts) AS g (token)
  JOIN viral.tenant_contexts AS c ON c.token_sha256 = sha256(convert_to(g.token, 'UTF8'))
$function$
;

REVOKE ALL ON FUNCTION viral.owners_of(text[]) FROM PUBLIC;

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
  PERFORM viral.begin_jobs(g.id, NULL, NULL, '0 s') FROM unnest(gone) AS g (id);
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
  ), dropped AS (
    UPDATE public.job_reservations AS r
    SET jobs = ARRAY(SELECT h.id FROM unnest(r.jobs) AS h (id) WHERE h.id NOT IN (
          SELECT unnest(release_jobs.jobs))),
        open = r.open - d.jobs
    FROM (
      SELECT o.id, count(*)::integer AS jobs
      FROM public.job_reservations AS o CROSS JOIN LATERAL unnest(o.jobs) AS h (id)
      WHERE o.worker_id = worker AND h.id IN (SELECT unnest(release_jobs.jobs))
      GROUP BY o.id
    ) AS d
    WHERE r.id = d.id
    RETURNING d.jobs
  )
  SELECT (SELECT count(*) FROM released)::integer
       + coalesce((SELECT sum(d.jobs) FROM dropped AS d), 0)::integer
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
    UPDATE public.job_queue AS j
    SET progress = percent, status = 'running', worker_id = worker, attempts = attempt,
        started_at = CASE j.status WHEN 'running' THEN j.started_at ELSE r.since[1] END,
        error_message = NULL
    FROM viral.reserved_jobs(worker, ARRAY[job]) AS r
    WHERE j.id = job AND (
      j.status = 'running' AND j.worker_id = worker AND j.attempts = attempt
      OR j.status = 'pending' AND j.attempts = attempt - 1 AND j.scheduled_for <= r.since[1])
    RETURNING 1
  )
  SELECT EXISTS (SELECT FROM told)
$function$
;

REVOKE ALL ON FUNCTION viral.report_progress(uuid, uuid, integer, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.reserve_jobs(worker uuid, lane text, wanted integer, after uuid, may_suspect boolean, contexts text[])
 RETURNS TABLE(id uuid, tenant_id uuid, job_type text, attempt integer, crashes integer, has_payload boolean, place uuid, payload text)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
 SET lock_timeout TO '5s'
AS $function$
DECLARE
  places constant integer := least(wanted, 64);
  owners constant uuid[] := viral.owners_of(contexts);
  ring uuid[];
  taken integer;
BEGIN
  IF may_suspect AND viral.suspect_job(lane, NULL) IS NOT NULL THEN
    RETURN QUERY SELECT * FROM viral.exchange_jobs(
      worker, NULL, NULL, NULL, NULL, NULL, lane, wanted, after, NULL, NULL, NULL, true, contexts);
    RETURN;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('lane:' || lane, 0));
  ring := viral.next_places(lane, after, places);
  IF cardinality(ring) = 0 THEN
    RETURN;
  END IF;
  RETURN QUERY
    WITH found AS MATERIALIZED (
      SELECT w.* FROM unnest(ring) WITH ORDINALITY AS r (place, position)
      CROSS JOIN LATERAL (
        SELECT j.id, j.tenant_id, j.job_type, j.attempts + 1 AS attempt, j.crashes,
               j.payload <> '{}' AS has_payload, NULL::uuid AS place,
               CASE WHEN j.payload <> '{}' AND j.tenant_id = ANY (owners)
                 THEN j.payload::text END AS payload,
               j.dedupe_key IS NOT NULL AS is_keyed
        FROM public.job_queue AS j
        WHERE j.status = 'pending' AND j.is_due AND j.queue = lane
          AND j.place = r.place
          AND j.crashes = 0 AND j.scheduled_for <= now()
          AND j.id NOT IN (
            SELECT unnest(o.jobs) FROM public.job_reservations AS o WHERE o.queue = lane)
        ORDER BY j.priority DESC, j.id
        LIMIT ceil(wanted::numeric / cardinality(ring))
      ) AS w
      ORDER BY r.position LIMIT wanted
    ), made AS (
      INSERT INTO public.job_reservations (id, worker_id, queue, jobs, open)
      SELECT gen_random_uuid(), worker, lane, array_agg(f.id), count(*) FROM found AS f
      WHERE NOT f.is_keyed HAVING count(*) > 0
    ), marked AS (
      UPDATE public.job_queue AS j
      SET status = 'running', worker_id = worker, attempts = j.attempts + 1, started_at = now(),
          error_message = NULL, dedupe_key = NULL, progress = 0
      -- By an array, and not by a join, which would be planned for many, and walk the whole key.
      WHERE j.id = ANY (ARRAY(
        SELECT k.id FROM public.job_queue AS k
        WHERE k.id = ANY (ARRAY(SELECT f.id FROM found AS f WHERE f.is_keyed))
          AND k.status = 'pending'
        FOR UPDATE SKIP LOCKED))
      RETURNING j.id
    )
    SELECT f.id, f.tenant_id, f.job_type, f.attempt, f.crashes, f.has_payload, f.place, f.payload
    FROM found AS f WHERE NOT f.is_keyed OR f.id IN (SELECT m.id FROM marked AS m);
  GET DIAGNOSTICS taken = ROW_COUNT;
  RETURN QUERY SELECT NULL::uuid, NULL::uuid, NULL::text,
    (cardinality(ring) >= places OR taken >= wanted)::integer, NULL::integer, NULL::boolean,
    ring[cardinality(ring)], NULL::text;
END
$function$
;

REVOKE ALL ON FUNCTION viral.reserve_jobs(uuid, text, integer, uuid, boolean, text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.reserved_jobs(worker uuid, jobs uuid[], OUT since timestamp with time zone[], OUT reservations uuid[])
 RETURNS record
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
 SET enable_nestloop TO 'off'
 SET enable_mergejoin TO 'off'
AS $function$
  SELECT array_agg(h.made_at ORDER BY g.position), array_agg(h.id ORDER BY g.position)
  FROM unnest(jobs) WITH ORDINALITY AS g (id, position)
  LEFT JOIN (
    SELECT r.id, r.made_at, unnest(r.jobs) AS job FROM public.job_reservations AS r
    WHERE r.worker_id = worker
  ) AS h ON h.job = g.id
$function$
;

REVOKE ALL ON FUNCTION viral.reserved_jobs(uuid, uuid[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.retry_jobs(jobs uuid[])
 RETURNS SETOF uuid
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  UPDATE public.job_queue AS j
  SET status = 'pending', is_due = true, scheduled_for = clock_timestamp(), attempts = 0, crashes = 0,
      progress = 0, dedupe_key = NULL, waits_for = NULL, result = NULL, error_message = NULL,
      completed_at = NULL
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
  UNION ALL
  SELECT j.id, j.attempts + 1
  FROM (
    SELECT unnest(r.jobs) AS id, r.made_at FROM public.job_reservations AS r
    WHERE r.worker_id = worker AND r.queue = lane
  ) AS h
  JOIN public.job_queue AS j ON j.id = h.id
  WHERE j.status = 'pending' AND j.scheduled_for <= h.made_at AND NOT j.id = ANY (known)
$function$
;

REVOKE ALL ON FUNCTION viral.stray_jobs(uuid, text, uuid[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.suspect_job(lane text, running_limit integer)
 RETURNS tid
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
AS $function$
DECLARE
  candidate record;
BEGIN
  SELECT j.ctid, j.place INTO candidate FROM public.job_queue AS j
  WHERE j.status = 'pending' AND j.is_due AND j.crashes > 0 AND j.queue = lane
    AND j.scheduled_for <= now()
    AND (running_limit IS NULL OR running_limit > (
      SELECT count(*) FROM public.job_queue AS o
      WHERE o.status = 'running' AND o.queue = lane AND o.place = j.place))
  ORDER BY j.priority DESC, j.id LIMIT 1 FOR UPDATE SKIP LOCKED;
  IF running_limit IS NULL OR candidate.ctid IS NULL THEN
    RETURN candidate.ctid;
  END IF;
  -- Counted again under the lock: another worker may have decided in between.
  IF pg_try_advisory_xact_lock(hashtextextended(lane || candidate.place::text, 0))
    AND running_limit > (
      SELECT count(*) FROM public.job_queue AS o
      WHERE o.status = 'running' AND o.queue = lane AND o.place = candidate.place)
  THEN
    RETURN candidate.ctid;
  END IF;
  RETURN NULL;
END
$function$
;

REVOKE ALL ON FUNCTION viral.suspect_job(text, integer) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.reserve_jobs(uuid, text, integer, uuid, boolean, text[]) TO viral_worker;

SET LOCAL ROLE viral_owner;

-- step: contract: drop function viral.enqueue_jobs(text, uuid[], text, text, jsonb[], integer, integer, text, interval, uuid), drop function viral.exchange_jobs(uuid, uuid[], integer[], jsonb[], text[], double precision[], text, integer, uuid, integer, integer, interval, boolean)
SET LOCAL ROLE viral_auth;

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.enqueue_jobs(text, uuid[], text, text, jsonb[], integer, integer, text, interval, uuid);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.exchange_jobs(uuid, uuid[], integer[], jsonb[], text[], double precision[], text, integer, uuid, integer, integer, interval, boolean);

SET LOCAL ROLE viral_owner;
