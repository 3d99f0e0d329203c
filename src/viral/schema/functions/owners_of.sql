-- The tenants whose contexts these are. A context is a capability: who has it may read as its tenant.
CREATE FUNCTION viral.owners_of(contexts text[]) RETURNS uuid[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT array_agg(c.tenant_id) FROM unnest(contexts) AS g (token)
  JOIN viral.tenant_contexts AS c ON c.token_sha256 = sha256(convert_to(g.token, 'UTF8'))
$$
