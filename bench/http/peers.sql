-- The role of the two others: the same tables, with row security as it is usually written. The
-- tenant is a plain setting; keys are found without one. Ours pays for a capability, for turns in
-- the rate limits and for counting use, which nobody else does.
GRANT CONNECT ON DATABASE viral TO bench;
GRANT USAGE ON SCHEMA public TO bench;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_unlock_all() TO bench;
GRANT SELECT ON public.api_keys, public.generations, public.concepts TO bench;
CREATE POLICY bench ON public.api_keys TO bench USING (true);
CREATE POLICY bench ON public.generations TO bench
  USING (tenant_id = (SELECT current_setting('app.tenant')::uuid));
CREATE POLICY bench ON public.concepts TO bench
  USING (tenant_id = (SELECT current_setting('app.tenant')::uuid));
