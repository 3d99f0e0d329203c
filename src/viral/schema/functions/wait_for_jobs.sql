-- Make a new job of the tenant wait until others are completed: how many of them are still open.
-- The others are locked first: one that ends meanwhile is either seen as ended or sees who waits.
CREATE FUNCTION viral.wait_for_jobs(job uuid, parents uuid[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  mine uuid := viral.tenant_id();
  found uuid[];
  hopeless uuid;
  open uuid[];
BEGIN
  WITH locked AS (
    UPDATE public.job_queue AS j SET is_awaited = true
    WHERE j.id = ANY (parents) AND j.tenant_id = mine AND j.id <> job
    RETURNING j.id, j.status
  )
  SELECT array_agg(l.id),
         (array_agg(l.id) FILTER (WHERE l.status IN ('failed', 'canceled')))[1],
         coalesce(array_agg(l.id) FILTER (
           WHERE l.status IN ('pending', 'blocked', 'running')), '{}')
  INTO found, hopeless, open
  FROM locked AS l;
  IF NOT parents <@ coalesce(found, '{}') THEN
    RAISE EXCEPTION 'no such job' USING ERRCODE = 'VT404';
  ELSIF hopeless IS NOT NULL THEN
    RAISE EXCEPTION 'job % has failed or was canceled', hopeless USING ERRCODE = 'VT409';
  END IF;
  UPDATE public.job_queue AS j SET status = 'blocked', waits_for = to_jsonb(open)
  WHERE j.id = job AND j.tenant_id = mine AND j.status = 'pending' AND cardinality(open) > 0;
  RETURN cardinality(open);
END
$$
