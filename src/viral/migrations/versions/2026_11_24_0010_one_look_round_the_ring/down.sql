-- Take back: One look round the ring.

-- step: expand: change function viral.next_places(text, uuid, integer), change function viral.suspect_job(text, integer)
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

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

SET LOCAL ROLE viral_owner;
