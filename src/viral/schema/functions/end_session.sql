-- Sign out: the session with this token ends.
CREATE FUNCTION viral.end_session(session_sha256 bytea) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  UPDATE public.sessions SET ended_at = now()
  WHERE token_sha256 = session_sha256 AND ended_at IS NULL
$$
