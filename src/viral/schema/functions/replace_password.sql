-- Replace a password's hash, if it is still the one that was checked. With the session that asks,
-- all others of the person end; without one it is the same password under newer parameters.
CREATE FUNCTION viral.replace_password(
  person uuid, old_hash text, new_hash text, asking_session_sha256 bytea
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
BEGIN
  UPDATE public.users AS u SET password_hash = new_hash
  WHERE u.id = person AND u.password_hash IS NOT DISTINCT FROM old_hash;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  UPDATE public.sessions AS s SET ended_at = now()
  WHERE asking_session_sha256 IS NOT NULL AND s.user_id = person AND s.ended_at IS NULL
    AND s.token_sha256 <> asking_session_sha256;
  RETURN true;
END
$$
