-- Lock one job whose process died in the middle of it: the most urgent of a lane, whoever's it is.
-- In a lane with limits nobody else decides for its place meanwhile, as in `allowed_jobs`.
CREATE FUNCTION viral.suspect_job(lane text, running_limit integer) RETURNS tid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
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
$$
