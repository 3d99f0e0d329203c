-- Forget counts of rates that no longer limit anybody, sessions that ended a month ago, and answers
-- of yesterday's requests that are kept for whoever repeats them.
CREATE FUNCTION viral.prune_access() RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH counts AS (
    DELETE FROM viral.rate_limits AS r WHERE r.arrival_at < now() RETURNING 1
  ), sessions AS (
    DELETE FROM public.sessions AS s
    WHERE least(s.ended_at, s.expires_at) < now() - interval '30 days' RETURNING 1
  ), answers AS (
    DELETE FROM public.idempotency_keys AS k
    WHERE k.begun_at < now() - interval '1 day' RETURNING 1
  )
  SELECT ((SELECT count(*) FROM counts) + (SELECT count(*) FROM sessions)
    + (SELECT count(*) FROM answers))::integer
$$
