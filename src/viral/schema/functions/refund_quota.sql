-- Give back `count` concepts of a reservation, once, while no generation rests on it.
-- True when something was given back.
CREATE FUNCTION viral.refund_quota(refund uuid, reservation uuid, count integer) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH noted AS (
    INSERT INTO public.quota_ledger
      (tenant_id, id, user_id, kind, amount, reservation_id, period_start)
    SELECT r.tenant_id, refund, r.user_id, 'refund', -count, r.id, r.period_start
    FROM public.quota_ledger AS r
    WHERE r.tenant_id = (SELECT viral.tenant_id()) AND r.id = reservation
      AND r.kind = 'reserve' AND count BETWEEN 1 AND r.amount
      AND NOT EXISTS (
        SELECT FROM public.generations AS g
        WHERE g.tenant_id = r.tenant_id AND g.reservation_id = r.id
      )
    ON CONFLICT (tenant_id, reservation_id) DO NOTHING
    RETURNING tenant_id, amount, period_start
  ), returned AS (
    UPDATE public.tenants AS t
    SET used_quota = t.used_quota + noted.amount
    FROM noted
    WHERE t.id = noted.tenant_id
      AND (t.quota_reset_at AT TIME ZONE 'UTC' - interval '1 month') AT TIME ZONE 'UTC'
          = noted.period_start
  )
  SELECT EXISTS (SELECT FROM noted)
$$
