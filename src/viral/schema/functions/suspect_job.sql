-- Lock one job whose process died in the middle of it: the most urgent of a lane, whoever's it is.
CREATE FUNCTION viral.suspect_job(lane text, running_limit integer) RETURNS tid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
SET enable_seqscan = off
AS $$
  SELECT j.ctid FROM public.job_queue AS j
  WHERE j.status = 'pending' AND j.is_due AND j.crashes > 0 AND j.queue = lane
    AND j.scheduled_for <= now()
    AND (running_limit IS NULL OR running_limit > (
      SELECT count(*) FROM public.job_queue AS o
      WHERE o.status = 'running' AND o.queue = lane AND o.place = j.place))
  ORDER BY j.priority DESC, j.id LIMIT 1 FOR UPDATE SKIP LOCKED
$$
