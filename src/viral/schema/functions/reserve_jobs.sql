-- Claim as `claim_jobs` does, for a worker whose jobs take no longer than the marking of them: one
-- row names them all, and theirs are not touched before they end. Nobody else takes them while it
-- stands. A job with a key against twins is marked, as the key must not outlast its start; where
-- there is a suspect, this is a claim. One worker of a lane at a time: who comes next sees the row.
CREATE FUNCTION viral.reserve_jobs(
  worker uuid, lane text, wanted integer, after uuid, may_suspect boolean, contexts text[]
) RETURNS TABLE (
  id uuid, tenant_id uuid, job_type text, attempt integer, crashes integer, has_payload boolean,
  place uuid, payload text
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET lock_timeout = '5s'
AS $$
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
$$
