-- Take back the jobs of workers whose lock is free or who were silent too long: how many. The first
-- time a job goes on at once, then it waits longer each time. A worker never takes its own lock for
-- free: the one who holds a lock gets it again.
CREATE FUNCTION viral.reap_jobs(worker uuid, silence interval) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
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
$$
