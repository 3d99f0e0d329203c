-- What the holder of an invitation's link may know; no row when it is spent, revoked or too old.
CREATE FUNCTION viral.invitation_of(link_sha256 bytea)
RETURNS TABLE (email text, role text, tenant_name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT i.email, i.role, t.name
  FROM public.invitations AS i
  JOIN public.tenants AS t ON t.id = i.tenant_id
  WHERE i.token_sha256 = link_sha256 AND i.accepted_at IS NULL AND i.revoked_at IS NULL
    AND i.expires_at > now()
$$
