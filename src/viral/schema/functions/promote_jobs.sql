-- Make due what has waited for its moment: how many, and the seconds until the next one (null:
-- nothing waits).
CREATE FUNCTION viral.promote_jobs()
RETURNS TABLE (promoted integer, next_in_s double precision)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
BEGIN
  UPDATE public.job_queue AS j SET is_due = true
  WHERE j.id IN (
    SELECT d.id FROM public.job_queue AS d
    WHERE d.status = 'pending' AND NOT d.is_due AND d.scheduled_for <= now()
    ORDER BY d.scheduled_for LIMIT 1000 FOR UPDATE SKIP LOCKED
  );
  GET DIAGNOSTICS promoted = ROW_COUNT;
  SELECT extract(epoch FROM d.scheduled_for - now()) INTO next_in_s FROM public.job_queue AS d
  WHERE d.status = 'pending' AND NOT d.is_due
  ORDER BY d.scheduled_for LIMIT 1;
  RETURN NEXT;
END
$$
