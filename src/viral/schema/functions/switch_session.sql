-- Move a session to another membership of its person, under a new token: whose it is, where; no row
-- when it is not theirs. A session of Clerk stays where Clerk says.
CREATE FUNCTION viral.switch_session(
  session_sha256 bytea, new_session_sha256 bytea, membership uuid
) RETURNS TABLE (user_id uuid, tenant_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  UPDATE public.sessions AS s SET tenant_id = m.tenant_id, token_sha256 = new_session_sha256
  FROM public.memberships AS m
  WHERE s.token_sha256 = session_sha256 AND s.opened_at IS NOT NULL AND s.ended_at IS NULL
    AND s.expires_at > now() AND s.method <> 'clerk' AND m.id = membership
    AND m.user_id = s.user_id AND m.ended_at IS NULL
  RETURNING s.user_id, s.tenant_id
$$
