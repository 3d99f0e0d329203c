-- Forget counts of rates that no longer limit anybody, and sessions that ended a month ago.
CREATE FUNCTION viral.prune_access() RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH counts AS (
    DELETE FROM viral.rate_limits AS r WHERE r.arrival_at < now() RETURNING 1
  ), sessions AS (
    DELETE FROM public.sessions AS s
    WHERE least(s.ended_at, s.expires_at) < now() - interval '30 days' RETURNING 1
  )
  SELECT ((SELECT count(*) FROM counts) + (SELECT count(*) FROM sessions))::integer
$$
