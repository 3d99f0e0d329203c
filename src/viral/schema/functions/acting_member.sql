-- The member behind a credential - the hash of a session's token, or a key's HMAC - in the current
-- tenant. VT003: it is none, or not an admin's where one is needed. So whoever writes SQL as the
-- app, without the secret of an admin, changes no member, no invitation and no key.
CREATE FUNCTION viral.acting_member(credential bytea, needs_admin boolean) RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  here uuid := viral.tenant_id();
  found uuid;
BEGIN
  SELECT m.user_id INTO found
  FROM public.memberships AS m
  WHERE m.tenant_id = here AND m.ended_at IS NULL AND (m.role = 'ADMIN' OR NOT needs_admin)
    AND (
      m.user_id = (
        SELECT s.user_id FROM public.sessions AS s
        WHERE s.token_sha256 = credential AND s.tenant_id = here AND s.opened_at IS NOT NULL
          AND s.ended_at IS NULL AND s.expires_at > now()
      ) OR m.user_id = (
        SELECT k.user_id FROM public.api_keys AS k
        WHERE k.key_hmac = credential AND k.tenant_id = here AND k.revoked_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > now()) AND k.scopes ? 'admin'
      )
    );
  IF found IS NULL THEN
    RAISE EXCEPTION 'not allowed' USING ERRCODE = 'VT003';
  END IF;
  RETURN found;
END
$$
