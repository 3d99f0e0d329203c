-- Who a verified Clerk token speaks for, in the tenant of its organization or, without one, in the
-- person's own; no row when they are not known here. The Clerk session is kept as one of ours
-- until the token's end, so that what asks for a credential takes it. Turns as with a session.
CREATE FUNCTION viral.enter_by_clerk(
  person text, organization text, new_id uuid, session_sha256 bytea, until timestamptz,
  address text, allowed integer[]
) RETURNS TABLE (
  user_id uuid, tenant_id uuid, role text, is_operator boolean, email text,
  wait_s double precision
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
#variable_conflict use_column
DECLARE
  someone uuid;
BEGIN
  wait_s := viral.take_turn('address:' || address, allowed[1], '1 minute');
  IF wait_s = 0 THEN
    SELECT u.id INTO someone FROM public.users AS u WHERE u.clerk_id = person;
    SELECT u.id, m.tenant_id, m.role, u.is_operator, u.email
    INTO user_id, tenant_id, role, is_operator, email
    FROM public.users AS u
    JOIN public.memberships AS m ON m.user_id = u.id AND m.ended_at IS NULL
    JOIN public.tenants AS t ON t.id = m.tenant_id
    WHERE u.id = someone AND CASE WHEN organization IS NULL
      THEN t.id = u.tenant_id AND t.clerk_organization_id IS NULL
      ELSE t.clerk_organization_id = organization END;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    INSERT INTO public.sessions AS s
      (id, tenant_id, user_id, token_sha256, method, opened_at, last_seen_at, expires_at)
    VALUES (new_id, tenant_id, user_id, session_sha256, 'clerk', now(), now(), until)
    ON CONFLICT (token_sha256) DO UPDATE SET expires_at = until, last_seen_at = now()
      WHERE s.expires_at < until AND s.ended_at IS NULL;
    IF EXISTS (
      SELECT FROM public.sessions AS s
      WHERE s.token_sha256 = session_sha256 AND s.ended_at IS NOT NULL
    ) THEN
      RETURN;
    END IF;
    wait_s := viral.take_turn('user:' || someone, allowed[2], '1 minute');
    IF wait_s = 0 THEN
      wait_s := viral.take_turn('tenant:' || tenant_id, allowed[3], '1 minute');
    END IF;
  END IF;
  RETURN NEXT;
END
$$
