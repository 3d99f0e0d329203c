-- Keep a new API key of the person behind a credential; the scope `admin` takes an admin.
CREATE FUNCTION viral.create_api_key(
  credential bytea, new_id uuid, key_name text, key_prefix text, hmac bytea, key_scopes jsonb,
  until timestamptz
) RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  INSERT INTO public.api_keys
    (id, tenant_id, user_id, name, prefix, key_hmac, scopes, expires_at)
  SELECT new_id, viral.tenant_id(), viral.acting_member(credential, key_scopes ? 'admin'),
         key_name, key_prefix, hmac, key_scopes, until
  RETURNING id
$$
