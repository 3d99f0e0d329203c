-- The payloads of jobs of the tenant whose context is given, in one round trip.
CREATE FUNCTION viral.payloads_of(context text, jobs uuid[])
RETURNS TABLE (id uuid, payload text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
BEGIN
  PERFORM set_config('app.tenant', context, true);
  RETURN QUERY
    SELECT j.id, j.payload::text FROM public.job_queue AS j
    WHERE j.id = ANY (jobs) AND j.tenant_id = (SELECT viral.tenant_id());
END
$$
