-- The fair queue.

-- step: expand: create the functions from reap_jobs to waiting_places, job_effects and job_schedules
SET LOCAL check_function_bodies = off;

SET LOCAL ROLE viral_auth;

CREATE OR REPLACE FUNCTION viral.reap_jobs(worker uuid, silence interval)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  gone uuid[];
  freed uuid[];
  failed uuid[];
BEGIN
  gone := ARRAY(
    SELECT w.id FROM public.job_workers AS w
    WHERE w.id <> worker AND (
      w.heartbeat_at < now() - silence
      -- A server that was started anew has freed the locks of the living.
      OR CASE WHEN w.is_leased AND pg_postmaster_start_time() < now() - interval '3 seconds'
           THEN pg_try_advisory_xact_lock(hashtextextended('worker:' || w.id::text, 0))
           ELSE false END
    )
    FOR UPDATE SKIP LOCKED
  );
  IF cardinality(gone) = 0 THEN
    RETURN 0;
  END IF;
  WITH taken AS (
    UPDATE public.job_queue AS j
    SET status = CASE WHEN j.attempts < j.max_attempts THEN 'pending' ELSE 'failed' END,
        worker_id = NULL, crashes = j.crashes + 1, error_message = 'the worker stopped',
        is_due = j.crashes = 0,
        scheduled_for = CASE WHEN j.crashes = 0 THEN j.scheduled_for
          ELSE now() + interval '5 seconds' * (2 ^ least(j.crashes, 9)) * (0.5 + random()) END,
        completed_at = CASE WHEN j.attempts < j.max_attempts THEN NULL ELSE now() END
    WHERE j.status = 'running' AND j.worker_id = ANY (gone)
    RETURNING j.id, j.is_awaited AND j.status = 'failed' AS is_settled
  )
  SELECT array_agg(t.id), array_agg(t.id) FILTER (WHERE t.is_settled)
  INTO freed, failed FROM taken AS t;
  IF failed IS NOT NULL THEN
    PERFORM viral.settle_jobs(failed);
  END IF;
  DELETE FROM public.job_workers AS w WHERE w.id = ANY (gone);
  RETURN coalesce(cardinality(freed), 0);
END
$function$
;

REVOKE ALL ON FUNCTION viral.reap_jobs(uuid, interval) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.release_jobs(worker uuid, jobs uuid[], tries integer[])
 RETURNS integer
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  WITH released AS (
    UPDATE public.job_queue AS j
    SET status = 'pending', worker_id = NULL, attempts = j.attempts - 1, started_at = NULL,
        progress = 0
    FROM unnest(jobs, tries) AS g (id, attempt)
    WHERE j.id = g.id AND j.worker_id = worker AND j.attempts = g.attempt
    RETURNING 1
  )
  SELECT count(*)::integer FROM released
$function$
;

REVOKE ALL ON FUNCTION viral.release_jobs(uuid, uuid[], integer[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.report_progress(worker uuid, job uuid, attempt integer, percent integer)
 RETURNS boolean
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  WITH told AS (
    UPDATE public.job_queue AS j SET progress = percent
    WHERE j.id = job AND j.worker_id = worker AND j.attempts = attempt AND j.status = 'running'
    RETURNING 1
  )
  SELECT EXISTS (SELECT FROM told)
$function$
;

REVOKE ALL ON FUNCTION viral.report_progress(uuid, uuid, integer, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.retry_jobs(jobs uuid[])
 RETURNS SETOF uuid
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  UPDATE public.job_queue AS j
  SET status = 'pending', is_due = true, scheduled_for = now(), attempts = 0, crashes = 0,
      progress = 0, dedupe_key = NULL, waits_for = NULL, result = NULL, error_message = NULL, completed_at = NULL
  WHERE j.id = ANY (jobs) AND j.tenant_id = (SELECT viral.tenant_id())
    AND j.status IN ('failed', 'canceled')
  RETURNING j.id
$function$
;

REVOKE ALL ON FUNCTION viral.retry_jobs(uuid[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.settle_jobs(ended uuid[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  gone uuid[];
BEGIN
  UPDATE public.job_queue AS j
  SET waits_for = nullif(j.waits_for - done.ids, '[]'),
      status = CASE WHEN j.waits_for - done.ids = '[]' THEN 'pending' ELSE j.status END
  FROM (
    SELECT array_agg(c.id::text) AS ids FROM public.job_queue AS c
    WHERE c.id = ANY (ended) AND c.status = 'completed'
  ) AS done
  WHERE j.status = 'blocked' AND j.waits_for ?| done.ids;
  SELECT array_agg(j.id) INTO gone FROM public.job_queue AS j
  WHERE j.id = ANY (ended) AND j.status IN ('failed', 'canceled');
  WHILE gone IS NOT NULL LOOP
    WITH canceled AS (
      UPDATE public.job_queue AS j
      SET status = 'canceled', completed_at = now(),
          error_message = 'a job that this one waits for did not complete'
      WHERE j.status = 'blocked' AND j.waits_for ?| gone::text[]
      RETURNING j.id
    )
    SELECT array_agg(c.id) INTO gone FROM canceled AS c;
  END LOOP;
END
$function$
;

REVOKE ALL ON FUNCTION viral.settle_jobs(uuid[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.stray_jobs(worker uuid, lane text, known uuid[])
 RETURNS TABLE(id uuid, attempt integer)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  SELECT j.id, j.attempts FROM public.job_queue AS j
  WHERE j.status = 'running' AND j.queue = lane AND j.worker_id = worker
    AND NOT j.id = ANY (known)
$function$
;

REVOKE ALL ON FUNCTION viral.stray_jobs(uuid, text, uuid[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.suspect_job(lane text, running_limit integer)
 RETURNS tid
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
AS $function$
  SELECT j.ctid FROM public.job_queue AS j
  WHERE j.status = 'pending' AND j.is_due AND j.crashes > 0 AND j.queue = lane
    AND j.scheduled_for <= now()
    AND (running_limit IS NULL OR running_limit > (
      SELECT count(*) FROM public.job_queue AS o
      WHERE o.status = 'running' AND o.queue = lane AND o.place = j.place))
  ORDER BY j.priority DESC, j.id LIMIT 1 FOR UPDATE SKIP LOCKED
$function$
;

REVOKE ALL ON FUNCTION viral.suspect_job(text, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.take_job(worker uuid, job uuid, attempt integer)
 RETURNS TABLE(id uuid, tenant_id uuid, queue text, job_type text, crashes integer, has_payload boolean)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  UPDATE public.job_queue AS j SET worker_id = worker, started_at = now()
  WHERE j.id = job AND j.attempts = attempt AND j.status = 'running'
    AND j.worker_id = '00000000-0000-0000-0000-000000000000'
  RETURNING j.id, j.tenant_id, j.queue, j.job_type, j.crashes, j.payload <> '{}'
$function$
;

REVOKE ALL ON FUNCTION viral.take_job(uuid, uuid, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.wait_for_jobs(job uuid, parents uuid[])
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
DECLARE
  mine uuid := viral.tenant_id();
  found uuid[];
  hopeless uuid;
  open uuid[];
BEGIN
  WITH locked AS (
    UPDATE public.job_queue AS j SET is_awaited = true
    WHERE j.id = ANY (parents) AND j.tenant_id = mine AND j.id <> job
    RETURNING j.id, j.status
  )
  SELECT array_agg(l.id),
         (array_agg(l.id) FILTER (WHERE l.status IN ('failed', 'canceled')))[1],
         coalesce(array_agg(l.id) FILTER (
           WHERE l.status IN ('pending', 'blocked', 'running')), '{}')
  INTO found, hopeless, open
  FROM locked AS l;
  IF NOT parents <@ coalesce(found, '{}') THEN
    RAISE EXCEPTION 'no such job' USING ERRCODE = 'VT404';
  ELSIF hopeless IS NOT NULL THEN
    RAISE EXCEPTION 'job % has failed or was canceled', hopeless USING ERRCODE = 'VT409';
  END IF;
  UPDATE public.job_queue AS j SET status = 'blocked', waits_for = to_jsonb(open)
  WHERE j.id = job AND j.tenant_id = mine AND j.status = 'pending' AND cardinality(open) > 0;
  RETURN cardinality(open);
END
$function$
;

REVOKE ALL ON FUNCTION viral.wait_for_jobs(uuid, uuid[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION viral.waiting_places(lane text, after uuid, wanted integer)
 RETURNS uuid[]
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
  WITH RECURSIVE ring (place, position) AS (
    (SELECT j.place, 1
     FROM public.job_queue AS j
     WHERE j.status = 'pending' AND j.is_due AND j.crashes = 0 AND j.queue = lane
       AND j.place > after
     ORDER BY j.place
     LIMIT 1)
    UNION ALL
    SELECT n.place, ring.position + 1
    FROM ring CROSS JOIN LATERAL (
      SELECT j.place
      FROM public.job_queue AS j
      WHERE j.status = 'pending' AND j.is_due AND j.crashes = 0 AND j.queue = lane
        AND j.place > ring.place
      ORDER BY j.place
      LIMIT 1
    ) AS n
    WHERE ring.position < wanted
  )
  SELECT coalesce(array_agg(ring.place ORDER BY ring.position), '{}') FROM ring
$function$
;

REVOKE ALL ON FUNCTION viral.waiting_places(text, uuid, integer) FROM PUBLIC;

SET LOCAL ROLE viral_owner;

CREATE TABLE public.job_effects (
  tenant_id uuid NOT NULL,
  id uuid NOT NULL,
  key text NOT NULL,
  job_id uuid NOT NULL,
  result jsonb,
  begun_at timestamp with time zone DEFAULT now() NOT NULL,
  done_at timestamp with time zone,
  CONSTRAINT fk_job_effects_tenant_id FOREIGN KEY (tenant_id) REFERENCES tenants(id) ON DELETE CASCADE,
  CONSTRAINT pk_job_effects PRIMARY KEY (tenant_id, id),
  CONSTRAINT uq_job_effects_tenant_id_key UNIQUE (tenant_id, key)
);

ALTER TABLE public.job_effects ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.job_effects FORCE ROW LEVEL SECURITY;

CREATE TABLE public.job_schedules (
  id uuid NOT NULL,
  name text NOT NULL,
  job_type text NOT NULL,
  queue text DEFAULT 'default'::text NOT NULL,
  cron text NOT NULL,
  time_zone text NOT NULL,
  missed text DEFAULT 'once'::text NOT NULL,
  is_paused boolean DEFAULT false NOT NULL,
  next_at timestamp with time zone NOT NULL,
  last_at timestamp with time zone,
  created_at timestamp with time zone DEFAULT now() NOT NULL,
  CONSTRAINT ck_job_schedules_missed CHECK ((missed = ANY (ARRAY['once'::text, 'skip'::text]))),
  CONSTRAINT ck_job_schedules_queue CHECK (((length(queue) >= 1) AND (length(queue) <= 63))),
  CONSTRAINT pk_job_schedules PRIMARY KEY (id),
  CONSTRAINT uq_job_schedules_name UNIQUE (name)
);

ALTER TABLE public.job_schedules ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.job_schedules FORCE ROW LEVEL SECURITY;

ALTER TABLE public.job_queue ADD COLUMN batch_id uuid;

ALTER TABLE public.job_queue ADD COLUMN crashes integer DEFAULT 0 NOT NULL;

ALTER TABLE public.job_queue ADD COLUMN is_awaited boolean DEFAULT false NOT NULL;

ALTER TABLE public.job_queue ADD COLUMN is_due boolean DEFAULT true NOT NULL;

-- lint: adding-field-with-default: every row gets a value of its own
ALTER TABLE public.job_queue ADD COLUMN place uuid GENERATED ALWAYS AS (COALESCE(tenant_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)) STORED NOT NULL;

ALTER TABLE public.job_queue ADD COLUMN progress integer DEFAULT 0 NOT NULL;

ALTER TABLE public.job_queue ADD COLUMN queue text DEFAULT 'default'::text NOT NULL;

ALTER TABLE public.job_queue ADD COLUMN waits_for jsonb;

-- step: expand: add public.job_workers.is_leased
ALTER TABLE public.job_workers ADD COLUMN is_leased boolean DEFAULT false NOT NULL;

-- step: expand: change table public.job_queue
ALTER TABLE public.job_queue SET (autovacuum_vacuum_cost_delay=0, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=2000);

-- step: expand: add public.job_queue.ck_job_queue_progress
-- at risk: rows of public.job_queue that break ck_job_queue_progress: SELECT count(*) FROM public.job_queue WHERE NOT (((progress >= 0) AND (progress <= 100)))
ALTER TABLE public.job_queue ADD CONSTRAINT ck_job_queue_progress CHECK (((progress >= 0) AND (progress <= 100))) NOT VALID;

-- step: expand: validate public.job_queue.ck_job_queue_progress
ALTER TABLE public.job_queue VALIDATE CONSTRAINT ck_job_queue_progress;

-- step: expand: add public.job_queue.ck_job_queue_queue
-- at risk: rows of public.job_queue that break ck_job_queue_queue: SELECT count(*) FROM public.job_queue WHERE NOT (((length(queue) >= 1) AND (length(queue) <= 63)))
ALTER TABLE public.job_queue ADD CONSTRAINT ck_job_queue_queue CHECK (((length(queue) >= 1) AND (length(queue) <= 63))) NOT VALID;

-- step: expand: validate public.job_queue.ck_job_queue_queue
ALTER TABLE public.job_queue VALIDATE CONSTRAINT ck_job_queue_queue;

-- step: expand: build public.ix_job_effects_tenant_id_begun_at
CREATE INDEX ix_job_effects_tenant_id_begun_at ON public.job_effects USING btree (tenant_id, begun_at);

-- step: expand: build public.ix_job_queue_batch, outside a transaction
CREATE INDEX CONCURRENTLY ix_job_queue_batch ON public.job_queue USING btree (tenant_id, batch_id) WHERE (batch_id IS NOT NULL);

-- step: expand: build public.ix_job_queue_blocked, outside a transaction
CREATE INDEX CONCURRENTLY ix_job_queue_blocked ON public.job_queue USING gin (waits_for) WHERE (status = 'blocked'::text);

-- step: expand: build public.ix_job_queue_delayed, outside a transaction
CREATE INDEX CONCURRENTLY ix_job_queue_delayed ON public.job_queue USING btree (scheduled_for) WHERE ((status = 'pending'::text) AND (NOT is_due));

-- step: expand: build what follows public.ix_job_queue_running, outside a transaction
CREATE INDEX CONCURRENTLY "ix_job_queue_running_next" ON public.job_queue USING btree (queue, place) WHERE (status = 'running'::text);

-- step: expand: put it in the place of public.ix_job_queue_running
-- lint: require-concurrent-index-deletion: its successor is built and takes its name
DROP INDEX public.ix_job_queue_running;
-- lint: renaming-object: it takes the place of the other
ALTER INDEX public."ix_job_queue_running_next" RENAME TO "ix_job_queue_running";

-- step: expand: build public.ix_job_queue_suspects, outside a transaction
CREATE INDEX CONCURRENTLY ix_job_queue_suspects ON public.job_queue USING btree (queue, priority DESC, id) WHERE ((status = 'pending'::text) AND is_due AND (crashes > 0));

-- step: expand: build public.ix_job_queue_tenant_id_id, outside a transaction
CREATE INDEX CONCURRENTLY ix_job_queue_tenant_id_id ON public.job_queue USING btree (tenant_id, id);

-- step: expand: build what follows public.ix_job_queue_waiting, outside a transaction
CREATE INDEX CONCURRENTLY "ix_job_queue_waiting_next" ON public.job_queue USING btree (queue, place, priority DESC, id) WHERE ((status = 'pending'::text) AND is_due AND (crashes = 0));

-- step: expand: put it in the place of public.ix_job_queue_waiting
-- lint: require-concurrent-index-deletion: its successor is built and takes its name
DROP INDEX public.ix_job_queue_waiting;
-- lint: renaming-object: it takes the place of the other
ALTER INDEX public."ix_job_queue_waiting_next" RENAME TO "ix_job_queue_waiting";

-- step: expand: build what follows public.uq_job_queue_dedupe_key, outside a transaction
-- at risk: keys of public.job_queue (tenant_id, job_type, dedupe_key) that stand more than once: SELECT count(*) FROM (SELECT FROM public.job_queue WHERE ((status = ANY (ARRAY['pending'::text, 'blocked'::text])) AND (dedupe_key IS NOT NULL)) GROUP BY tenant_id, job_type, dedupe_key HAVING count(*) > 1) AS twice
CREATE UNIQUE INDEX CONCURRENTLY "uq_job_queue_dedupe_key_next" ON public.job_queue USING btree (tenant_id, job_type, dedupe_key) NULLS NOT DISTINCT WHERE ((status = ANY (ARRAY['pending'::text, 'blocked'::text])) AND (dedupe_key IS NOT NULL));

-- step: expand: put it in the place of public.uq_job_queue_dedupe_key
-- lint: require-concurrent-index-deletion: its successor is built and takes its name
DROP INDEX public.uq_job_queue_dedupe_key;
-- lint: renaming-object: it takes the place of the other
ALTER INDEX public."uq_job_queue_dedupe_key_next" RENAME TO "uq_job_queue_dedupe_key";

-- step: expand: create policy public.job_effects.functions, create policy public.job_effects.tenant_only and 36 more
CREATE POLICY functions ON public.job_effects AS PERMISSIVE FOR ALL TO viral_auth USING (true) WITH CHECK (true);

CREATE POLICY tenant_only ON public.job_effects AS PERMISSIVE FOR ALL TO viral_app, viral_readonly USING ((tenant_id = (SELECT viral.tenant_id()))) WITH CHECK ((tenant_id = (SELECT viral.tenant_id())));

CREATE POLICY functions ON public.job_schedules AS PERMISSIVE FOR ALL TO viral_auth USING (true) WITH CHECK (true);

CREATE POLICY system_only ON public.job_schedules AS PERMISSIVE FOR ALL TO viral_system USING (true) WITH CHECK (true);

GRANT INSERT (batch_id) ON public.job_queue TO viral_app;

GRANT INSERT (is_due) ON public.job_queue TO viral_app;

GRANT INSERT (queue) ON public.job_queue TO viral_app;

SET LOCAL ROLE viral_auth;

GRANT EXECUTE ON FUNCTION viral.cancel_jobs(uuid[]) TO viral_app;

GRANT EXECUTE ON FUNCTION viral.claim_jobs(uuid, text, integer, uuid, integer, integer, interval, boolean) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.due_schedules() TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.enqueue_jobs(text, uuid[], text, text, jsonb[], integer, integer, text, interval, uuid) TO viral_app;

GRANT EXECUTE ON FUNCTION viral.exchange_jobs(uuid, uuid[], integer[], jsonb[], text[], double precision[], text, integer, uuid, integer, integer, interval, boolean) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.finish_jobs(uuid, uuid[], integer[], jsonb[], text[], double precision[]) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.fire_schedule(uuid, timestamp with time zone, timestamp with time zone, uuid, integer) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.hand_over_jobs(uuid, uuid[], integer[]) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.handed_over_jobs(interval, integer) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.job_stats() TO viral_system;

GRANT EXECUTE ON FUNCTION viral.job_stats() TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.jobs_of_all(text, text, uuid, integer) TO viral_system;

GRANT EXECUTE ON FUNCTION viral.lease_worker(uuid) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.lost_jobs(uuid, uuid[], integer[]) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.payloads_of(text, uuid[]) TO viral_app;

GRANT EXECUTE ON FUNCTION viral.promote_jobs() TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.prune_jobs(interval, interval, integer) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.reap_jobs(uuid, interval) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.release_jobs(uuid, uuid[], integer[]) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.report_progress(uuid, uuid, integer, integer) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.retry_jobs(uuid[]) TO viral_app;

GRANT EXECUTE ON FUNCTION viral.stray_jobs(uuid, text, uuid[]) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.take_job(uuid, uuid, integer) TO viral_worker;

GRANT EXECUTE ON FUNCTION viral.wait_for_jobs(uuid, uuid[]) TO viral_app;

SET LOCAL ROLE viral_owner;

GRANT INSERT, SELECT, UPDATE ON public.job_effects TO viral_app;

GRANT DELETE, SELECT ON public.job_effects TO viral_auth;

GRANT SELECT ON public.job_effects TO viral_readonly;

GRANT INSERT ON public.job_queue TO viral_auth;

GRANT UPDATE ON public.job_queue TO viral_system;

GRANT SELECT, UPDATE ON public.job_schedules TO viral_auth;

GRANT DELETE, INSERT, SELECT, UPDATE ON public.job_schedules TO viral_system;

-- step: contract: drop public.ix_job_queue_tenant_id_created_at, outside a transaction
DROP INDEX CONCURRENTLY IF EXISTS public.ix_job_queue_tenant_id_created_at;

-- step: contract: drop function viral.claim_jobs(uuid, integer), drop function viral.finish_job(uuid, uuid, integer, jsonb, text, timestamp with time zone) and 1 more
SET LOCAL ROLE viral_auth;

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.claim_jobs(uuid, integer);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.finish_job(uuid, uuid, integer, jsonb, text, timestamp with time zone);

-- lint: ban-drop-function: the models do not have this function
DROP FUNCTION viral.reap_jobs(interval);

SET LOCAL ROLE viral_owner;
