-- Cancel jobs of the tenant that have not ended: those that were. What runs is ended by its worker,
-- and whatever it still hands in is refused.
CREATE FUNCTION viral.cancel_jobs(jobs uuid[]) RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  canceled uuid[];
BEGIN
  WITH ended AS (
    UPDATE public.job_queue AS j
    SET status = 'canceled', worker_id = NULL, completed_at = now()
    WHERE j.id = ANY (jobs) AND j.tenant_id = (SELECT viral.tenant_id())
      AND j.status IN ('pending', 'blocked', 'running')
    RETURNING j.id
  )
  SELECT array_agg(e.id) INTO canceled FROM ended AS e;
  PERFORM viral.settle_jobs(coalesce(canceled, '{}'));
  RETURN QUERY SELECT unnest(canceled);
END
$$
