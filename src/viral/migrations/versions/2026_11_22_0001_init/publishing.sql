SET LOCAL ROLE viral_owner;

CREATE TABLE social_accounts (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  platform TEXT NOT NULL,
  external_id TEXT NOT NULL,
  username TEXT NOT NULL,
  access_token BYTEA NOT NULL,
  refresh_token BYTEA,
  scopes JSONB DEFAULT '[]' NOT NULL,
  expires_at TIMESTAMP WITH TIME ZONE,
  refresh_expires_at TIMESTAMP WITH TIME ZONE,
  token_status TEXT DEFAULT 'valid' NOT NULL,
  last_error TEXT,
  daily_limit INTEGER DEFAULT '10' NOT NULL,
  used_today INTEGER DEFAULT '0' NOT NULL,
  last_reset TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  niche TEXT,
  is_active BOOLEAN DEFAULT true NOT NULL,
  metadata JSONB,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_social_accounts PRIMARY KEY (tenant_id, id),
  CONSTRAINT uq_social_accounts_tenant_id_platform_external_id UNIQUE (tenant_id, platform, external_id),
  CONSTRAINT ck_social_accounts_platform CHECK (platform IN ('tiktok', 'youtube', 'instagram')),
  CONSTRAINT ck_social_accounts_token_status CHECK (token_status IN ('valid', 'expired', 'revoked')),
  CONSTRAINT ck_social_accounts_limits CHECK (daily_limit >= 0 AND used_today >= 0),
  CONSTRAINT fk_social_accounts_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_social_accounts_tenant_id_platform_is_active ON social_accounts (tenant_id, platform, is_active);

CREATE TABLE videos (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  concept_id UUID NOT NULL,
  category TEXT NOT NULL,
  platform TEXT NOT NULL,
  format TEXT,
  provider TEXT NOT NULL,
  provider_job_id TEXT,
  model TEXT,
  prompt TEXT,
  status TEXT DEFAULT 'queued' NOT NULL,
  error_message TEXT,
  video_url TEXT,
  cdn_url TEXT,
  thumbnail_url TEXT,
  duration_s FLOAT(53),
  width INTEGER,
  height INTEGER,
  has_audio BOOLEAN,
  checksum TEXT,
  attempts INTEGER DEFAULT '0' NOT NULL,
  is_ai_generated BOOLEAN DEFAULT true NOT NULL,
  metadata JSONB,
  generation_cost NUMERIC(10, 4) DEFAULT '0' NOT NULL,
  generated_at TIMESTAMP WITH TIME ZONE,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_videos PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_videos_tenant_id_concept_id FOREIGN KEY(tenant_id, concept_id) REFERENCES concepts (tenant_id, id) ON DELETE CASCADE,
  CONSTRAINT uq_videos_tenant_id_provider_provider_job_id UNIQUE (tenant_id, provider, provider_job_id),
  CONSTRAINT ck_videos_platform CHECK (platform IN ('tiktok', 'youtube', 'instagram')),
  CONSTRAINT ck_videos_status CHECK (status IN ('queued', 'generating', 'uploading', 'checking', 'completed', 'failed', 'canceled')),
  CONSTRAINT ck_videos_completed CHECK (status <> 'completed' OR video_url IS NOT NULL),
  CONSTRAINT ck_videos_generation_cost CHECK (generation_cost >= 0),
  CONSTRAINT fk_videos_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_videos_tenant_id_concept_id ON videos (tenant_id, concept_id);

CREATE INDEX ix_videos_tenant_id_platform ON videos (tenant_id, platform);

CREATE INDEX ix_videos_tenant_id_status ON videos (tenant_id, status);

CREATE TABLE social_posts (
  tenant_id UUID NOT NULL,
  id UUID NOT NULL,
  video_id UUID NOT NULL,
  account_id UUID NOT NULL,
  variant_id UUID,
  platform TEXT NOT NULL,
  title TEXT,
  caption TEXT DEFAULT '' NOT NULL,
  hashtags JSONB DEFAULT '[]' NOT NULL,
  privacy TEXT DEFAULT 'public' NOT NULL,
  is_ai_labelled BOOLEAN DEFAULT true NOT NULL,
  idempotency_key TEXT NOT NULL,
  status TEXT DEFAULT 'pending' NOT NULL,
  error_message TEXT,
  attempts INTEGER DEFAULT '0' NOT NULL,
  next_attempt_at TIMESTAMP WITH TIME ZONE,
  scheduled_for TIMESTAMP WITH TIME ZONE,
  posted_at TIMESTAMP WITH TIME ZONE,
  post_url TEXT,
  platform_post_id TEXT,
  platform_publish_id TEXT,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
  CONSTRAINT pk_social_posts PRIMARY KEY (tenant_id, id),
  CONSTRAINT fk_social_posts_tenant_id_video_id FOREIGN KEY(tenant_id, video_id) REFERENCES videos (tenant_id, id),
  CONSTRAINT fk_social_posts_tenant_id_account_id FOREIGN KEY(tenant_id, account_id) REFERENCES social_accounts (tenant_id, id),
  CONSTRAINT fk_social_posts_tenant_id_variant_id FOREIGN KEY(tenant_id, variant_id) REFERENCES concept_variants (tenant_id, id),
  CONSTRAINT uq_social_posts_tenant_id_idempotency_key UNIQUE (tenant_id, idempotency_key),
  CONSTRAINT uq_social_posts_tenant_id_account_id_platform_post_id UNIQUE (tenant_id, account_id, platform_post_id),
  CONSTRAINT ck_social_posts_platform CHECK (platform IN ('tiktok', 'youtube', 'instagram')),
  CONSTRAINT ck_social_posts_privacy CHECK (privacy IN ('public', 'unlisted', 'private')),
  CONSTRAINT ck_social_posts_status CHECK (status IN ('pending', 'scheduled', 'publishing', 'processing', 'posted', 'failed', 'canceled')),
  CONSTRAINT fk_social_posts_tenant_id FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);

CREATE INDEX ix_social_posts_tenant_id_account_id_status ON social_posts (tenant_id, account_id, status);

CREATE INDEX ix_social_posts_tenant_id_platform_posted_at ON social_posts (tenant_id, platform, posted_at);

CREATE INDEX ix_social_posts_tenant_id_variant_id ON social_posts (tenant_id, variant_id);

CREATE INDEX ix_social_posts_tenant_id_video_id ON social_posts (tenant_id, video_id);

ALTER TABLE social_accounts ENABLE ROW LEVEL SECURITY;

ALTER TABLE social_accounts FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON social_accounts TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

GRANT SELECT, INSERT, UPDATE, DELETE ON social_accounts TO viral_app;

GRANT SELECT (id, tenant_id, platform, external_id, username, scopes, expires_at, token_status, daily_limit, used_today, last_reset, niche, is_active, created_at, updated_at) ON social_accounts TO viral_readonly;

ALTER TABLE videos ENABLE ROW LEVEL SECURITY;

ALTER TABLE videos FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON videos TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

GRANT SELECT, INSERT, UPDATE, DELETE ON videos TO viral_app;

GRANT SELECT ON videos TO viral_readonly;

ALTER TABLE social_posts ENABLE ROW LEVEL SECURITY;

ALTER TABLE social_posts FORCE ROW LEVEL SECURITY;

CREATE POLICY tenant_only ON social_posts TO viral_app, viral_readonly USING (tenant_id = (SELECT viral.tenant_id())) WITH CHECK (tenant_id = (SELECT viral.tenant_id()));

GRANT SELECT, INSERT, UPDATE, DELETE ON social_posts TO viral_app;

GRANT SELECT ON social_posts TO viral_readonly;

SET LOCAL ROLE viral_owner;
