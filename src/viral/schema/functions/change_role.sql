-- Give a member another role, as an admin: false when there is no such member. Their sessions in
-- this tenant end, but for Clerk's, whose tokens say the role themselves; with an admin's role go the
-- scope of their keys and the invitations that they sent or got. VT004: nobody would be admin.
CREATE FUNCTION viral.change_role(credential bytea, member uuid, new_role text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  here uuid := viral.tenant_id();
  someone uuid;
BEGIN
  -- Asked behind the lock: whoever waited for it may be no admin any more.
  PERFORM FROM public.tenants AS t WHERE t.id = here FOR NO KEY UPDATE;
  PERFORM viral.acting_member(credential, true);
  UPDATE public.memberships AS m SET role = new_role
  WHERE m.tenant_id = here AND m.id = member AND m.ended_at IS NULL AND m.role <> new_role
  RETURNING m.user_id INTO someone;
  IF someone IS NULL THEN
    RETURN EXISTS (
      SELECT FROM public.memberships AS m
      WHERE m.tenant_id = here AND m.id = member AND m.ended_at IS NULL
    );
  END IF;
  PERFORM viral.keep_an_admin();
  UPDATE public.sessions AS s SET ended_at = now()
  WHERE s.tenant_id = here AND s.user_id = someone AND s.ended_at IS NULL
    AND s.method <> 'clerk';
  UPDATE public.api_keys AS k SET scopes = k.scopes - 'admin'
  WHERE k.tenant_id = here AND k.user_id = someone AND new_role <> 'ADMIN';
  UPDATE public.invitations AS i SET revoked_at = now()
  FROM public.users AS u
  WHERE u.id = someone AND i.tenant_id = here AND (i.invited_by = someone OR i.email = u.email)
    AND i.accepted_at IS NULL AND i.revoked_at IS NULL AND new_role <> 'ADMIN';
  RETURN true;
END
$$
