-- Pass one moment of a schedule: false when another worker did. The job, where one is wanted, comes
-- into the queue in the same transaction; a twin that still waits is as good.
CREATE FUNCTION viral.fire_schedule(
  schedule uuid, due_at timestamptz, next_at timestamptz, job uuid, tries integer
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  passed record;
BEGIN
  UPDATE public.job_schedules AS s
  SET next_at = fire_schedule.next_at,
      last_at = CASE WHEN job IS NULL THEN s.last_at ELSE now() END
  WHERE s.id = schedule AND s.next_at = due_at AND NOT s.is_paused
  RETURNING s.name, s.job_type, s.queue INTO passed;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO public.job_queue (id, scope, job_type, queue, max_attempts, dedupe_key)
  SELECT job, 'system', passed.job_type, passed.queue, tries, 'schedule ' || passed.name
  WHERE job IS NOT NULL
  ON CONFLICT DO NOTHING;
  RETURN true;
END
$$
