-- A worker says that it lives; the first call registers it.
CREATE FUNCTION viral.heartbeat(worker uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  INSERT INTO public.job_workers (id) VALUES (worker)
  ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
$$
