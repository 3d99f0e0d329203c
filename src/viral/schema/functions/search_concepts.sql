-- Find the current tenant's generated concepts that hold every pattern (ILIKE) in their title, hook,
-- caption or script, newest first, before a place in that order. A definer function, because ILIKE
-- is not leakproof: under a policy it would be asked of every row after the policy was.
CREATE FUNCTION viral.search_concepts(
  patterns text[], in_category text, only_favorites boolean,
  before_at timestamptz, before_id uuid, most integer
) RETURNS TABLE (id uuid, created_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT c.id, c.created_at
  FROM public.concepts AS c
  WHERE c.tenant_id = (SELECT viral.tenant_id())
    AND c.origin = 'generated'
    AND (in_category IS NULL OR c.category = in_category)
    AND (NOT only_favorites OR c.is_favorite)
    AND (before_at IS NULL OR (c.created_at, c.id) < (before_at, before_id))
    AND concat_ws(E'\n', c.title, c.hook, c.caption, c.script::text) ILIKE ALL (patterns)
  ORDER BY c.created_at DESC, c.id DESC
  LIMIT least(most, 200)
$$
