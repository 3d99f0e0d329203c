-- Lock up to `wanted` jobs of one place of a lane with limits: no more run at once than
-- `running_limit`, and no more start in `rate_span` than `rate_limit`. Nothing while another worker
-- decides for the same place.
CREATE FUNCTION viral.allowed_jobs(
  lane text, owner uuid, wanted integer, running_limit integer, rate_limit integer,
  rate_span interval
) RETURNS tid[]
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
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
$$
