-- Jobs in one array.

-- step: expand: create function viral.enqueue_jobs(text, uuid[], text, text, jsonb, integer, integer, text, interval, uuid, boolean), change function viral.exchange_jobs(uuid, uuid[], integer[], jsonb[], text[], double precision[], text, integer, uuid, integer, integer, interval, boolean, text[]) and 2 more
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.enqueue_jobs(context text, ids uuid[], job_type text, queue text, payloads jsonb, priority integer, max_attempts integer, dedupe_key text, delay interval, batch uuid, wakes boolean)
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
    FROM ROWS FROM (unnest(ids), jsonb_array_elements(payloads)) AS given (id, payload);
  ELSE
    INSERT INTO public.job_queue (id, tenant_id, job_type, queue, payload, priority, max_attempts,
      dedupe_key, batch_id, is_due, scheduled_for)
    SELECT given.id, mine, enqueue_jobs.job_type, enqueue_jobs.queue, given.payload,
      enqueue_jobs.priority, enqueue_jobs.max_attempts, enqueue_jobs.dedupe_key, batch,
      delay <= interval '0', now() + delay
    FROM ROWS FROM (unnest(ids), jsonb_array_elements(payloads)) AS given (id, payload)
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

REVOKE ALL ON FUNCTION viral.enqueue_jobs(text, uuid[], text, text, jsonb, integer, integer, text, interval, uuid, boolean) FROM PUBLIC;

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
  IF jobs IS NULL OR cardinality(jobs) = 0 THEN
    -- A claim that is lost with the server is made again: it need not wait for the disk.
    PERFORM set_config('synchronous_commit', 'off', true);
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
  -- What is lost with the server is reserved again: it need not wait for the disk.
  PERFORM set_config('synchronous_commit', 'off', true);
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

GRANT EXECUTE ON FUNCTION viral.enqueue_jobs(text, uuid[], text, text, jsonb, integer, integer, text, interval, uuid, boolean) TO viral_app;

SET LOCAL ROLE viral_owner;

-- step: contract: drop function viral.enqueue_jobs(text, uuid[], text, text, jsonb[], integer, integer, text, interval, uuid, boolean)
SET LOCAL ROLE viral_auth;

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.enqueue_jobs(text, uuid[], text, text, jsonb[], integer, integer, text, interval, uuid, boolean);

SET LOCAL ROLE viral_owner;
