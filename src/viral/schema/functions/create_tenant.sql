-- A tenant with its context token's hash. New ids only: an id that exists raises 23505.
CREATE FUNCTION viral.create_tenant(
  new_id uuid, slug text, name text, tier text, quota integer, is_demo boolean,
  token_sha256 bytea, key_id integer
) RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH made AS (
    INSERT INTO public.tenants (id, slug, name, subscription_tier, monthly_quota, is_demo)
    VALUES (new_id, slug, name, tier, quota, is_demo)
    RETURNING id
  )
  INSERT INTO viral.tenant_contexts (token_sha256, tenant_id, key_id)
  SELECT token_sha256, made.id, key_id FROM made
  RETURNING tenant_id
$$
