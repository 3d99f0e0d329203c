-- Whose API key this is, by its HMAC; no row when it is none, or no more. Turns are taken as with
-- a session, and one of the key itself (`allowed`: address, person, tenant, key).
CREATE FUNCTION viral.enter_by_key(hmac bytea, address text, allowed integer[])
RETURNS TABLE (
  user_id uuid, tenant_id uuid, role text, is_operator boolean, email text,
  wait_s double precision, key_id uuid, scopes jsonb
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
#variable_conflict use_column
DECLARE
  names text[];
BEGIN
  wait_s := viral.take_turn('address:' || address, allowed[1], '1 minute');
  IF wait_s = 0 THEN
    SELECT u.id, m.tenant_id, m.role, false, u.email, k.id, k.scopes,
           ARRAY['user:' || u.id, 'tenant:' || m.tenant_id, 'key:' || k.id]
    INTO user_id, tenant_id, role, is_operator, email, key_id, scopes, names
    FROM public.api_keys AS k
    JOIN public.users AS u ON u.id = k.user_id
    JOIN public.memberships AS m ON m.tenant_id = k.tenant_id AND m.user_id = k.user_id
    WHERE k.key_hmac = hmac AND k.revoked_at IS NULL
      AND (k.expires_at IS NULL OR k.expires_at > now()) AND m.ended_at IS NULL;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    FOR place IN 1..3 LOOP
      wait_s := viral.take_turn(names[place], allowed[place + 1], '1 minute');
      EXIT WHEN wait_s > 0;
    END LOOP;
  END IF;
  RETURN NEXT;
END
$$
