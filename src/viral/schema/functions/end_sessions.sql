-- Sign the person of a session out everywhere: how many sessions ended.
CREATE FUNCTION viral.end_sessions(session_sha256 bytea) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  ended integer;
BEGIN
  UPDATE public.sessions AS s SET ended_at = now()
  WHERE s.ended_at IS NULL AND s.user_id = (
    SELECT mine.user_id FROM public.sessions AS mine
    WHERE mine.token_sha256 = session_sha256 AND mine.opened_at IS NOT NULL
      AND mine.ended_at IS NULL AND mine.expires_at > now()
  );
  GET DIAGNOSTICS ended = ROW_COUNT;
  RETURN ended;
END
$$
