DROP POLICY members_only ON users;

SET LOCAL ROLE viral_owner;

DROP TABLE scoring_adjustments;

SET LOCAL ROLE viral_owner;

DROP TABLE self_critiques;

SET LOCAL ROLE viral_owner;

DROP TABLE performance_feedback;

SET LOCAL ROLE viral_owner;

DROP TABLE analytics_snapshots;

SET LOCAL ROLE viral_owner;

DROP TABLE social_posts;

SET LOCAL ROLE viral_owner;

DROP TABLE videos;

SET LOCAL ROLE viral_owner;

DROP TABLE predictions;

SET LOCAL ROLE viral_owner;

DROP TABLE concept_variants;

SET LOCAL ROLE viral_owner;

DROP TABLE concepts;

SET LOCAL ROLE viral_owner;

DROP TABLE generations;

SET LOCAL ROLE viral_owner;

DROP TABLE sessions;

SET LOCAL ROLE viral_owner;

DROP TABLE quota_ledger;

SET LOCAL ROLE viral_owner;

DROP TABLE audit_log;

SET LOCAL ROLE viral_owner;

DROP TABLE api_keys;

SET LOCAL ROLE viral_owner;

DROP TABLE memberships;

SET LOCAL ROLE viral_owner;

DROP TABLE webhook_events;

SET LOCAL ROLE viral_auth;

DROP TABLE viral.tenant_contexts;

SET LOCAL ROLE viral_owner;

DROP TABLE users;

SET LOCAL ROLE viral_owner;

DROP TABLE social_accounts;

SET LOCAL ROLE viral_owner;

DROP TABLE reflexion_insights;

SET LOCAL ROLE viral_owner;

DROP TABLE learner_effects;

SET LOCAL ROLE viral_owner;

DROP TABLE job_queue;

SET LOCAL ROLE viral_owner;

DROP TABLE api_usage;

SET LOCAL ROLE viral_owner;

DROP TABLE trends;

SET LOCAL ROLE viral_owner;

DROP TABLE tenants;

SET LOCAL ROLE viral_owner;

DROP TABLE system_metrics;

SET LOCAL ROLE viral_owner;

DROP TABLE shared_effects;

SET LOCAL ROLE viral_owner;

DROP TABLE model_versions;

SET LOCAL ROLE viral_owner;

DROP TABLE job_workers;

SET LOCAL ROLE viral_auth;

DROP FUNCTION viral.tenant_id();

SET LOCAL ROLE viral_auth;

DROP FUNCTION viral.create_tenant(uuid, text, text, text, integer, boolean, bytea, integer);

SET LOCAL ROLE viral_auth;

DROP FUNCTION viral.take_quota(uuid, integer, uuid);

SET LOCAL ROLE viral_auth;

DROP FUNCTION viral.refund_quota(uuid, uuid, integer);

SET LOCAL ROLE viral_auth;

DROP FUNCTION viral.open_session(bytea, bytea, interval);

SET LOCAL ROLE viral_auth;

DROP FUNCTION viral.session_identity(bytea);

SET LOCAL ROLE viral_auth;

DROP FUNCTION viral.end_session(bytea);

SET LOCAL ROLE viral_auth;

DROP FUNCTION viral.heartbeat(uuid);

SET LOCAL ROLE viral_auth;

DROP FUNCTION viral.claim_jobs(uuid, integer);

SET LOCAL ROLE viral_auth;

DROP FUNCTION viral.finish_job(uuid, uuid, integer, jsonb, text, timestamptz);

SET LOCAL ROLE viral_auth;

DROP FUNCTION viral.reap_jobs(interval);

SET LOCAL ROLE viral_owner;

DROP FUNCTION viral.make_partitions();

SET LOCAL ROLE viral_owner;
