-- Claim up to `wanted` waiting jobs, round the ring of those who have any, from `after` on: a place
-- in the ring is a tenant, or all system jobs together. Within a place the priority decides.
-- Routing columns only: a payload is read as the job's tenant. The last row, without a job, says
-- how far the ring was passed; its `attempt` is 1 where more may wait.
-- Of the jobs whose process died in the middle of them, one at most, and only where `may_suspect`:
-- it may be what killed it, and no other is to go down with it again.
-- The key against twins holds while a job waits: given back, it must not stand in a twin's way.
-- Beside other claims, but not beside reservations: a lock on their rows is not what keeps them.
CREATE FUNCTION viral.claim_jobs(
  worker uuid, lane text, wanted integer, after uuid, running_limit integer, rate_limit integer,
  rate_span interval, may_suspect boolean
) RETURNS TABLE (
  id uuid, tenant_id uuid, job_type text, attempt integer, crashes integer, has_payload boolean,
  place uuid
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan SET lock_timeout = '5s'
AS $$
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
$$
