-- The tenants that the person of a session may switch to.
CREATE FUNCTION viral.my_tenants(session_sha256 bytea)
RETURNS TABLE (membership_id uuid, slug text, name text, role text, is_current boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT m.id, t.slug, t.name, m.role, m.tenant_id = s.tenant_id
  FROM public.sessions AS s
  JOIN public.memberships AS m ON m.user_id = s.user_id AND m.ended_at IS NULL
  JOIN public.tenants AS t ON t.id = m.tenant_id
  WHERE s.token_sha256 = session_sha256 AND s.opened_at IS NOT NULL AND s.ended_at IS NULL
    AND s.expires_at > now()
  ORDER BY t.name, t.id
$$
