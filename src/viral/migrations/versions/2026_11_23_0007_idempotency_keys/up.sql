-- Idempotency keys.

-- step: expand: change function viral.prune_access(), create public.idempotency_keys
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
  ), answers AS (
    DELETE FROM public.idempotency_keys AS k
    WHERE k.begun_at < now() - interval '1 day' RETURNING 1
  )
  SELECT ((SELECT count(*) FROM counts) + (SELECT count(*) FROM sessions)
    + (SELECT count(*) FROM answers))::integer
$function$
;

REVOKE ALL ON FUNCTION viral.prune_access() FROM PUBLIC;

SET LOCAL ROLE viral_owner;

CREATE TABLE public.idempotency_keys (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  sender_id uuid NOT NULL,
  key text NOT NULL,
  fingerprint bytea NOT NULL,
  status integer,
  headers jsonb,
  body bytea,
  begun_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT ck_idempotency_keys_key CHECK (((length(key) >= 1) AND (length(key) <= 255))),
  CONSTRAINT fk_idempotency_keys_tenant_id FOREIGN KEY (tenant_id) REFERENCES tenants(id) ON DELETE CASCADE,
  CONSTRAINT pk_idempotency_keys PRIMARY KEY (tenant_id, id),
  CONSTRAINT uq_idempotency_keys_tenant_id_sender_id_key UNIQUE (tenant_id, sender_id, key)
);

ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.idempotency_keys FORCE ROW LEVEL SECURITY;

-- step: expand: build public.ix_performance_feedback_learnt, outside a transaction
CREATE INDEX CONCURRENTLY ix_performance_feedback_learnt ON public.performance_feedback USING btree (tenant_id, platform, applied_no);

-- step: expand: create policy public.idempotency_keys.functions, create policy public.idempotency_keys.tenant_only and 2 more
CREATE POLICY functions ON public.idempotency_keys AS PERMISSIVE FOR ALL TO viral_auth USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON public.idempotency_keys AS PERMISSIVE FOR ALL TO viral_app, viral_readonly USING ((tenant_id = (SELECT viral.tenant_id()))) WITH CHECK ((tenant_id = (SELECT viral.tenant_id())));

GRANT DELETE, INSERT, SELECT, UPDATE ON public.idempotency_keys TO viral_app;

GRANT DELETE, SELECT ON public.idempotency_keys TO viral_auth;
