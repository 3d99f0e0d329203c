-- The tenant of this transaction, by its capability: `app.tenant` holds a token of 64 hex digits,
-- of which only the hash is stored. VT001: no context. VT002: not a token of this installation.
CREATE FUNCTION viral.tenant_id() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  token text := current_setting('app.tenant', true);
  found uuid;
BEGIN
  IF token IS NULL OR token = '' THEN
    RAISE EXCEPTION 'no tenant context' USING ERRCODE = 'VT001';
  END IF;
  SELECT c.tenant_id INTO found
  FROM viral.tenant_contexts AS c
  WHERE c.token_sha256 = sha256(convert_to(token, 'UTF8'));
  IF found IS NULL THEN
    RAISE EXCEPTION 'unknown tenant context' USING ERRCODE = 'VT002';
  END IF;
  RETURN found;
END
$$
