-- The schedules whose moment has come, and the database's time: the caller computes the next one.
CREATE FUNCTION viral.due_schedules()
RETURNS TABLE (
  id uuid, name text, job_type text, cron text, time_zone text, missed text,
  due_at timestamptz, moment timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT s.id, s.name, s.job_type, s.cron, s.time_zone, s.missed, s.next_at, now()
  FROM public.job_schedules AS s WHERE NOT s.is_paused AND s.next_at <= now()
$$
