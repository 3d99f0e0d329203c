-- Who an open session belongs to, by the hash of its token; no row when it has ended.
CREATE FUNCTION viral.session_identity(session_sha256 bytea)
RETURNS TABLE (user_id uuid, tenant_id uuid, role text, is_operator boolean, email text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT u.id, m.tenant_id, m.role, u.is_operator, u.email
  FROM public.sessions AS s
  JOIN public.users AS u ON u.id = s.user_id
  JOIN public.memberships AS m ON m.tenant_id = s.tenant_id AND m.user_id = s.user_id
  WHERE s.token_sha256 = session_sha256 AND s.opened_at IS NOT NULL AND s.ended_at IS NULL
    AND s.expires_at > now() AND m.ended_at IS NULL
$$
