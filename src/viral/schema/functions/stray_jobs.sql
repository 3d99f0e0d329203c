-- What a worker holds of a lane without knowing it, as the answer to a claim was lost.
CREATE FUNCTION viral.stray_jobs(worker uuid, lane text, known uuid[])
RETURNS TABLE (id uuid, attempt integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
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
$$
