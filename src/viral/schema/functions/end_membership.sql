-- End a membership, as an admin, or one's own: false when there is none. Sessions, keys and the
-- invitations that they sent or got end with it, but for Clerk's sessions: the same one comes back
-- with its person, and lets nobody in who is no member. VT004: nobody would be admin.
CREATE FUNCTION viral.end_membership(credential bytea, member uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  here uuid := viral.tenant_id();
  actor uuid := viral.acting_member(credential, false);
  someone uuid;
BEGIN
  PERFORM FROM public.tenants AS t WHERE t.id = here FOR NO KEY UPDATE;
  SELECT m.user_id INTO someone FROM public.memberships AS m
  WHERE m.tenant_id = here AND m.id = member AND m.ended_at IS NULL;
  IF someone IS NULL THEN
    RETURN false;
  END IF;
  IF someone <> actor THEN
    PERFORM viral.acting_member(credential, true);
  END IF;
  UPDATE public.memberships AS m SET ended_at = now() WHERE m.tenant_id = here AND m.id = member;
  PERFORM viral.keep_an_admin();
  UPDATE public.sessions AS s SET ended_at = now()
  WHERE s.tenant_id = here AND s.user_id = someone AND s.ended_at IS NULL
    AND s.method <> 'clerk';
  UPDATE public.api_keys AS k SET revoked_at = now()
  WHERE k.tenant_id = here AND k.user_id = someone AND k.revoked_at IS NULL;
  UPDATE public.invitations AS i SET revoked_at = now()
  FROM public.users AS u
  WHERE u.id = someone AND i.tenant_id = here AND (i.invited_by = someone OR i.email = u.email)
    AND i.accepted_at IS NULL AND i.revoked_at IS NULL;
  RETURN true;
END
$$
