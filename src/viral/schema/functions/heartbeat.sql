-- A worker says that it lives; the first call registers it, and so does the first one after it was
-- taken for dead, with the lease that it may hold still.
CREATE FUNCTION viral.heartbeat(worker uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  INSERT INTO public.job_workers (id, is_leased)
  VALUES (worker, NOT pg_try_advisory_xact_lock(hashtextextended('worker:' || worker::text, 0)))
  ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
$$
