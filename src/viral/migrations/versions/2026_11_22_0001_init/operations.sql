SET LOCAL ROLE viral_owner;

CREATE TABLE job_workers (
  id UUID NOT NULL,
  started_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  heartbeat_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_job_workers PRIMARY KEY (id)
);

CREATE TABLE system_metrics (
  id UUID NOT NULL,
  recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  metric_type TEXT NOT NULL,
  value FLOAT(53) NOT NULL,
  metadata JSONB,
  CONSTRAINT pk_system_metrics PRIMARY KEY (id, recorded_at)
)
 PARTITION BY RANGE (recorded_at);

CREATE INDEX ix_system_metrics_metric_type_recorded_at ON system_metrics (metric_type, recorded_at);

CREATE TABLE api_usage (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  requested_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  api_key_id UUID,
  user_id UUID,
  request_id TEXT NOT NULL,
  endpoint TEXT NOT NULL,
  method TEXT NOT NULL,
  status_code INTEGER NOT NULL,
  response_time_ms INTEGER NOT NULL,
  CONSTRAINT pk_api_usage PRIMARY KEY (tenant_id, id, requested_at),
  CONSTRAINT fk_api_usage_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
)
 PARTITION BY RANGE (requested_at);

CREATE INDEX ix_api_usage_tenant_id_api_key_id_requested_at ON api_usage (tenant_id, api_key_id, requested_at);

CREATE INDEX ix_api_usage_tenant_id_requested_at ON api_usage (tenant_id, requested_at);

CREATE TABLE job_queue (
  id UUID NOT NULL,
  scope TEXT DEFAULT 'tenant' NOT NULL,
  tenant_id UUID,
  job_type TEXT NOT NULL,
  status TEXT DEFAULT 'pending' NOT NULL,
  priority INTEGER DEFAULT '5' NOT NULL,
  payload JSONB DEFAULT '{}' NOT NULL,
  result JSONB,
  error_message TEXT,
  attempts INTEGER DEFAULT '0' NOT NULL,
  max_attempts INTEGER DEFAULT '3' NOT NULL,
  dedupe_key TEXT,
  worker_id UUID,
  scheduled_for TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  started_at TIMESTAMP WITH TIME ZONE,
  completed_at TIMESTAMP WITH TIME ZONE,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_job_queue PRIMARY KEY (id),
  CONSTRAINT ck_job_queue_scope CHECK (scope IN ('tenant', 'system')),
  CONSTRAINT ck_job_queue_scope_tenant CHECK ((scope = 'system') = (tenant_id IS NULL)),
  CONSTRAINT ck_job_queue_status CHECK (status IN ('pending', 'blocked', 'running', 'completed', 'failed', 'canceled')),
  CONSTRAINT ck_job_queue_max_attempts CHECK (max_attempts BETWEEN 1 AND 100),
  CONSTRAINT fk_job_queue_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_job_queue_running ON job_queue (worker_id) WHERE status = 'running';

CREATE INDEX ix_job_queue_tenant_id_created_at ON job_queue (tenant_id, created_at);

CREATE INDEX ix_job_queue_waiting ON job_queue (tenant_id, priority DESC, scheduled_for, id) WHERE status = 'pending';

CREATE UNIQUE INDEX uq_job_queue_dedupe_key ON job_queue (tenant_id, job_type, dedupe_key) NULLS NOT DISTINCT WHERE status = 'pending' AND dedupe_key IS NOT NULL;

ALTER TABLE job_workers ENABLE ROW LEVEL SECURITY;

ALTER TABLE job_workers FORCE ROW LEVEL SECURITY;

CREATE POLICY functions ON job_workers TO viral_auth USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON job_workers TO viral_auth;

ALTER TABLE system_metrics ENABLE ROW LEVEL SECURITY;

ALTER TABLE system_metrics FORCE ROW LEVEL SECURITY;

CREATE POLICY system_only ON system_metrics TO viral_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, DELETE ON system_metrics TO viral_system;

ALTER TABLE api_usage ENABLE ROW LEVEL SECURITY;

ALTER TABLE api_usage FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON api_usage TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

GRANT SELECT, INSERT ON api_usage TO viral_app;

GRANT SELECT ON api_usage TO viral_readonly;

ALTER TABLE job_queue ENABLE ROW LEVEL SECURITY;

ALTER TABLE job_queue FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON job_queue TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

CREATE POLICY functions ON job_queue TO viral_auth USING (true) WITH CHECK (true);

CREATE POLICY system_jobs ON job_queue TO viral_system USING (scope = 'system') WITH CHECK (scope = 'system');

GRANT SELECT ON job_queue TO viral_app;

GRANT INSERT (id, tenant_id, scope, job_type, priority, payload, max_attempts, dedupe_key, scheduled_for) ON job_queue TO viral_app;

GRANT SELECT ON job_queue TO viral_readonly;

GRANT SELECT, UPDATE, DELETE ON job_queue TO viral_auth;

GRANT SELECT, INSERT ON job_queue TO viral_system;

SET LOCAL ROLE viral_owner;
