-- Since when, and by which reservation, a worker holds each of these jobs; null where it is not by
-- one. A moment is part of what is held: a job that was put back later is nobody's.
CREATE FUNCTION viral.reserved_jobs(
  worker uuid, jobs uuid[], OUT since timestamptz[], OUT reservations uuid[]
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
SET enable_nestloop = off SET enable_mergejoin = off
AS $$
  SELECT array_agg(h.made_at ORDER BY g.position), array_agg(h.id ORDER BY g.position)
  FROM unnest(jobs) WITH ORDINALITY AS g (id, position)
  LEFT JOIN (
    SELECT r.id, r.made_at, unnest(r.jobs) AS job FROM public.job_reservations AS r
    WHERE r.worker_id = worker
  ) AS h ON h.job = g.id
$$
