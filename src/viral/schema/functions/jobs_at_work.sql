-- The jobs of the tenant that a worker has reserved: they run, or will within milliseconds, though
-- their rows do not say so yet.
CREATE FUNCTION viral.jobs_at_work() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT j.id
  FROM (
    SELECT unnest(r.jobs) AS id, r.made_at FROM public.job_reservations AS r
  ) AS h
  JOIN public.job_queue AS j ON j.id = h.id
  WHERE j.tenant_id = (SELECT viral.tenant_id())
    AND j.status = 'pending' AND j.scheduled_for <= h.made_at
$$
