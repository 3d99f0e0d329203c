-- The person of an open session, their password's hash, and whether a link let them in within the
-- last quarter of an hour: then a forgotten password may be replaced.
CREATE FUNCTION viral.password_of_session(session_sha256 bytea)
RETURNS TABLE (user_id uuid, hash text, is_by_fresh_link boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT u.id, u.password_hash,
         s.method = 'link' AND s.opened_at > now() - interval '15 minutes'
  FROM public.sessions AS s
  JOIN public.users AS u ON u.id = s.user_id
  WHERE s.token_sha256 = session_sha256 AND s.opened_at IS NOT NULL AND s.ended_at IS NULL
    AND s.expires_at > now()
$$
