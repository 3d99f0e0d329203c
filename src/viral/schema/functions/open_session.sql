-- Spend a sign-in link: its row becomes the session, under a new token. True once per link.
CREATE FUNCTION viral.open_session(link_sha256 bytea, session_sha256 bytea, lifetime interval)
RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH opened AS (
    UPDATE public.sessions AS s
    SET token_sha256 = session_sha256, opened_at = now(), last_seen_at = now(),
        expires_at = now() + least(lifetime, interval '90 days')
    WHERE s.token_sha256 = link_sha256 AND s.opened_at IS NULL AND s.ended_at IS NULL
      AND s.expires_at > now()
    RETURNING s.user_id
  ), noted AS (
    UPDATE public.users AS u SET last_login_at = now() FROM opened WHERE u.id = opened.user_id
  )
  SELECT EXISTS (SELECT FROM opened)
$$
