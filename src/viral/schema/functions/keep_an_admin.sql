-- Refuse what leaves the current tenant without an admin (VT004).
CREATE FUNCTION viral.keep_an_admin() RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = ''
AS $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM public.memberships AS m
    WHERE m.tenant_id = (SELECT viral.tenant_id()) AND m.role = 'ADMIN' AND m.ended_at IS NULL
  ) THEN
    RAISE EXCEPTION 'the last admin' USING ERRCODE = 'VT004';
  END IF;
END
$$
