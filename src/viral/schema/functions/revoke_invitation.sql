-- Take an invitation back, as an admin: false when there is none that waits.
CREATE FUNCTION viral.revoke_invitation(credential bytea, invitation uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
BEGIN
  PERFORM viral.acting_member(credential, true);
  UPDATE public.invitations AS i SET revoked_at = now()
  WHERE i.id = invitation AND i.tenant_id = viral.tenant_id() AND i.accepted_at IS NULL
    AND i.revoked_at IS NULL;
  RETURN FOUND;
END
$$
