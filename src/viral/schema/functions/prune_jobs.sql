-- Delete up to `at_most` jobs that ended longer ago than they are kept: how many. Failed ones wait
-- longer for somebody who looks. Ids begin with the time (RFC 9562), so the key finds the oldest.
CREATE FUNCTION viral.prune_jobs(kept interval, failed_kept interval, at_most integer)
RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH pruned AS (
    DELETE FROM public.job_queue AS j
    WHERE j.id IN (
      SELECT o.id FROM public.job_queue AS o
      WHERE o.id < (SELECT viral.first_id_at(now() - kept))
        AND o.completed_at < now() - CASE WHEN o.status = 'failed' THEN failed_kept ELSE kept END
      ORDER BY o.id LIMIT at_most FOR UPDATE SKIP LOCKED
    )
    RETURNING 1
  ), effects AS (
    DELETE FROM public.job_effects AS e
    WHERE (e.tenant_id, e.id) IN (
      SELECT o.tenant_id, o.id FROM public.job_effects AS o
      WHERE o.begun_at < now() - failed_kept LIMIT at_most
    )
  )
  SELECT count(*)::integer FROM pruned
$$
