-- Make the person of an invitation a member: the tenant, or null when the invitation is spent or
-- another person's. Who had left comes back with the role of the invitation, and with nothing that
-- let them in before; who gets another role signs in anew. Clerk's sessions go on: the same one comes
-- back with its person. It is not made the tenant that they open first: the e-mail of an account is
-- proved by nobody but Clerk, and who proves it there shall not land with whoever invited it here.
CREATE FUNCTION viral.accept_invitation(link_sha256 bytea, person uuid, new_membership uuid)
RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH accepted AS (
    UPDATE public.invitations AS i SET accepted_at = now()
    FROM public.users AS u
    WHERE i.token_sha256 = link_sha256 AND i.accepted_at IS NULL AND i.revoked_at IS NULL
      AND i.expires_at > now() AND u.id = person AND u.email = i.email
    RETURNING i.tenant_id, i.role
  ), member AS (
    INSERT INTO public.memberships AS m (tenant_id, id, user_id, role)
    SELECT a.tenant_id, new_membership, person, a.role FROM accepted AS a
    ON CONFLICT (tenant_id, user_id) DO UPDATE
      SET ended_at = NULL,
          role = CASE WHEN m.ended_at IS NULL AND m.role = 'ADMIN' THEN m.role
                      ELSE excluded.role END
    RETURNING m.tenant_id, m.role
  ), before AS (
    -- As the statement found it.
    SELECT m.tenant_id, m.ended_at FROM public.memberships AS m
    JOIN member ON member.tenant_id = m.tenant_id
    WHERE m.user_id = person AND (m.ended_at IS NOT NULL OR m.role <> member.role)
  ), sessions AS (
    UPDATE public.sessions AS s SET ended_at = now() FROM before
    WHERE s.tenant_id = before.tenant_id AND s.user_id = person AND s.ended_at IS NULL
      AND s.method <> 'clerk'
  ), keys AS (
    UPDATE public.api_keys AS k SET revoked_at = now() FROM before
    WHERE k.tenant_id = before.tenant_id AND k.user_id = person AND k.revoked_at IS NULL
      AND before.ended_at IS NOT NULL
  )
  SELECT member.tenant_id FROM member
$$
