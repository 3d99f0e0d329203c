-- Spend a sign-in link: its row becomes the session, under a new token; whose it is, where. No row
-- when the link is spent or too old, or its person is no member any more, which spends nothing.
CREATE FUNCTION viral.open_session(link_sha256 bytea, session_sha256 bytea, lifetime interval)
RETURNS TABLE (user_id uuid, tenant_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH opened AS (
    UPDATE public.sessions AS s
    SET token_sha256 = session_sha256, opened_at = now(), last_seen_at = now(),
        expires_at = now() + least(lifetime, interval '90 days')
    FROM public.memberships AS m
    WHERE s.token_sha256 = link_sha256 AND s.opened_at IS NULL AND s.ended_at IS NULL
      AND s.expires_at > now() AND m.tenant_id = s.tenant_id AND m.user_id = s.user_id
      AND m.ended_at IS NULL
    RETURNING s.user_id, s.tenant_id
  ), noted AS (
    UPDATE public.users AS u SET last_login_at = now() FROM opened WHERE u.id = opened.user_id
  )
  SELECT opened.user_id, opened.tenant_id FROM opened
$$
