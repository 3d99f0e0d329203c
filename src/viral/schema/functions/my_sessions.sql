-- Where the person of a session is signed in, the newest first; nothing that opens one.
CREATE FUNCTION viral.my_sessions(session_sha256 bytea)
RETURNS TABLE (
  tenant_name text, method text, opened_at timestamptz, last_seen_at timestamptz,
  is_current boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT t.name, s.method, s.opened_at, s.last_seen_at, s.id = mine.id
  FROM public.sessions AS mine
  JOIN public.sessions AS s ON s.user_id = mine.user_id AND s.opened_at IS NOT NULL
    AND s.ended_at IS NULL AND s.expires_at > now()
  JOIN public.tenants AS t ON t.id = s.tenant_id
  WHERE mine.token_sha256 = session_sha256 AND mine.opened_at IS NOT NULL
    AND mine.ended_at IS NULL AND mine.expires_at > now()
  ORDER BY s.last_seen_at DESC, s.id
$$
