-- The next places of the ring after one, each by one look into the index: O(places * log jobs).
CREATE FUNCTION viral.waiting_places(lane text, after uuid, wanted integer) RETURNS uuid[]
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
AS $$
  WITH RECURSIVE ring (place, position) AS (
    (SELECT j.place, 1
     FROM public.job_queue AS j
     WHERE j.status = 'pending' AND j.is_due AND j.crashes = 0 AND j.queue = lane
       AND j.place > after
     ORDER BY j.place
     LIMIT 1)
    UNION ALL
    SELECT n.place, ring.position + 1
    FROM ring CROSS JOIN LATERAL (
      SELECT j.place
      FROM public.job_queue AS j
      WHERE j.status = 'pending' AND j.is_due AND j.crashes = 0 AND j.queue = lane
        AND j.place > ring.place
      ORDER BY j.place
      LIMIT 1
    ) AS n
    WHERE ring.position < wanted
  )
  SELECT coalesce(array_agg(ring.place ORDER BY ring.position), '{}') FROM ring
$$
