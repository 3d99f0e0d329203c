-- Invite a person, as an admin; an invitation of the same e-mail that waits is replaced.
CREATE FUNCTION viral.invite(
  credential bytea, new_id uuid, person text, as_role text, link_sha256 bytea, lifetime interval
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  here uuid := viral.tenant_id();
  admin uuid;
BEGIN
  -- Behind the lock of those who change members: an admin who is let go meanwhile invites nobody.
  PERFORM FROM public.tenants AS t WHERE t.id = here FOR SHARE;
  admin := viral.acting_member(credential, true);
  UPDATE public.invitations AS i SET revoked_at = now()
  WHERE i.tenant_id = here AND i.email = person AND i.accepted_at IS NULL
    AND i.revoked_at IS NULL;
  INSERT INTO public.invitations
    (id, tenant_id, email, role, invited_by, token_sha256, expires_at)
  VALUES (new_id, here, person, as_role, admin, link_sha256,
          now() + least(lifetime, interval '30 days'));
  RETURN new_id;
END
$$
