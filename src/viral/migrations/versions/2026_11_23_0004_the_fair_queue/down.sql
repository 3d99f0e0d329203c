-- Take back: The fair queue.

-- step: expand: create function viral.claim_jobs(uuid, integer), create function viral.finish_job(uuid, uuid, integer, jsonb, text, timestamp with time zone) and 4 more
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.claim_jobs(worker uuid, wanted integer)
 RETURNS TABLE(id uuid, scope text, tenant_id uuid, job_type text, attempt integer)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
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
$function$
;

REVOKE ALL ON FUNCTION viral.claim_jobs(uuid, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.finish_job(job uuid, worker uuid, attempt integer, outcome jsonb, failure text, retry_at timestamp with time zone)
 RETURNS boolean
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
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
$function$
;

REVOKE ALL ON FUNCTION viral.finish_job(uuid, uuid, integer, jsonb, text, timestamp with time zone) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.heartbeat(worker uuid)
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  INSERT INTO public.job_workers (id) VALUES (worker)
  ON CONFLICT (id) DO UPDATE SET heartbeat_at = now()
$function$
;

REVOKE ALL ON FUNCTION viral.heartbeat(uuid) FROM PUBLIC;

SET LOCAL ROLE viral_owner;

CREATE OR REPLACE FUNCTION viral.make_partitions()
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
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
$function$
;

REVOKE ALL ON FUNCTION viral.make_partitions() FROM PUBLIC;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.reap_jobs(silence interval)
 RETURNS integer
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
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
$function$
;

REVOKE ALL ON FUNCTION viral.reap_jobs(interval) FROM PUBLIC;

SET LOCAL ROLE viral_owner;

ALTER TABLE public.job_queue RESET (autovacuum_vacuum_cost_delay, autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);

-- step: expand: build what follows public.ix_job_queue_running, outside a transaction
CREATE INDEX CONCURRENTLY "ix_job_queue_running_next" ON public.job_queue USING btree (worker_id) WHERE (status = 'running'::text);

-- step: expand: put it in the place of public.ix_job_queue_running
-- lint: require-concurrent-index-deletion: its successor is built and takes its name
DROP INDEX public.ix_job_queue_running;
-- lint: renaming-object: it takes the place of the other
ALTER INDEX public."ix_job_queue_running_next" RENAME TO "ix_job_queue_running";

-- step: expand: build public.ix_job_queue_tenant_id_created_at, outside a transaction
CREATE INDEX CONCURRENTLY ix_job_queue_tenant_id_created_at ON public.job_queue USING btree (tenant_id, created_at);

-- step: expand: build what follows public.ix_job_queue_waiting, outside a transaction
CREATE INDEX CONCURRENTLY "ix_job_queue_waiting_next" ON public.job_queue USING btree (tenant_id, priority DESC, scheduled_for, id) WHERE (status = 'pending'::text);

-- step: expand: put it in the place of public.ix_job_queue_waiting
-- lint: require-concurrent-index-deletion: its successor is built and takes its name
DROP INDEX public.ix_job_queue_waiting;
-- lint: renaming-object: it takes the place of the other
ALTER INDEX public."ix_job_queue_waiting_next" RENAME TO "ix_job_queue_waiting";

-- step: expand: build what follows public.uq_job_queue_dedupe_key, outside a transaction
-- at risk: keys of public.job_queue (tenant_id, job_type, dedupe_key) that stand more than once: SELECT count(*) FROM (SELECT FROM public.job_queue WHERE ((status = 'pending'::text) AND (dedupe_key IS NOT NULL)) GROUP BY tenant_id, job_type, dedupe_key HAVING count(*) > 1) AS twice
CREATE UNIQUE INDEX CONCURRENTLY "uq_job_queue_dedupe_key_next" ON public.job_queue USING btree (tenant_id, job_type, dedupe_key) NULLS NOT DISTINCT WHERE ((status = 'pending'::text) AND (dedupe_key IS NOT NULL));

-- step: expand: put it in the place of public.uq_job_queue_dedupe_key
-- lint: require-concurrent-index-deletion: its successor is built and takes its name
DROP INDEX public.uq_job_queue_dedupe_key;
-- lint: renaming-object: it takes the place of the other
ALTER INDEX public."uq_job_queue_dedupe_key_next" RENAME TO "uq_job_queue_dedupe_key";

-- step: expand: create grant function viral.claim_jobs(uuid, integer) to viral_worker, create grant function viral.finish_job(uuid, uuid, integer, jsonb, text, timestamp with time zone) to viral_worker and 3 more
SET LOCAL ROLE viral_auth;

GRANT EXECUTE ON FUNCTION viral.claim_jobs(uuid, integer) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.finish_job(uuid, uuid, integer, jsonb, text, timestamp with time zone) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.reap_jobs(interval) TO viral_worker;

SET LOCAL ROLE viral_owner;

REVOKE INSERT ON public.job_queue FROM viral_auth;

REVOKE UPDATE ON public.job_queue FROM viral_system;

-- step: contract: drop public.job_effects.fk_job_effects_tenant_id
ALTER TABLE public.job_effects DROP CONSTRAINT fk_job_effects_tenant_id;

-- step: contract: drop public.job_queue.ck_job_queue_progress, drop public.job_queue.ck_job_queue_queue
ALTER TABLE public.job_queue DROP CONSTRAINT ck_job_queue_progress;

ALTER TABLE public.job_queue DROP CONSTRAINT ck_job_queue_queue;

-- step: contract: drop public.ix_job_queue_batch, outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS public.ix_job_queue_batch;

-- step: contract: drop public.ix_job_queue_blocked, outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS public.ix_job_queue_blocked;

-- step: contract: drop public.ix_job_queue_delayed, outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS public.ix_job_queue_delayed;

-- step: contract: drop public.ix_job_queue_suspects, outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS public.ix_job_queue_suspects;

-- step: contract: drop public.ix_job_queue_tenant_id_id, outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS public.ix_job_queue_tenant_id_id;

-- step: contract: drop public.job_queue.batch_id, drop public.job_queue.crashes and 6 more
-- at risk: values of public.job_queue.batch_id: SELECT count(*) FROM public.job_queue WHERE batch_id IS NOT NULL
-- at risk: values of public.job_queue.crashes: SELECT count(*) FROM public.job_queue WHERE crashes IS NOT NULL
-- at risk: values of public.job_queue.is_awaited: SELECT count(*) FROM public.job_queue WHERE is_awaited IS NOT NULL
-- at risk: values of public.job_queue.is_due: SELECT count(*) FROM public.job_queue WHERE is_due IS NOT NULL
-- at risk: values of public.job_queue.progress: SELECT count(*) FROM public.job_queue WHERE progress IS NOT NULL
-- at risk: values of public.job_queue.queue: SELECT count(*) FROM public.job_queue WHERE queue IS NOT NULL
-- at risk: values of public.job_queue.waits_for: SELECT count(*) FROM public.job_queue WHERE waits_for IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.job_queue DROP COLUMN batch_id;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.job_queue DROP COLUMN crashes;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.job_queue DROP COLUMN is_awaited;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.job_queue DROP COLUMN is_due;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.job_queue DROP COLUMN place;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.job_queue DROP COLUMN progress;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.job_queue DROP COLUMN queue;

-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.job_queue DROP COLUMN waits_for;

-- step: contract: drop public.job_workers.is_leased
-- at risk: values of public.job_workers.is_leased: SELECT count(*) FROM public.job_workers WHERE is_leased IS NOT NULL
-- lint: ban-drop-column: the models do not have this column
ALTER TABLE public.job_workers DROP COLUMN is_leased;

-- step: contract: drop public.job_effects, public.job_schedules, drop function viral.allowed_jobs(text, uuid, integer, integer, integer, interval) and 27 more
-- at risk: rows of public.job_effects: SELECT count(*) FROM public.job_effects
-- at risk: rows of public.job_schedules: SELECT count(*) FROM public.job_schedules
-- lint: ban-drop-table: the models do not have this table
DROP TABLE public.job_effects, public.job_schedules;

SET LOCAL ROLE viral_auth;

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.allowed_jobs(text, uuid, integer, integer, integer, interval);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.cancel_jobs(uuid[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.claim_jobs(uuid, text, integer, uuid, integer, integer, interval, boolean);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.due_schedules();

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.enqueue_jobs(text, uuid[], text, text, jsonb[], integer, integer, text, interval, uuid);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.exchange_jobs(uuid, uuid[], integer[], jsonb[], text[], double precision[], text, integer, uuid, integer, integer, interval, boolean);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.finish_jobs(uuid, uuid[], integer[], jsonb[], text[], double precision[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.fire_schedule(uuid, timestamp with time zone, timestamp with time zone, uuid, integer);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.first_id_at(timestamp with time zone);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.hand_over_jobs(uuid, uuid[], integer[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.handed_over_jobs(interval, integer);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.job_stats();

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.jobs_of_all(text, text, uuid, integer);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.lease_worker(uuid);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.lost_jobs(uuid, uuid[], integer[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.payloads_of(text, uuid[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.promote_jobs();

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.prune_jobs(interval, interval, integer);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.reap_jobs(uuid, interval);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.release_jobs(uuid, uuid[], integer[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.report_progress(uuid, uuid, integer, integer);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.retry_jobs(uuid[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.settle_jobs(uuid[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.stray_jobs(uuid, text, uuid[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.suspect_job(text, integer);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.take_job(uuid, uuid, integer);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.wait_for_jobs(uuid, uuid[]);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.waiting_places(text, uuid, integer);

SET LOCAL ROLE viral_owner;
