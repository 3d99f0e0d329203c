-- Take `count` concepts from the month's quota of the current tenant, or nothing: the concepts
-- that remain, or null when fewer are left. A month that has ended starts anew in the same
-- statement, so a tenant without payments resets as well.
CREATE FUNCTION viral.take_quota(reservation uuid, count integer, member uuid) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH taken AS (
    UPDATE public.tenants AS t
    SET used_quota = CASE WHEN t.quota_reset_at <= now() THEN 0 ELSE t.used_quota END + count,
        quota_reset_at = CASE WHEN t.quota_reset_at <= now()
          THEN (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month')
               AT TIME ZONE 'UTC'
          ELSE t.quota_reset_at END
    WHERE t.id = (SELECT viral.tenant_id()) AND count > 0
      AND CASE WHEN t.quota_reset_at <= now() THEN 0 ELSE t.used_quota END + count
          <= t.monthly_quota
    RETURNING t.id, t.monthly_quota - t.used_quota AS remaining, t.quota_reset_at
  ), noted AS (
    INSERT INTO public.quota_ledger (tenant_id, id, user_id, kind, amount, period_start)
    SELECT taken.id, reservation, member, 'reserve', count,
           (taken.quota_reset_at AT TIME ZONE 'UTC' - interval '1 month') AT TIME ZONE 'UTC'
    FROM taken
  )
  SELECT taken.remaining FROM taken
$$
