-- Sign a person in whose password was right: the tenant, which is `place` if they may, else the one
-- that they open first, else their oldest; null when they are a member of none.
CREATE FUNCTION viral.begin_session(
  person uuid, place uuid, new_id uuid, session_sha256 bytea, lifetime interval
) RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH opened AS (
    INSERT INTO public.sessions
      (id, tenant_id, user_id, token_sha256, method, opened_at, last_seen_at, expires_at)
    SELECT new_id, m.tenant_id, u.id, session_sha256, 'password', now(), now(),
           now() + least(lifetime, interval '90 days')
    FROM public.users AS u
    JOIN public.memberships AS m ON m.user_id = u.id AND m.ended_at IS NULL
    WHERE u.id = person
    ORDER BY m.tenant_id = place DESC NULLS LAST, m.tenant_id = u.tenant_id DESC NULLS LAST,
             m.created_at, m.id
    LIMIT 1
    RETURNING tenant_id
  ), noted AS (
    UPDATE public.users AS u SET last_login_at = now() FROM opened WHERE u.id = person
  )
  SELECT opened.tenant_id FROM opened
$$
