SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

-- The tenant of this transaction, by its capability: `app.tenant` holds a token of 64 hex digits,
-- of which only the hash is stored. VT001: no context. VT002: not a token of this installation.
CREATE FUNCTION viral.tenant_id() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  token text := current_setting('app.tenant', true);
  found uuid;
BEGIN
  IF token IS NULL OR token = '' THEN
    RAISE EXCEPTION 'no tenant context' USING ERRCODE = 'VT001';
  END IF;
  SELECT c.tenant_id INTO found
  FROM viral.tenant_contexts AS c
  WHERE c.token_sha256 = sha256(convert_to(token, 'UTF8'));
  IF found IS NULL THEN
    RAISE EXCEPTION 'unknown tenant context' USING ERRCODE = 'VT002';
  END IF;
  RETURN found;
END
$$;

REVOKE ALL ON FUNCTION viral.tenant_id() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.tenant_id() TO viral_app, viral_readonly;

-- A tenant with its context token's hash. New ids only: an id that exists raises 23505.
CREATE FUNCTION viral.create_tenant(
  new_id uuid, slug text, name text, tier text, quota integer, is_demo boolean,
  token_sha256 bytea, key_id integer
) RETURNS uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH made AS (
    INSERT INTO public.tenants (id, slug, name, subscription_tier, monthly_quota, is_demo)
    VALUES (new_id, slug, name, tier, quota, is_demo)
    RETURNING id
  )
  INSERT INTO viral.tenant_contexts (token_sha256, tenant_id, key_id)
  SELECT token_sha256, made.id, key_id FROM made
  RETURNING tenant_id
$$;

REVOKE ALL ON FUNCTION viral.create_tenant(uuid, text, text, text, integer, boolean, bytea, integer) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.create_tenant(uuid, text, text, text, integer, boolean, bytea, integer) TO viral_app, viral_system;

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
$$;

REVOKE ALL ON FUNCTION viral.take_quota(uuid, integer, uuid) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.take_quota(uuid, integer, uuid) TO viral_app;

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
$$;

REVOKE ALL ON FUNCTION viral.refund_quota(uuid, uuid, integer) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.refund_quota(uuid, uuid, integer) TO viral_app;

-- Spend a sign-in link: its row becomes the session, under a new token. True once per link.
CREATE FUNCTION viral.open_session(link_sha256 bytea, session_sha256 bytea, lifetime interval)
RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH opened AS (
    UPDATE public.sessions AS s
    SET token_sha256 = session_sha256, opened_at = now(), last_seen_at = now(),
        expires_at = now() + least(lifetime, interval '90 days')
    WHERE s.token_sha256 = link_sha256 AND s.opened_at IS NULL AND s.ended_at IS NULL
      AND s.expires_at > now()
    RETURNING s.user_id
  ), noted AS (
    UPDATE public.users AS u SET last_login_at = now() FROM opened WHERE u.id = opened.user_id
  )
  SELECT EXISTS (SELECT FROM opened)
$$;

REVOKE ALL ON FUNCTION viral.open_session(bytea, bytea, interval) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.open_session(bytea, bytea, interval) TO viral_app;

-- Who an open session belongs to, by the hash of its token; no row when it has ended.
CREATE FUNCTION viral.session_identity(session_sha256 bytea)
RETURNS TABLE (user_id uuid, tenant_id uuid, role text, is_operator boolean, email text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = ''
AS $$
  SELECT u.id, m.tenant_id, m.role, u.is_operator, u.email
  FROM public.sessions AS s
  JOIN public.users AS u ON u.id = s.user_id
  JOIN public.memberships AS m ON m.tenant_id = s.tenant_id AND m.user_id = s.user_id
  WHERE s.token_sha256 = session_sha256 AND s.opened_at IS NOT NULL AND s.ended_at IS NULL
    AND s.expires_at > now() AND m.ended_at IS NULL
$$;

REVOKE ALL ON FUNCTION viral.session_identity(bytea) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.session_identity(bytea) TO viral_app;

-- Sign out: the session with this token ends.
CREATE FUNCTION viral.end_session(session_sha256 bytea) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  UPDATE public.sessions SET ended_at = now()
  WHERE token_sha256 = session_sha256 AND ended_at IS NULL
$$;

REVOKE ALL ON FUNCTION viral.end_session(bytea) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.end_session(bytea) TO viral_app;

-- A worker says that it lives; the first call registers it.
CREATE FUNCTION viral.heartbeat(worker uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  INSERT INTO public.job_workers (id) VALUES (worker)
  ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
$$;

REVOKE ALL ON FUNCTION viral.heartbeat(uuid) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.heartbeat(uuid) TO viral_worker;

-- Claim up to `wanted` waiting jobs; routing columns only, a payload is read as the job's tenant.
-- The key against twins holds while a job waits: given back, it must not stand in a twin's way.
CREATE FUNCTION viral.claim_jobs(worker uuid, wanted integer)
RETURNS TABLE (id uuid, scope text, tenant_id uuid, job_type text, attempt integer)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  UPDATE public.job_queue AS j
  SET status = 'running', worker_id = worker, attempts = j.attempts + 1, started_at = now(),
      error_message = NULL, dedupe_key = NULL
  WHERE j.id IN (
    SELECT w.id FROM public.job_queue AS w
    WHERE w.status = 'pending' AND w.scheduled_for <= now()
    ORDER BY w.priority DESC, w.scheduled_for, w.id
    LIMIT wanted
    FOR UPDATE SKIP LOCKED
  )
  RETURNING j.id, j.scope, j.tenant_id, j.job_type, j.attempts
$$;

REVOKE ALL ON FUNCTION viral.claim_jobs(uuid, integer) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.claim_jobs(uuid, integer) TO viral_worker;

-- End one attempt of a job: completed, or back to waiting until `retry_at`, or failed.
-- Fenced: false when the lease went to another worker or attempt meanwhile.
CREATE FUNCTION viral.finish_job(
  job uuid, worker uuid, attempt integer, outcome jsonb, failure text, retry_at timestamptz
) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH ended AS (
    UPDATE public.job_queue AS j
    SET status = CASE
          WHEN failure IS NULL THEN 'completed'
          WHEN j.attempts < j.max_attempts AND retry_at IS NOT NULL THEN 'pending'
          ELSE 'failed' END,
        result = outcome, error_message = failure, worker_id = NULL,
        scheduled_for = CASE
          WHEN failure IS NOT NULL AND j.attempts < j.max_attempts
          THEN coalesce(retry_at, j.scheduled_for) ELSE j.scheduled_for END,
        completed_at = CASE
          WHEN failure IS NOT NULL AND j.attempts < j.max_attempts AND retry_at IS NOT NULL
          THEN NULL ELSE now() END
    WHERE j.id = job AND j.worker_id = worker AND j.attempts = attempt AND j.status = 'running'
    RETURNING j.id
  )
  SELECT EXISTS (SELECT FROM ended)
$$;

REVOKE ALL ON FUNCTION viral.finish_job(uuid, uuid, integer, jsonb, text, timestamptz) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.finish_job(uuid, uuid, integer, jsonb, text, timestamptz) TO viral_worker;

-- Take back the jobs of workers not heard of for `silence`; how many were taken back.
CREATE FUNCTION viral.reap_jobs(silence interval) RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
  WITH gone AS (
    DELETE FROM public.job_workers AS w WHERE w.heartbeat_at < now() - silence RETURNING w.id
  ), freed AS (
    UPDATE public.job_queue AS j
    SET status = CASE WHEN j.attempts < j.max_attempts THEN 'pending' ELSE 'failed' END,
        worker_id = NULL, error_message = 'the worker stopped',
        completed_at = CASE WHEN j.attempts < j.max_attempts THEN NULL ELSE now() END
    WHERE j.status = 'running' AND (
      j.worker_id IN (SELECT gone.id FROM gone)
      OR NOT EXISTS (SELECT FROM public.job_workers AS w WHERE w.id = j.worker_id)
    )
    RETURNING j.id
  )
  SELECT count(*)::integer FROM freed
$$;

REVOKE ALL ON FUNCTION viral.reap_jobs(interval) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.reap_jobs(interval) TO viral_worker;

SET LOCAL ROLE viral_owner;

-- Make the monthly partitions of every partitioned table, from last month to three months ahead.
-- Row security is forced on each and nobody is granted anything: rows are reached by the parent.
CREATE FUNCTION viral.make_partitions() RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = ''
AS $$
DECLARE
  parent record;
  first date;
  name text;
  made integer := 0;
BEGIN
  FOR parent IN
    SELECT c.oid, c.relname FROM pg_catalog.pg_class AS c
    WHERE c.relkind = 'p' AND c.relnamespace = 'public'::regnamespace
    ORDER BY c.relname
  LOOP
    FOR months IN -1..3 LOOP
      first := date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => months);
      name := parent.relname || to_char(first, '_YYYYMM');
      CONTINUE WHEN to_regclass('public.' || quote_ident(name)) IS NOT NULL;
      EXECUTE format(
        'CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
        name, parent.relname, first::text || ' 00:00:00+00',
        (first + interval '1 month')::date::text || ' 00:00:00+00'
      );
      EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
      EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', name);
      made := made + 1;
    END LOOP;
  END LOOP;
  RETURN made;
END
$$;

REVOKE ALL ON FUNCTION viral.make_partitions() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION viral.make_partitions() TO viral_worker, viral_migrator;

SET LOCAL ROLE viral_owner;
