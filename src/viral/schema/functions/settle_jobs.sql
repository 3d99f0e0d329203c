-- Tell those who wait that jobs have ended: the completed let their children go on, the others
-- take their children with them.
CREATE FUNCTION viral.settle_jobs(ended uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  gone uuid[];
BEGIN
  UPDATE public.job_queue AS j
  SET waits_for = nullif(j.waits_for - done.ids, '[]'),
      status = CASE WHEN j.waits_for - done.ids = '[]' THEN 'pending' ELSE j.status END
  FROM (
    SELECT array_agg(c.id::text) AS ids FROM public.job_queue AS c
    WHERE c.id = ANY (ended) AND c.status = 'completed'
  ) AS done
  WHERE j.status = 'blocked' AND j.waits_for ?| done.ids;
  SELECT array_agg(j.id) INTO gone FROM public.job_queue AS j
  WHERE j.id = ANY (ended) AND j.status IN ('failed', 'canceled');
  WHILE gone IS NOT NULL LOOP
    WITH canceled AS (
      UPDATE public.job_queue AS j
      SET status = 'canceled', completed_at = now(),
          error_message = 'a job that this one waits for did not complete'
      WHERE j.status = 'blocked' AND j.waits_for ?| gone::text[]
      RETURNING j.id
    )
    SELECT array_agg(c.id) INTO gone FROM canceled AS c;
  END LOOP;
END
$$
