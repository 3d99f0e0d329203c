-- Take a session lock on a worker's id: the server frees it the moment the worker's process is
-- gone, which others see at once. Needs a connection of the worker's own.
CREATE FUNCTION viral.lease_worker(worker uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT pg_advisory_lock(hashtextextended('worker:' || worker::text, 0));
  UPDATE public.job_workers AS w SET is_leased = true WHERE w.id = worker
$$
