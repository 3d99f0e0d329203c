-- Take back: Idempotency keys.

-- step: expand: change function viral.prune_access()
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.prune_access()
 RETURNS integer
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  WITH counts AS (
    DELETE FROM viral.rate_limits AS r WHERE r.arrival_at < now() RETURNING 1
  ), sessions AS (
    DELETE FROM public.sessions AS s
    WHERE least(s.ended_at, s.expires_at) < now() - interval '30 days' RETURNING 1
  )
  SELECT ((SELECT count(*) FROM counts) + (SELECT count(*) FROM sessions))::integer
$function$
;

REVOKE ALL ON FUNCTION viral.prune_access() FROM PUBLIC;

SET LOCAL ROLE viral_owner;

-- step: contract: drop public.idempotency_keys.fk_idempotency_keys_tenant_id
ALTER TABLE public.idempotency_keys DROP CONSTRAINT fk_idempotency_keys_tenant_id;

-- step: contract: drop public.ix_performance_feedback_learnt, outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS public.ix_performance_feedback_learnt;

-- step: contract: drop public.idempotency_keys
-- at risk: rows of public.idempotency_keys: SELECT count(*) FROM public.idempotency_keys
-- lint: ban-drop-table: the models do not have this table
DROP TABLE public.idempotency_keys;
