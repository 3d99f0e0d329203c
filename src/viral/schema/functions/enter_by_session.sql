-- Who an open session belongs to, by the hash of its token; no row when it has ended. A turn is
-- taken of the address, the person and the tenant (`allowed`, a minute each); `wait_s` above 0:
-- there was none. A session of Clerk is entered with Clerk's token only: its id is no secret.
CREATE FUNCTION viral.enter_by_session(
  session_sha256 bytea, idle interval, address text, allowed integer[]
) RETURNS TABLE (
  user_id uuid, tenant_id uuid, role text, is_operator boolean, email text,
  wait_s double precision
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
#variable_conflict use_column
DECLARE
  seen_at timestamptz;
  someone uuid;
  somewhere uuid;
BEGIN
  wait_s := viral.take_turn('address:' || address, allowed[1], '1 minute');
  IF wait_s = 0 THEN
    SELECT u.id, m.tenant_id, m.role, u.is_operator, u.email, s.last_seen_at
    INTO user_id, tenant_id, role, is_operator, email, seen_at
    FROM public.sessions AS s
    JOIN public.users AS u ON u.id = s.user_id
    JOIN public.memberships AS m ON m.tenant_id = s.tenant_id AND m.user_id = s.user_id
    WHERE s.token_sha256 = session_sha256 AND s.opened_at IS NOT NULL AND s.ended_at IS NULL
      AND s.expires_at > now() AND s.last_seen_at > now() - idle AND s.method <> 'clerk'
      AND m.ended_at IS NULL;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    IF seen_at < now() - interval '1 minute' THEN
      UPDATE public.sessions AS s SET last_seen_at = now()
      WHERE s.token_sha256 = session_sha256;
    END IF;
    someone := user_id;
    somewhere := tenant_id;
    wait_s := viral.take_turn('user:' || someone, allowed[2], '1 minute');
    IF wait_s = 0 THEN
      wait_s := viral.take_turn('tenant:' || somewhere, allowed[3], '1 minute');
    END IF;
  END IF;
  RETURN NEXT;
END
$$
