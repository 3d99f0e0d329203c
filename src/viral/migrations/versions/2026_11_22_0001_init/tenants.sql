SET LOCAL ROLE viral_owner;

CREATE TABLE tenants (
  id UUID NOT NULL,
  slug TEXT NOT NULL,
  name TEXT NOT NULL,
  subscription_tier TEXT DEFAULT 'FREE' NOT NULL,
  subscription_status TEXT DEFAULT 'active' NOT NULL,
  stripe_customer_id TEXT,
  stripe_subscription_id TEXT,
  monthly_quota INTEGER DEFAULT '10' NOT NULL,
  used_quota INTEGER DEFAULT '0' NOT NULL,
  quota_reset_at TIMESTAMP WITH TIME ZONE DEFAULT (date_trunc('month', now(), 'UTC') + interval '1 month') NOT NULL,
  is_demo BOOLEAN DEFAULT false NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_tenants PRIMARY KEY (id),
  CONSTRAINT uq_tenants_slug UNIQUE (slug),
  CONSTRAINT uq_tenants_stripe_customer_id UNIQUE (stripe_customer_id),
  CONSTRAINT uq_tenants_stripe_subscription_id UNIQUE (stripe_subscription_id),
  CONSTRAINT ck_tenants_slug CHECK (slug ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  CONSTRAINT ck_tenants_name CHECK (name <> '' AND length(name) <= 200),
  CONSTRAINT ck_tenants_tier CHECK (subscription_tier IN ('FREE', 'STARTER', 'PRO', 'AGENCY')),
  CONSTRAINT ck_tenants_status CHECK (subscription_status IN ('active', 'trialing', 'past_due', 'canceled', 'incomplete', 'incomplete_expired', 'unpaid', 'paused')),
  CONSTRAINT ck_tenants_monthly_quota CHECK (monthly_quota >= 0),
  CONSTRAINT ck_tenants_used_quota CHECK (used_quota >= 0)
);

CREATE TABLE users (
  id UUID NOT NULL,
  clerk_id TEXT,
  email TEXT NOT NULL,
  name TEXT,
  image_url TEXT,
  password_hash TEXT,
  tenant_id UUID,
  is_operator BOOLEAN DEFAULT false NOT NULL,
  last_login_at TIMESTAMP WITH TIME ZONE,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_users PRIMARY KEY (id),
  CONSTRAINT uq_users_clerk_id UNIQUE (clerk_id),
  CONSTRAINT uq_users_email UNIQUE (email),
  CONSTRAINT ck_users_email CHECK (email = lower(email) AND length(email) <= 320),
  CONSTRAINT fk_users_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE SET NULL
);

CREATE INDEX ix_users_tenant_id ON users (tenant_id);

COMMENT ON COLUMN users.tenant_id IS 'The tenant this person opens first.';

COMMENT ON COLUMN users.is_operator IS 'May do to this installation what its command line may.';

CREATE TABLE webhook_events (
  id UUID NOT NULL,
  tenant_id UUID,
  provider TEXT NOT NULL,
  event_id TEXT NOT NULL,
  event_type TEXT NOT NULL,
  payload JSONB NOT NULL,
  received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  processed_at TIMESTAMP WITH TIME ZONE,
  CONSTRAINT pk_webhook_events PRIMARY KEY (id),
  CONSTRAINT uq_webhook_events_provider_event_id UNIQUE (provider, event_id),
  CONSTRAINT fk_webhook_events_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_webhook_events_tenant_id ON webhook_events (tenant_id);

CREATE TABLE memberships (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  user_id UUID NOT NULL,
  role TEXT DEFAULT 'MEMBER' NOT NULL,
  ended_at TIMESTAMP WITH TIME ZONE,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_memberships PRIMARY KEY (tenant_id, id),
  CONSTRAINT uq_memberships_tenant_id_user_id UNIQUE (tenant_id, user_id),
  CONSTRAINT ck_memberships_role CHECK (role IN ('ADMIN', 'MEMBER')),
  CONSTRAINT fk_memberships_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
  CONSTRAINT fk_memberships_user_id FOREIGN KEY(user_id) REFERENCES users (id)
);

CREATE INDEX ix_memberships_user_id ON memberships (user_id);

CREATE TABLE api_keys (
  id UUID NOT NULL,
  tenant_id UUID NOT NULL,
  user_id UUID NOT NULL,
  name TEXT NOT NULL,
  prefix TEXT NOT NULL,
  key_hmac BYTEA NOT NULL,
  scopes JSONB DEFAULT '[]' NOT NULL,
  expires_at TIMESTAMP WITH TIME ZONE,
  last_used_at TIMESTAMP WITH TIME ZONE,
  revoked_at TIMESTAMP WITH TIME ZONE,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_api_keys PRIMARY KEY (id),
  CONSTRAINT uq_api_keys_key_hmac UNIQUE (key_hmac),
  CONSTRAINT fk_api_keys_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES memberships (tenant_id, user_id) ON DELETE CASCADE,
  CONSTRAINT ck_api_keys_key_hmac CHECK (octet_length(key_hmac) = 32),
  CONSTRAINT fk_api_keys_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_api_keys_tenant_id_user_id ON api_keys (tenant_id, user_id);

CREATE TABLE audit_log (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  user_id UUID,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  details JSONB DEFAULT '{}' NOT NULL,
  address TEXT,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_audit_log PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_audit_log_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES memberships (tenant_id, user_id),
  CONSTRAINT fk_audit_log_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_audit_log_tenant_id_created_at ON audit_log (tenant_id, created_at);

CREATE INDEX ix_audit_log_tenant_id_user_id ON audit_log (tenant_id, user_id);

CREATE TABLE quota_ledger (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  user_id UUID,
  kind TEXT NOT NULL,
  amount INTEGER NOT NULL,
  reservation_id UUID,
  period_start TIMESTAMP WITH TIME ZONE NOT NULL,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_quota_ledger PRIMARY KEY (tenant_id, id),
  CONSTRAINT uq_quota_ledger_tenant_id_reservation_id UNIQUE (tenant_id, reservation_id),
  CONSTRAINT fk_quota_ledger_tenant_id_reservation_id FOREIGN KEY(tenant_id, reservation_id) REFERENCES quota_ledger (tenant_id, id) ON DELETE CASCADE,
  CONSTRAINT fk_quota_ledger_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES memberships (tenant_id, user_id),
  CONSTRAINT ck_quota_ledger_kind CHECK ((kind = 'reserve' AND amount > 0 AND reservation_id IS NULL) OR (kind = 'refund' AND amount < 0 AND reservation_id IS NOT NULL)),
  CONSTRAINT fk_quota_ledger_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_quota_ledger_tenant_id_created_at ON quota_ledger (tenant_id, created_at);

CREATE INDEX ix_quota_ledger_tenant_id_user_id ON quota_ledger (tenant_id, user_id);

CREATE TABLE sessions (
  id UUID NOT NULL,
  tenant_id UUID NOT NULL,
  user_id UUID NOT NULL,
  token_sha256 BYTEA NOT NULL,
  opened_at TIMESTAMP WITH TIME ZONE,
  last_seen_at TIMESTAMP WITH TIME ZONE,
  expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
  ended_at TIMESTAMP WITH TIME ZONE,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_sessions PRIMARY KEY (id),
  CONSTRAINT uq_sessions_token_sha256 UNIQUE (token_sha256),
  CONSTRAINT fk_sessions_tenant_id_user_id FOREIGN KEY(tenant_id, user_id) REFERENCES memberships (tenant_id, user_id) ON DELETE CASCADE,
  CONSTRAINT ck_sessions_token_sha256 CHECK (octet_length(token_sha256) = 32),
  CONSTRAINT fk_sessions_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
  CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);

CREATE INDEX ix_sessions_tenant_id_user_id ON sessions (tenant_id, user_id);

CREATE INDEX ix_sessions_user_id ON sessions (user_id);

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;

ALTER TABLE tenants FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON tenants TO viral_app, viral_readonly USING (id = (SELECT viral.tenant_id())) WITH CHECK (id = (SELECT viral.tenant_id()));

CREATE POLICY functions ON tenants TO viral_auth USING (true) WITH CHECK (true);

CREATE POLICY system_all ON tenants TO viral_system USING (true) WITH CHECK (true);

GRANT SELECT ON tenants TO viral_app;

GRANT UPDATE (name, updated_at) ON tenants TO viral_app;

GRANT SELECT ON tenants TO viral_readonly;

GRANT SELECT, INSERT, UPDATE, DELETE, REFERENCES ON tenants TO viral_auth;

GRANT SELECT ON tenants TO viral_system;

ALTER TABLE users ENABLE ROW LEVEL SECURITY;

ALTER TABLE users FORCE ROW LEVEL SECURITY;

CREATE POLICY members_only ON users FOR SELECT TO viral_app, viral_readonly USING (id IN (SELECT m.user_id FROM memberships m WHERE m.tenant_id = (SELECT viral.tenant_id())));

CREATE POLICY functions ON users TO viral_auth USING (true) WITH CHECK (true);

CREATE POLICY system_all ON users TO viral_system USING (true) WITH CHECK (true);

GRANT SELECT (id, email, name, image_url, last_login_at) ON users TO viral_app;

GRANT SELECT (id, email, name, image_url, last_login_at) ON users TO viral_readonly;

GRANT SELECT, UPDATE ON users TO viral_auth;

GRANT SELECT, INSERT, UPDATE ON users TO viral_system;

ALTER TABLE webhook_events ENABLE ROW LEVEL SECURITY;

ALTER TABLE webhook_events FORCE ROW LEVEL SECURITY;

CREATE POLICY system_only ON webhook_events TO viral_system USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE ON webhook_events TO viral_system;

ALTER TABLE memberships ENABLE ROW LEVEL SECURITY;

ALTER TABLE memberships FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON memberships TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

CREATE POLICY functions ON memberships TO viral_auth USING (true) WITH CHECK (true);

CREATE POLICY system_all ON memberships TO viral_system USING (true) WITH CHECK (true);

GRANT SELECT ON memberships TO viral_app;

GRANT SELECT ON memberships TO viral_readonly;

GRANT SELECT ON memberships TO viral_auth;

GRANT SELECT, INSERT, UPDATE ON memberships TO viral_system;

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON api_keys TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

CREATE POLICY functions ON api_keys TO viral_auth USING (true) WITH CHECK (true);

GRANT SELECT (id, tenant_id, user_id, name, prefix, scopes, expires_at, last_used_at, revoked_at, created_at) ON api_keys TO viral_app;

GRANT SELECT (id, tenant_id, user_id, name, prefix, scopes, expires_at, last_used_at, revoked_at, created_at) ON api_keys TO viral_readonly;

GRANT SELECT, INSERT, UPDATE ON api_keys TO viral_auth;

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;

ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON audit_log TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

CREATE POLICY functions ON audit_log TO viral_auth USING (true) WITH CHECK (true);

GRANT SELECT, INSERT ON audit_log TO viral_app;

GRANT SELECT ON audit_log TO viral_readonly;

GRANT INSERT ON audit_log TO viral_auth;

ALTER TABLE quota_ledger ENABLE ROW LEVEL SECURITY;

ALTER TABLE quota_ledger FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON quota_ledger TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

CREATE POLICY functions ON quota_ledger TO viral_auth USING (true) WITH CHECK (true);

GRANT SELECT ON quota_ledger TO viral_app;

GRANT SELECT ON quota_ledger TO viral_readonly;

GRANT SELECT, INSERT ON quota_ledger TO viral_auth;

ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;

ALTER TABLE sessions FORCE ROW LEVEL SECURITY;

CREATE POLICY functions ON sessions TO viral_auth USING (true) WITH CHECK (true);

CREATE POLICY system_only ON sessions TO viral_system USING (true) WITH CHECK (true);

GRANT SELECT, UPDATE ON sessions TO viral_auth;

GRANT SELECT, INSERT, UPDATE, DELETE ON sessions TO viral_system;

SET LOCAL ROLE viral_auth;

CREATE TABLE viral.tenant_contexts (
  token_sha256 BYTEA NOT NULL,
  tenant_id UUID NOT NULL,
  key_id INTEGER NOT NULL,
  CONSTRAINT pk_tenant_contexts PRIMARY KEY (token_sha256),
  CONSTRAINT uq_tenant_contexts_tenant_id_key_id UNIQUE (tenant_id, key_id),
  CONSTRAINT ck_tenant_contexts_token_sha256 CHECK (octet_length(token_sha256) = 32),
  CONSTRAINT fk_tenant_contexts_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

ALTER TABLE viral.tenant_contexts ENABLE ROW LEVEL SECURITY;

ALTER TABLE viral.tenant_contexts FORCE ROW LEVEL SECURITY;

CREATE POLICY functions ON viral.tenant_contexts TO viral_auth USING (true) WITH CHECK (true);

SET LOCAL ROLE viral_owner;
