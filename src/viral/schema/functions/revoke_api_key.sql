-- Revoke an API key, one's own or as an admin: false when there is none that works.
CREATE FUNCTION viral.revoke_api_key(credential bytea, key uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  here uuid := viral.tenant_id();
  actor uuid := viral.acting_member(credential, false);
  someone uuid;
BEGIN
  SELECT k.user_id INTO someone FROM public.api_keys AS k
  WHERE k.id = key AND k.tenant_id = here AND k.revoked_at IS NULL;
  IF someone IS NULL THEN
    RETURN false;
  END IF;
  IF someone <> actor THEN
    PERFORM viral.acting_member(credential, true);
  END IF;
  UPDATE public.api_keys AS k SET revoked_at = now() WHERE k.id = key;
  RETURN true;
END
$$
