-- Put jobs into the queue of the tenant whose context is given, in one round trip: how many were
-- made. `payloads` is one array, which is read faster than as many values. Twins that wait already
-- are left out. The context is a capability, so it names the tenant. Where it `wakes`, workers hear
-- of it at the commit.
CREATE FUNCTION viral.enqueue_jobs(
  context text, ids uuid[], job_type text, queue text, payloads jsonb, priority integer,
  max_attempts integer, dedupe_key text, delay interval, batch uuid, wakes boolean
) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  mine uuid;
  made integer;
BEGIN
  PERFORM set_config('app.tenant', context, true);
  mine := viral.tenant_id();
  IF dedupe_key IS NULL THEN
    -- Without a key nothing can be in the way, and looking for it takes a tenth of the time.
    INSERT INTO public.job_queue (id, tenant_id, job_type, queue, payload, priority, max_attempts,
      batch_id, is_due, scheduled_for)
    SELECT given.id, mine, enqueue_jobs.job_type, enqueue_jobs.queue, given.payload,
      enqueue_jobs.priority, enqueue_jobs.max_attempts, batch, delay <= interval '0', now() + delay
    FROM ROWS FROM (unnest(ids), jsonb_array_elements(payloads)) AS given (id, payload);
  ELSE
    INSERT INTO public.job_queue (id, tenant_id, job_type, queue, payload, priority, max_attempts,
      dedupe_key, batch_id, is_due, scheduled_for)
    SELECT given.id, mine, enqueue_jobs.job_type, enqueue_jobs.queue, given.payload,
      enqueue_jobs.priority, enqueue_jobs.max_attempts, enqueue_jobs.dedupe_key, batch,
      delay <= interval '0', now() + delay
    FROM ROWS FROM (unnest(ids), jsonb_array_elements(payloads)) AS given (id, payload)
    ON CONFLICT DO NOTHING;
  END IF;
  GET DIAGNOSTICS made = ROW_COUNT;
  IF wakes THEN
    NOTIFY viral_jobs;
  END IF;
  RETURN made;
END
$$
