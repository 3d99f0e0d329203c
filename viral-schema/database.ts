// Written by `viral generate`; do not edit.
// Rows of the tables, as JSON carries them.

/** A UUID in its usual form. */
export type Uuid = string;

/** A moment in ISO 8601, with its offset. */
export type Timestamp = string;

/** A day as YYYY-MM-DD. */
export type DateText = string;

/** An exact decimal number. */
export type DecimalText = string;

/** Bytes in base64. */
export type Base64 = string;

// tenants: Tenants, people, and what lets people in.

/** One client: an organisation whose rows nobody else sees. */
export interface Tenant {
  id: Uuid;
  slug: string;
  name: string;
  subscription_tier: "FREE" | "STARTER" | "PRO" | "AGENCY";
  subscription_status: "active" | "trialing" | "past_due" | "canceled" | "incomplete" | "incomplete_expired" | "unpaid" | "paused";
  stripe_customer_id: string | null;
  stripe_subscription_id: string | null;
  monthly_quota: number;
  used_quota: number;
  quota_reset_at: Timestamp;
  is_demo: boolean;
  created_at: Timestamp;
  updated_at: Timestamp;
  clerk_organization_id: string | null;
}

/** The hash of a tenant's context token: who holds the token acts as the tenant. */
export interface TenantContext {
  token_sha256: Base64;
  tenant_id: Uuid;
  key_id: number;
}

/** A person. What they may do is said by their memberships. */
export interface User {
  id: Uuid;
  clerk_id: string | null;
  email: string;
  name: string | null;
  image_url: string | null;
  password_hash: string | null;
  /** The tenant this person opens first. */
  tenant_id: Uuid | null;
  /** May do to this installation what its command line may. */
  is_operator: boolean;
  last_login_at: Timestamp | null;
  created_at: Timestamp;
  updated_at: Timestamp;
}

/** What a person may do in a tenant; ended, never deleted while the tenant lives. */
export interface Membership {
  tenant_id: Uuid;
  id: Uuid;
  user_id: Uuid;
  role: "ADMIN" | "MEMBER";
  ended_at: Timestamp | null;
  created_at: Timestamp;
}

/** A link that makes the person with this e-mail a member, once. */
export interface Invitation {
  id: Uuid;
  tenant_id: Uuid;
  email: string;
  role: "ADMIN" | "MEMBER";
  invited_by: Uuid;
  token_sha256: Base64;
  expires_at: Timestamp;
  accepted_at: Timestamp | null;
  revoked_at: Timestamp | null;
  created_at: Timestamp;
}

/** A signed-in browser; before it is opened, a sign-in link. */
export interface Session {
  id: Uuid;
  tenant_id: Uuid;
  user_id: Uuid;
  token_sha256: Base64;
  opened_at: Timestamp | null;
  last_seen_at: Timestamp | null;
  expires_at: Timestamp;
  ended_at: Timestamp | null;
  created_at: Timestamp;
  method: "link" | "password" | "clerk";
}

/** A key of a program that acts for a person; shown once, kept as a keyed hash. */
export interface ApiKey {
  id: Uuid;
  tenant_id: Uuid;
  user_id: Uuid;
  name: string;
  prefix: string;
  key_hmac: Base64;
  scopes: string[];
  expires_at: Timestamp | null;
  last_used_at: Timestamp | null;
  revoked_at: Timestamp | null;
  created_at: Timestamp;
}

/** One line of the quota's ledger; the sum over a period is what the period used. */
export interface QuotaEntry {
  tenant_id: Uuid;
  id: Uuid;
  user_id: Uuid | null;
  kind: string;
  amount: number;
  reservation_id: Uuid | null;
  period_start: Timestamp;
  created_at: Timestamp;
}

/** A delivery from outside, kept so that a second one has no effect. */
export interface WebhookEvent {
  id: Uuid;
  tenant_id: Uuid | null;
  provider: string;
  event_id: string;
  event_type: string;
  payload: Record<string, unknown>;
  received_at: Timestamp;
  processed_at: Timestamp | null;
}

/** Who did what; append-only by grant. */
export interface AuditEntry {
  tenant_id: Uuid;
  id: Uuid;
  user_id: Uuid | null;
  action: string;
  subject: string;
  details: Record<string, unknown>;
  address: string | null;
  created_at: Timestamp;
}

// content: Trends become concepts with predictions.

/** A topic people talk about; the same for all tenants, written by the product alone. */
export interface Trend {
  id: Uuid;
  source: string;
  external_id: string;
  topic: string;
  category: string;
  score: number;
  keywords: string[];
  url: string | null;
  region: string | null;
  engagement_count: number | null;
  is_sample: boolean;
  observed_at: Timestamp;
  created_at: Timestamp;
  topic_key: string;
  velocity: number | null;
}

/** What a trend's source said at one moment: its history, from which its speed is known. */
export interface TrendObservation {
  trend_id: Uuid;
  observed_at: Timestamp;
  score: number;
  engagement_count: number | null;
}

/** Where trends are fetched from, and what its server last said; keys stand in the settings. */
export interface TrendSource {
  name: string;
  kind: string;
  url: string | null;
  category: string | null;
  region: string | null;
  is_enabled: boolean;
  etag: string | null;
  last_modified: string | null;
  fetched_at: Timestamp | null;
  next_fetch_at: Timestamp;
  failures: number;
  last_error: string | null;
  created_at: Timestamp;
}

/** One request for concepts and what it was made from. */
export interface Generation {
  tenant_id: Uuid;
  id: Uuid;
  user_id: Uuid | null;
  reservation_id: Uuid;
  date: Timestamp;
  settings: Record<string, unknown>;
  trends: unknown[];
  writer: string;
  is_favorite: boolean;
  created_at: Timestamp;
  cost: DecimalText;
  input_tokens: number;
  output_tokens: number;
}

/** An idea for a short video: written by the product, or known from an imported result. */
export interface Concept {
  tenant_id: Uuid;
  id: Uuid;
  generation_id: Uuid | null;
  origin: string;
  source_platform: string | null;
  source_id: string | null;
  category: string;
  title: string;
  hook: string;
  hook_type: string | null;
  script: unknown[];
  caption: string;
  hashtags: string[];
  duration_s: number | null;
  sound: string | null;
  post_at: Timestamp | null;
  why_it_works: string;
  prompts: Record<string, unknown>;
  trend: Record<string, unknown> | null;
  is_favorite: boolean;
  created_at: Timestamp;
  is_exploration: boolean;
  propensity: number | null;
}

/** Ways to tell the same concept, compared across posts until one is better beyond luck. */
export interface Experiment {
  tenant_id: Uuid;
  id: Uuid;
  name: string;
  platform: "tiktok" | "youtube" | "instagram";
  arms: unknown[];
  alpha: number;
  most_posts: number;
  status: "running" | "decided" | "undecided" | "stopped";
  winner: string | null;
  document: Record<string, unknown>;
  decided_at: Timestamp | null;
  created_at: Timestamp;
}

/** Another title, hook and caption for the same concept; the selected one is posted. */
export interface ConceptVariant {
  tenant_id: Uuid;
  id: Uuid;
  concept_id: Uuid;
  label: string;
  title: string;
  caption: string;
  hook_source: "template" | "evolved" | "knowledge-base";
  is_selected: boolean;
  created_at: Timestamp;
  experiment_id: Uuid | null;
  hook: string | null;
  hook_type: string | null;
}

/** What was foretold of a concept on a platform, before any result; never changed. */
export interface Prediction {
  tenant_id: Uuid;
  id: Uuid;
  concept_id: Uuid;
  platform: "tiktok" | "youtube" | "instagram";
  score: number;
  low: number;
  high: number;
  engagement_score: number;
  engagement_low: number;
  engagement_high: number;
  reach_score: number;
  reach_low: number;
  reach_high: number;
  reasons: unknown[];
  model_version: number;
  created_at: Timestamp;
}

// publishing: Clips, accounts on platforms, and posts.

/** One rendered file, from request to stored result. */
export interface Video {
  tenant_id: Uuid;
  id: Uuid;
  concept_id: Uuid;
  category: string;
  platform: "tiktok" | "youtube" | "instagram";
  format: string | null;
  provider: string;
  provider_job_id: string | null;
  model: string | null;
  prompt: string | null;
  status: "queued" | "generating" | "uploading" | "checking" | "completed" | "failed" | "canceled";
  error_message: string | null;
  video_url: string | null;
  cdn_url: string | null;
  thumbnail_url: string | null;
  duration_s: number | null;
  width: number | null;
  height: number | null;
  has_audio: boolean | null;
  checksum: string | null;
  attempts: number;
  is_ai_generated: boolean;
  metadata: Record<string, unknown> | null;
  generation_cost: DecimalText;
  generated_at: Timestamp | null;
  created_at: Timestamp;
  updated_at: Timestamp;
}

/** A connected account, known by the platform's own id; tokens are ciphertext. */
export interface SocialAccount {
  tenant_id: Uuid;
  id: Uuid;
  platform: "tiktok" | "youtube" | "instagram";
  external_id: string;
  username: string;
  access_token: Base64;
  refresh_token: Base64 | null;
  scopes: string[];
  expires_at: Timestamp | null;
  refresh_expires_at: Timestamp | null;
  token_status: "valid" | "expired" | "revoked";
  last_error: string | null;
  daily_limit: number;
  used_today: number;
  last_reset: Timestamp;
  niche: string | null;
  is_active: boolean;
  metadata: Record<string, unknown> | null;
  created_at: Timestamp;
  updated_at: Timestamp;
}

/** One publication of a video on an account. */
export interface SocialPost {
  tenant_id: Uuid;
  id: Uuid;
  video_id: Uuid;
  account_id: Uuid;
  variant_id: Uuid | null;
  platform: "tiktok" | "youtube" | "instagram";
  title: string | null;
  caption: string;
  hashtags: string[];
  privacy: "public" | "unlisted" | "private";
  is_ai_labelled: boolean;
  idempotency_key: string;
  status: "pending" | "scheduled" | "publishing" | "processing" | "posted" | "failed" | "canceled";
  error_message: string | null;
  attempts: number;
  next_attempt_at: Timestamp | null;
  scheduled_for: Timestamp | null;
  posted_at: Timestamp | null;
  post_url: string | null;
  platform_post_id: string | null;
  platform_publish_id: string | null;
  created_at: Timestamp;
  updated_at: Timestamp;
}

// results: What posts brought: feedback, and snapshots over time.

/** The counts of one video on one platform, read on one day. */
export interface PerformanceFeedback {
  tenant_id: Uuid;
  id: Uuid;
  concept_id: Uuid;
  variant_id: Uuid | null;
  post_id: Uuid | null;
  platform: "tiktok" | "youtube" | "instagram";
  format: string | null;
  external_id: string;
  concept_title: string;
  category: string;
  published_at: Timestamp;
  observed_on: DateText;
  views: number;
  likes: number | null;
  shares: number | null;
  comments: number | null;
  followers: number | null;
  engagement_rate: number;
  is_mature: boolean;
  data_source: "manual" | "scraped" | "api" | "file";
  reported_at: Timestamp;
  engagement_score: number | null;
  reach_score: number | null;
  outcome_version: number | null;
  applied_no: number | null;
  judged_at: Timestamp | null;
  created_at: Timestamp;
  challenger_error: number | null;
  champion_error: number | null;
  former_error: number | null;
  residual: number | null;
}

/** The counts of a post at one moment; partitioned by month. */
export interface AnalyticsSnapshot {
  tenant_id: Uuid;
  id: Uuid;
  snapshot_at: Timestamp;
  video_id: Uuid;
  post_id: Uuid | null;
  platform: "tiktok" | "youtube" | "instagram";
  source: "api" | "manual";
  metric_version: number;
  age_s: number | null;
  views: number;
  likes: number | null;
  shares: number | null;
  comments: number | null;
  saves: number | null;
  reach: number | null;
  watch_time_s: number | null;
  average_watch_s: number | null;
  engagement_rate: number;
}

// learning: What the system makes of its misses: effects, critiques, insights, adjustments.

/** A named additive effect that holds for all tenants, in score points; no tenant's data. */
export interface SharedEffect {
  platform: "tiktok" | "youtube" | "instagram";
  goal: "engagement" | "reach" | "score";
  family: string;
  key: string;
  mean: number;
  variance: number;
  samples: number;
  day: number;
  tenants: number;
  published: number;
  former: number | null;
}

/** A tenant's own effect, in score points. */
export interface LearnerEffect {
  tenant_id: Uuid;
  id: Uuid;
  platform: "tiktok" | "youtube" | "instagram";
  goal: "engagement" | "reach" | "score";
  family: string;
  key: string;
  mean: number;
  variance: number;
  samples: number;
  day: number;
  published: number;
  is_frozen: boolean;
  former: number | null;
}

/** A published version of what all tenants share: outcome tables, shared effects. */
export interface ModelVersion {
  id: Uuid;
  kind: "outcomes" | "effects";
  platform: "tiktok" | "youtube" | "instagram";
  version: number;
  document: Record<string, unknown>;
  is_current: boolean;
  created_at: Timestamp;
}

/** Why a prediction missed, or what stands behind an adjustment. */
export interface SelfCritique {
  tenant_id: Uuid;
  id: Uuid;
  concept_id: Uuid | null;
  feedback_id: Uuid | null;
  performance_gap: Record<string, unknown>;
  critique: string;
  hypothesized_reasons: unknown[];
  scoring_issues: unknown[];
  adjustment_plan: string;
  confidence_level: "low" | "medium" | "high";
  critic: string;
  critic_version: number;
  input_tokens: number;
  output_tokens: number;
  cost: DecimalText;
  applied_at: Timestamp | null;
  created_at: Timestamp;
}

/** A pattern in the tenant's results, with its evidence. */
export interface ReflexionInsight {
  tenant_id: Uuid;
  id: Uuid;
  category: string;
  platform: "tiktok" | "youtube" | "instagram";
  pattern_key: string;
  pattern: string;
  evidence_count: number;
  impact: "positive" | "negative" | "neutral";
  effect_size: number;
  low: number;
  high: number;
  status: "candidate" | "confirmed" | "refuted" | "retired";
  recommendation: string;
  applied_to_scoring: boolean;
  discovered_at: Timestamp;
  last_seen_at: Timestamp;
  born_no: number | null;
  confidence: string | null;
  confirmed_at: Timestamp | null;
  critic: string | null;
  critique_id: Uuid | null;
  ended_at: Timestamp | null;
  ended_no: number | null;
  gain: number | null;
  kind: "pattern" | "hypothesis";
  sign: number | null;
  z: number | null;
}

/** One result that a hypothesis holds for: the residual, and its contrast to all others. */
export interface InsightFiring {
  tenant_id: Uuid;
  id: Uuid;
  insight_id: Uuid;
  feedback_id: Uuid;
  applied_no: number;
  residual: number;
  contrast: number;
}

/** A change of what predictions use, from `old_value` to `new_value` points; can be undone. */
export interface ScoringAdjustment {
  tenant_id: Uuid;
  id: Uuid;
  critique_id: Uuid;
  platform: "tiktok" | "youtube" | "instagram";
  goal: "engagement" | "reach" | "score";
  adjustment_type: string;
  category: string;
  old_value: number;
  new_value: number;
  reason: string;
  evidence: Record<string, unknown>;
  applied_at: Timestamp;
  reverted_at: Timestamp | null;
  reverted_by: Uuid | null;
  after_no: number;
  insight_id: Uuid | null;
  revert_reason: string | null;
}

// operations: Jobs, metrics, usage: what runs the product and is seen by its operator.

/** A piece of slow work. A larger priority runs first, within a tenant. */
export interface Job {
  id: Uuid;
  scope: "tenant" | "system";
  tenant_id: Uuid | null;
  job_type: string;
  status: "pending" | "blocked" | "running" | "completed" | "failed" | "canceled";
  priority: number;
  payload: Record<string, unknown>;
  result: Record<string, unknown> | null;
  error_message: string | null;
  attempts: number;
  max_attempts: number;
  dedupe_key: string | null;
  worker_id: Uuid | null;
  scheduled_for: Timestamp;
  started_at: Timestamp | null;
  completed_at: Timestamp | null;
  created_at: Timestamp;
  batch_id: Uuid | null;
  crashes: number;
  is_awaited: boolean;
  is_due: boolean;
  place: Uuid;
  progress: number;
  queue: string;
  waits_for: string[] | null;
}

/** A call to the outside that a job makes at most once, however often the job is tried. */
export interface JobEffect {
  tenant_id: Uuid;
  id: Uuid;
  key: string;
  job_id: Uuid;
  result: Record<string, unknown> | null;
  begun_at: Timestamp;
  done_at: Timestamp | null;
}

/** When a system job is put into the queue by itself: a cron expression in a time zone. */
export interface JobSchedule {
  id: Uuid;
  name: string;
  job_type: string;
  queue: string;
  cron: string;
  time_zone: string;
  missed: "once" | "skip";
  is_paused: boolean;
  next_at: Timestamp;
  last_at: Timestamp | null;
  created_at: Timestamp;
}

/** A worker process and when it was last heard of. */
export interface JobWorker {
  id: Uuid;
  started_at: Timestamp;
  heartbeat_at: Timestamp;
  is_leased: boolean;
}

/** Short jobs that a worker took, in place of a mark in each; `open` of them have not ended. */
export interface JobReservation {
  id: Uuid;
  worker_id: Uuid;
  queue: string;
  jobs: Uuid[];
  open: number;
  made_at: Timestamp;
}

/** A measurement of the installation; partitioned by month. */
export interface SystemMetric {
  id: Uuid;
  recorded_at: Timestamp;
  metric_type: string;
  value: number;
  metadata: Record<string, unknown> | null;
}

/** One request to the API, by the key's id and the route's template; partitioned by month. */
export interface ApiUsage {
  tenant_id: Uuid;
  id: Uuid;
  requested_at: Timestamp;
  api_key_id: Uuid | null;
  user_id: Uuid | null;
  request_id: string;
  endpoint: string;
  method: string;
  status_code: number;
  response_time_ms: number;
}

/** A request that its sender may repeat, and what was answered, for a day. */
export interface IdempotencyKey {
  tenant_id: Uuid;
  id: Uuid;
  sender_id: Uuid;
  key: string;
  fingerprint: Base64;
  status: number | null;
  headers: Record<string, unknown> | null;
  body: Base64 | null;
  begun_at: Timestamp;
}

/** How far ahead of its pace a caller is: the theoretical arrival time of GCRA. */
export interface RateLimit {
  bucket: string;
  arrival_at: Timestamp;
}

/** Every table by its name. */
export interface Tables {
  tenants: Tenant;
  "viral.tenant_contexts": TenantContext;
  users: User;
  memberships: Membership;
  invitations: Invitation;
  sessions: Session;
  api_keys: ApiKey;
  quota_ledger: QuotaEntry;
  webhook_events: WebhookEvent;
  audit_log: AuditEntry;
  trends: Trend;
  trend_observations: TrendObservation;
  trend_sources: TrendSource;
  generations: Generation;
  concepts: Concept;
  experiments: Experiment;
  concept_variants: ConceptVariant;
  predictions: Prediction;
  videos: Video;
  social_accounts: SocialAccount;
  social_posts: SocialPost;
  performance_feedback: PerformanceFeedback;
  analytics_snapshots: AnalyticsSnapshot;
  shared_effects: SharedEffect;
  learner_effects: LearnerEffect;
  model_versions: ModelVersion;
  self_critiques: SelfCritique;
  reflexion_insights: ReflexionInsight;
  insight_firings: InsightFiring;
  scoring_adjustments: ScoringAdjustment;
  job_queue: Job;
  job_effects: JobEffect;
  job_schedules: JobSchedule;
  job_workers: JobWorker;
  job_reservations: JobReservation;
  system_metrics: SystemMetric;
  api_usage: ApiUsage;
  idempotency_keys: IdempotencyKey;
  "viral.rate_limits": RateLimit;
}
