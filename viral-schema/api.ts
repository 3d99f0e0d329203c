// Written by `viral generate`; do not edit.
// What the API takes and answers, of its OpenAPI document.

/** Mean absolute errors over the last results. */
export interface Accuracy {
  results: number;
  with_learning: number;
  without_learning: number;
  inside: number;
}

/** Mean absolute errors in points, and the share of results inside their 80 % interval. */
export interface AccuracyOut {
  results: number;
  with_learning: number;
  without_learning: number;
  inside_interval: number;
}

/** A change of what predictions use, in points. */
export interface AdjustmentOut {
  id: string;
  platform: string;
  goal: string;
  what: string;
  old: number;
  new: number;
  evidence: string;
  applied_at: string;
  undone_at: string | null;
  undone_because: string | null;
  critique_id: string;
  insight_id: string | null;
}

/** How many changes are served, and how many were taken back, by whom. */
export interface Adjustments {
  active: number;
  undone_by_guard: number;
  undone_by_hand: number;
}

/** Adjustments, newest first; `next_cursor` leads to older ones and is null at the end. */
export interface AdjustmentsPage {
  adjustments: AdjustmentOut[];
  next_cursor: string | null;
}

/**
 * An arm's mean against what was predicted, with an interval that holds at every look.
 *
 * Without posts the interval is not known.
 */
export interface ArmState {
  label: string;
  posts: number;
  mean: number;
  low?: number | null;
  high?: number | null;
}

/** Entries, newest first; `next_cursor` leads to older ones and is null at the end. */
export interface AuditPage {
  entries: EntryOut[];
  next_cursor: string | null;
}

/** Where to send the person who pays. */
export interface BillingPage {
  page: "checkout" | "portal";
  url: string;
}

/** Predictions from `low` to `high` points beside what became of them. */
export interface Calibration {
  low: number;
  high: number;
  results: number;
  predicted: number;
  actual: number;
  inside: number;
}

/** The newest adjustment of an effect that is served, and what stands behind it. */
export interface Change {
  id: string;
  goal: string;
  old: number;
  new: number;
  evidence: string;
  applied_at: string;
  critique_id: string;
  critique: string;
  insight_id: string | null;
  insight: string | null;
  z: number | null;
}

/** A concept with its predictions. */
export interface ConceptOut {
  id: string;
  created_at: string;
  title: string;
  hook: string;
  hook_type: string | null;
  category: string;
  script: unknown[];
  caption: string;
  hashtags: string[];
  duration_s: number | null;
  post_at: string | null;
  why_it_works: string;
  prompts: Record<string, unknown>;
  trend: Record<string, unknown> | null;
  is_favorite: boolean;
  is_exploration: boolean;
  propensity: number | null;
  predictions: PredictionOut[];
}

/** The job that writes them; `GET /jobs/{job_id}` tells how far it is. */
export interface ConceptsOrdered {
  job_id: string;
}

/** Concepts, newest first; `next_cursor` leads to older ones and is null at the end. */
export interface ConceptsPage {
  concepts: ConceptOut[];
  next_cursor: string | null;
}

/** How many concepts, and of what; the same seed and history give the same. */
export interface ConceptsWanted {
  count: number;
  category?: string | null;
  platform?: "tiktok" | "youtube" | "instagram" | null;
  seed?: number | null;
}

/** How many of a critic's hypotheses of a stated confidence were decided, and confirmed. */
export interface CriticCalibration {
  critic: string;
  confidence: string;
  stated: number;
  decided: number;
  confirmed: number;
}

/** Why a prediction missed; without a concept, what stands behind adjustments. */
export interface CritiqueOut {
  id: string;
  created_at: string;
  concept_id: string | null;
  gap: Record<string, unknown>;
  text: string;
  reasons: unknown[];
  issues: unknown[];
  plan: string;
  confidence: string;
  critic: string;
}

/** Critiques, newest first; `next_cursor` leads to older ones and is null at the end. */
export interface CritiquesPage {
  critiques: CritiqueOut[];
  next_cursor: string | null;
}

/** A route's calls; half of them took `p50_ms` at most, and 95 of 100 `p95_ms`. */
export interface EndpointUse {
  method: string;
  endpoint: string;
  calls: number;
  errors: number;
  p50_ms: number;
  p95_ms: number;
}

/** A deed; without a `user_id` it was the system's. */
export interface EntryOut {
  id: string;
  created_at: string;
  user_id: string | null;
  action: string;
  subject: string;
  details: Record<string, unknown>;
  address: string | null;
}

/** One way to open a video: every concept told as this arm has a hook of this type. */
export interface ExperimentArm {
  label: string;
  hook_type: string;
}

/** An experiment; the winner is the letter of an arm. */
export interface ExperimentOut {
  id: string;
  name: string;
  platform: string;
  arms: ExperimentArm[];
  alpha: number;
  most_posts: number;
  status: string;
  winner: string | null;
  created_at: string;
  decided_at: string | null;
}

/**
 * What is compared: these types of hooks, or `arms` of the promising ones.
 *
 * `alpha` is the risk of a winner by luck over all looks; after `most_posts` it ends undecided.
 */
export interface ExperimentWanted {
  name: string;
  platform: "tiktok" | "youtube" | "instagram";
  hook_types?: string[] | null;
  arms?: number;
  alpha?: number;
  most_posts?: number;
}

/** Experiments, newest first; `next_cursor` leads to older ones and is null at the end. */
export interface ExperimentsPage {
  experiments: ExperimentOut[];
  next_cursor: string | null;
}

/** The job that asks the sources; null where one waits already. */
export interface FetchAsked {
  job: string | null;
}

/** What is wrong with one field of a request. */
export interface FieldFault {
  field: string;
  message: string;
}

/** What was asked for, the trends it was made from, and the concepts. */
export interface GenerationOut {
  id: string;
  date: string;
  writer: string;
  settings: Record<string, unknown>;
  is_favorite: boolean;
  trends: unknown[];
  concepts: WrittenOut[];
}

/** Generations, newest first; `next_cursor` leads to older ones and is null at the end. */
export interface GenerationsPage {
  generations: GenerationOut[];
  next_cursor: string | null;
}

export interface Health {
  status: string;
}

/** A CSV, JSON or JSON Lines file, in the field `file`. */
export interface ImportFile {
  _csrf_token?: string;
  file: Blob;
}

/** A pattern in the tenant's results, with its evidence. */
export interface InsightOut {
  id: string;
  platform: string;
  category: string;
  pattern: string;
  impact: string;
  effect: number;
  low: number;
  high: number;
  evidence_count: number;
  recommendation: string;
  is_applied: boolean;
  last_seen_at: string;
  kind: string;
  status: string;
  z: number | null;
  gain: number | null;
}

/** Insights, the strongest first; `next_cursor` leads to weaker ones and is null at the end. */
export interface InsightsPage {
  insights: InsightOut[];
  next_cursor: string | null;
}

/** An invitation with its link. It is said this once: pass it on to the person. */
export interface InvitationMade {
  id: string;
  link: string;
}

/** An invitation that waits. */
export interface InvitationOut {
  id: string;
  email: string;
  role: "ADMIN" | "MEMBER";
  created_at: string;
  expires_at: string;
}

/** The job that will do it. */
export interface JobAsked {
  id: string;
}

/** A piece of slow work. Its result stays inside: a run learns from all tenants at once. */
export interface JobOut {
  id: string;
  job_type: string;
  status: string;
  progress: number;
  attempts: number;
  max_attempts: number;
  created_at: string;
  scheduled_for: string;
  started_at: string | null;
  completed_at: string | null;
}

/** Jobs, newest first; `next_cursor` leads to older ones and is null at the end. */
export interface JobsPage {
  jobs: JobOut[];
  next_cursor: string | null;
}

/** A new key. It is said this once, and kept nowhere. */
export interface KeyMade {
  id: string;
  key: string;
}

/** A key that is not revoked: how it begins, whose it is, and what it may. */
export interface KeyOut {
  id: string;
  user_id: string;
  name: string;
  prefix: string;
  scopes: string[];
  created_at: string;
  expires_at: string | null;
  last_used_at: string | null;
}

/** The calls of a key, step by step; those without a key came from browsers. */
export interface KeyUseOut {
  key_id: string | null;
  calls: number[];
  errors: number;
}

/** What will use the key, what it may, and until when; without an end it is for good. */
export interface KeyWanted {
  name: string;
  scopes: ("read" | "write" | "admin")[];
  expires_at?: string | null;
}

/** An entry that cannot be used, by its place from 1. */
export interface LeftOut {
  number: number;
  reason: string;
}

/** A person of the tenant. `id` is their membership, `user_id` the person in every tenant. */
export interface MemberOut {
  id: string;
  user_id: string;
  email: string;
  name: string | null;
  role: "ADMIN" | "MEMBER";
  joined_at: string;
  last_login_at: string | null;
}

/** A tenant that you may open; `id` is your membership in it. */
export interface MembershipOut {
  id: string;
  slug: string;
  name: string;
  role: "ADMIN" | "MEMBER";
  is_current: boolean;
}

/** What the tenant is to be called. */
export interface NameWanted {
  name: string;
}

/**
 * How an experiment stands, in points above or below the forecast.
 *
 * `concepts` take part, `posts` of them have a result. The intervals hold at every look.
 */
export interface OutlookOut {
  experiment: ExperimentOut;
  concepts: number;
  posts: number;
  arms: ArmState[];
  comparisons: experiments_sequential_Comparison[];
}

/**
 * Where a tenant's effects stand on a platform; leads in points, positive is better.
 *
 * `needed` results until the next publication may be; `lead` is what it would gain, in mean and
 * standard errors. `watched` results tell whether the newest publication gained: `watched_lead`.
 */
export interface OwnGuard {
  platform: string;
  version: number;
  learnt: number;
  needed: number;
  lead: number;
  lead_z: number;
  watched: number;
  watched_lead: number;
  watched_z: number;
}

/** Whom to invite, and as what. */
export interface PersonInvited {
  email: string;
  role?: "ADMIN" | "MEMBER";
}

/** The plan to buy. */
export interface PlanWanted {
  plan: "FREE" | "STARTER" | "PRO" | "AGENCY";
}

/** A score from 0 to 100 with its 80 % interval; the reasons add up to the score. */
export interface PredictionOut {
  platform: string;
  score: number;
  low: number;
  high: number;
  reasons: ReasonOut[];
}

/** Why a request failed, for programs (RFC 9457). */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: string;
  detail: string;
  request_id: string;
  hint?: string;
  errors?: FieldFault[];
}

/** Concepts of the plan's month. */
export interface QuotaOut {
  used: number;
  allowed: number;
  renews_at: string;
}

/** A signed share of a score, in points. */
export interface ReasonOut {
  family: string;
  key: string;
  label: string;
  points: number;
}

/** Everything that the page and `viral reflexion report` show. */
export interface ReflexionReport {
  learned: number;
  waiting: number;
  latest: Accuracy | null;
  comparison: reflexion_report_Comparison | null;
  calibration: Calibration[];
  guards: OwnGuard[];
  insights: TestedInsight[];
  critics: CriticCalibration[];
  adjustments: Adjustments;
}

/** How many results were learnt and how far predictions miss; null while there are too few. */
export interface ReflexionStatus {
  learned: number;
  waiting: number;
  accuracy: AccuracyOut | null;
}

/** The platform to replay. */
export interface ReplayIn {
  platform: "tiktok" | "youtube" | "instagram";
}

/**
 * How many results and rows of state were compared, and how many rows differ.
 *
 * `missing` results were erased since they were learnt.
 */
export interface ReplayOut {
  platform: string;
  results: number;
  missing: number;
  rows: number;
  differences: number;
}

/** What became of one video by one day; what is left out is not known, never zero. */
export interface ResultIn {
  id: string;
  platform: string;
  published_at: string;
  views: number;
  observed_on?: string | null;
  concept_id?: string | null;
  category?: string | null;
  title?: string | null;
  tags?: string[];
  duration_s?: number | null;
  likes?: number | null;
  comments?: number | null;
  shares?: number | null;
  followers?: number | null;
  sound?: string | null;
  hook_type?: string | null;
}

/**
 * The counts of one video, as they were read on one day.
 *
 * The scores are null until the learner took it in; `engagement_rate` is a share of the views.
 */
export interface ResultOut {
  id: string;
  video: string;
  platform: string;
  concept_id: string;
  variant_id: string | null;
  title: string;
  category: string;
  published_at: string;
  observed_on: string;
  reported_at: string;
  source: string;
  views: number;
  likes: number | null;
  comments: number | null;
  shares: number | null;
  followers: number | null;
  engagement_rate: number;
  engagement_score: number | null;
  reach_score: number | null;
}

/** Results, those that came in last first; `next_cursor` leads on and is null at the end. */
export interface ResultsPage {
  results: ResultOut[];
  next_cursor: string | null;
}

/**
 * What became of the rows; learning from those that are stored is asked for.
 *
 * Early ones were read within two days of publication: the learner waits for a later reading.
 */
export interface ResultsStored {
  stored: number;
  known: number;
  early: number;
  rejects: RowLeftOut[];
}

/** What a member is to be: ADMIN or MEMBER. */
export interface RoleWanted {
  role: "ADMIN" | "MEMBER";
}

/** A row that cannot be used, where, and what to do about it. */
export interface RowLeftOut {
  line: number;
  column: string;
  value: string;
  reason: string;
}

/** A browser in which you are signed in; `method` is link, password or clerk. */
export interface SessionOut {
  tenant: string;
  method: string;
  opened_at: string;
  last_seen_at: string;
  is_current: boolean;
}

/** How many sessions ended, this one included. */
export interface SessionsEnded {
  ended: number;
}

/** One reason of a score in points, and what it rests on; `tenants` is 0 of a tenant's own. */
export interface Share {
  family: string;
  key: string;
  label: string;
  points: number;
  videos: number;
  tenants: number;
  is_shared: boolean;
  changes: Change[];
}

/** An effect that all tenants share; a word is given in plain. */
export interface SharedEffectIn {
  platform: "tiktok" | "youtube" | "instagram";
  goal: "engagement" | "reach";
  family: string;
  key: string;
}

/** An earlier video of the tenant that is much like the concept; scores run 0..100. */
export interface Similar {
  concept_id: string;
  title: string;
  predicted: number;
  actual: number;
  published_at: string;
}

/** A client: an organisation whose rows nobody else sees. */
export interface TenantOut {
  id: string;
  slug: string;
  name: string;
  plan: string;
  is_demo: boolean;
  quota: QuotaOut;
}

/**
 * A hypothesis with its evidence: firings, contrast in points, z, gain at each firing.
 *
 * `sign` is +1 where its critic guessed that such videos do better, -1 for worse.
 */
export interface TestedInsight {
  id: string;
  platform: string;
  pattern: string;
  status: string;
  critic: string;
  confidence: string;
  sign: number;
  firings: number;
  effect: number;
  low: number;
  high: number;
  z: number | null;
  gain: number | null;
  is_applied: boolean;
  discovered_at: string;
}

/** A topic; the score runs from 0 to 100. */
export interface TrendIn {
  topic: string;
  category?: string | null;
  score?: number | null;
  source?: string | null;
  external_id?: string | null;
  keywords?: string[];
  url?: string | null;
}

/**
 * A topic as it is kept: text that strangers wrote, never an instruction.
 *
 * `score` is raised where several `sources` agree. `velocity` is points of score an hour over the
 * last day; null while too little was seen.
 */
export interface TrendOut {
  topic: string;
  category: string;
  score: number;
  velocity: number | null;
  source: string;
  sources: string[];
  keywords: string[];
  url: string | null;
  region: string | null;
  engagement_count: number | null;
  is_sample: boolean;
  observed_at: string;
}

/** Topics, each once; `next_cursor` leads to older and weaker ones and is null at the end. */
export interface TrendsPage {
  trends: TrendOut[];
  next_cursor: string | null;
}

/** What became of the entries. */
export interface TrendsStored {
  stored: number;
  rejects: LeftOut[];
}

/**
 * Calls in steps of `step_s` seconds from `since` on, the last one unfinished.
 *
 * Errors are answers from 400 on. Endpoints stand slowest first.
 */
export interface UsageOut {
  since: string;
  step_s: number;
  calls: number[];
  errors: number[];
  p95_ms: number | null;
  endpoints: EndpointUse[];
  keys: KeyUseOut[];
}

/** The letter of a variant. */
export interface VariantChosen {
  label: string;
}

/** One way to tell a concept; the selected one is to be posted. */
export interface VariantOut {
  id: string;
  label: string;
  title: string;
  hook: string | null;
  hook_type: string | null;
  caption: string;
  hook_source: string;
  is_selected: boolean;
  experiment_id: string | null;
}

/** How many variants there are to be, 2 to 5, with the concept itself as A. */
export interface VariantsWanted {
  count?: number;
  seed?: number | null;
}

/**
 * Posts of one week (its Monday, UTC) and one platform or category.
 *
 * `views` is the median, `score` the mean of those that were learnt from (0..100).
 */
export interface WeekOfPosts {
  grouping: "platform" | "category";
  name: string;
  monday: string;
  posts: number;
  views: number;
  score: number | null;
}

/** What was foretold of a concept on a platform, why, and what videos like it did. */
export interface Why {
  platform: string;
  score: number;
  low: number;
  high: number;
  model_version: number;
  predicted_at: string;
  shares: Share[];
  similar: Similar[];
}

/** A concept as it was written; `GET /concepts/{concept_id}` has its predictions. */
export interface WrittenOut {
  id: string;
  category: string;
  title: string;
  hook: string;
  hook_type: string | null;
  script: unknown[];
  caption: string;
  hashtags: string[];
  duration_s: number | null;
  post_at: string | null;
  why_it_works: string;
  prompts: Record<string, unknown>;
  is_favorite: boolean;
}

/** By how much one arm is better than another, with an interval that holds at every look. */
export interface experiments_sequential_Comparison {
  better: string;
  worse: string;
  difference: number;
  low: number;
  high: number;
}

/**
 * Mean absolute errors without and with learning over predicted results, in points.
 *
 * `gain` is their difference, `low` and `high` its 80 % interval.
 */
export interface reflexion_report_Comparison {
  results: number;
  without_learning: number;
  with_learning: number;
  gain: number;
  low: number;
  high: number;
}

/** Every operation by its method and path. */
export interface Operations {
  /** Tell whether the database answers: 200, or 503 while it does not. */
  "GET /health": {
    status: 200;
    answer: Health;
  };
  /** List the topics of the newest days, strongest first, a page at a time. */
  "GET /api/v1/trends": {
    query: { limit?: number; category?: string | null; source?: string | null; cursor?: string | null };
    status: 200;
    answer: TrendsPage;
  };
  /**
   * Store trends for all tenants; one that its source named before is refreshed.
   *
   * Operators only. Entries that cannot be used are listed, the others are stored.
   */
  "POST /api/v1/trends": {
    body: TrendIn[];
    status: 201;
    answer: TrendsStored;
  };
  /**
   * Ask the enabled sources that are due, as a job of the workers.
   *
   * Operators only. A source is never asked before its own time.
   */
  "POST /api/v1/trends/fetch": {
    status: 202;
    answer: FetchAsked;
  };
  /**
   * List generated concepts, newest first, a page at a time.
   *
   * `search` is for words that each begin one in title, hook, caption or script.
   */
  "GET /api/v1/concepts": {
    query: { limit?: number; cursor?: string | null; search?: string; category?: string | null; favorite?: boolean };
    status: 200;
    answer: ConceptsPage;
  };
  /** Write concepts from current trends and predict them; counted against the month's quota. */
  "POST /api/v1/concepts": {
    body: ConceptsWanted;
    status: 201;
    answer: ConceptOut[];
  };
  /** Have a worker write concepts; how far it is stands at /jobs. */
  "POST /api/v1/concepts/orders": {
    body: ConceptsWanted;
    status: 202;
    answer: ConceptsOrdered;
  };
  /**
   * Give the newest 10,000 concepts as CSV, or as JSON, one object a line.
   *
   * Each comes with the variant that is to be posted, where it has variants.
   */
  "GET /api/v1/concepts/export": {
    query: { format?: "csv" | "json"; search?: string; category?: string | null; favorite?: boolean };
    status: 200;
    answer: string;
  };
  /** Make a concept a favourite. */
  "PUT /api/v1/concepts/{concept_id}/favorite": {
    path: { concept_id: string };
    status: 200;
    answer: ConceptOut;
  };
  /** Let a concept be no favourite. */
  "DELETE /api/v1/concepts/{concept_id}/favorite": {
    path: { concept_id: string };
    status: 200;
    answer: ConceptOut;
  };
  /** Show one concept. */
  "GET /api/v1/concepts/{concept_id}": {
    path: { concept_id: string };
    status: 200;
    answer: ConceptOut;
  };
  /** List generations with their concepts, newest first, a page at a time. */
  "GET /api/v1/generations": {
    query: { limit?: number; cursor?: string | null };
    status: 200;
    answer: GenerationsPage;
  };
  /** Show one generation with its concepts. */
  "GET /api/v1/generations/{generation_id}": {
    path: { generation_id: string };
    status: 200;
    answer: GenerationOut;
  };
  /** List the variants of a concept. */
  "GET /api/v1/concepts/{concept_id}/variants": {
    path: { concept_id: string };
    status: 200;
    answer: VariantOut[];
  };
  /** Tell a concept in other ways; not counted against the quota. */
  "POST /api/v1/concepts/{concept_id}/variants": {
    path: { concept_id: string };
    body: VariantsWanted;
    status: 201;
    answer: VariantOut[];
  };
  /** Choose the variant that is posted; fixed by a result, and by an experiment that runs. */
  "PUT /api/v1/concepts/{concept_id}/selection": {
    path: { concept_id: string };
    body: VariantChosen;
    status: 200;
    answer: VariantOut;
  };
  /** List experiments, the newest first, a page at a time. */
  "GET /api/v1/experiments": {
    query: { limit?: number; cursor?: string | null };
    status: 200;
    answer: ExperimentsPage;
  };
  /** Begin an experiment; each concept generated from here on is told as one of its arms. */
  "POST /api/v1/experiments": {
    body: ExperimentWanted;
    status: 201;
    answer: ExperimentOut;
  };
  /** Show how an experiment stands; one whose posts decide it ends here. */
  "GET /api/v1/experiments/{experiment_id}": {
    path: { experiment_id: string };
    status: 200;
    answer: OutlookOut;
  };
  /** End an experiment by hand; what its posts taught the learner stays. */
  "POST /api/v1/experiments/{experiment_id}/stop": {
    path: { experiment_id: string };
    status: 200;
    answer: OutlookOut;
  };
  /** List results, those that came in last first, a page at a time. */
  "GET /api/v1/performance": {
    query: { limit?: number; cursor?: string | null; platform?: "tiktok" | "youtube" | "instagram" | null; concept_id?: string | null };
    status: 200;
    answer: ResultsPage;
  };
  /**
   * Store results; a video whose counts of that day are known is left as it is.
   *
   * Rows with values that cannot be used are listed by their place, the others are stored.
   */
  "POST /api/v1/performance": {
    body: ResultIn[];
    status: 201;
    answer: ResultsStored;
  };
  /** List what posts reached from week to week, by platform and by category. */
  "GET /api/v1/performance/weeks": {
    query: { weeks?: number; platform?: "tiktok" | "youtube" | "instagram" | null; category?: string | null };
    status: 200;
    answer: WeekOfPosts[];
  };
  /** Store the results of a file of up to 50 MB; the columns are those of the list of results. */
  "POST /api/v1/performance/imports": {
    body: ImportFile;
    status: 201;
    answer: ResultsStored;
  };
  /** Show how many results were learnt, and the error with learning and without. */
  "GET /api/v1/reflexion": {
    status: 200;
    answer: ReflexionStatus;
  };
  /** Ask for learning from the results that wait; a job that waits already is given again. */
  "POST /api/v1/reflexion/runs": {
    status: 202;
    answer: JobAsked;
  };
  /** List adjustments, newest first and the largest of a run first, a page at a time. */
  "GET /api/v1/reflexion/adjustments": {
    query: { limit?: number; cursor?: string | null; platform?: "tiktok" | "youtube" | "instagram" | null; undone?: boolean | null };
    status: 200;
    answer: AdjustmentsPage;
  };
  /** Serve the value from before an adjustment again, and keep it. */
  "POST /api/v1/reflexion/adjustments/{adjustment_id}/undo": {
    path: { adjustment_id: string };
    status: 200;
    answer: AdjustmentOut;
  };
  /** Undo all adjustments that were published together with one, or none of them. */
  "POST /api/v1/reflexion/adjustments/{adjustment_id}/undo-run": {
    path: { adjustment_id: string };
    status: 200;
    answer: AdjustmentOut[];
  };
  /** List patterns in the results, the strongest first, a page at a time. */
  "GET /api/v1/reflexion/insights": {
    query: { limit?: number; cursor?: string | null };
    status: 200;
    answer: InsightsPage;
  };
  /** End a tested insight, and undo the adjustments that it made. */
  "POST /api/v1/reflexion/insights/{insight_id}/undo": {
    path: { insight_id: string };
    status: 200;
    answer: AdjustmentOut[];
  };
  /**
   * Serve an effect that all tenants share as it was before, to this tenant alone.
   *
   * Undoing the adjustment that comes back lifts it again.
   */
  "POST /api/v1/reflexion/shared/undo": {
    body: SharedEffectIn;
    status: 200;
    answer: AdjustmentOut;
  };
  /** Show whether learning helps, what guards wait for, what is on trial, how critics do. */
  "GET /api/v1/reflexion/report": {
    status: 200;
    answer: ReflexionReport;
  };
  /** Show why a concept scores as it does on each platform, and what that rests on. */
  "GET /api/v1/reflexion/why/{concept_id}": {
    path: { concept_id: string };
    status: 200;
    answer: Why[];
  };
  /**
   * Build a platform's learnt state anew from all results, and compare it with what is kept.
   *
   * Operators only; nothing is changed, and nobody learns meanwhile.
   */
  "POST /api/v1/reflexion/replays": {
    body: ReplayIn;
    status: 200;
    answer: ReplayOut;
  };
  /** List critiques, newest first, a page at a time; adjustments name the one behind them. */
  "GET /api/v1/reflexion/critiques": {
    query: { limit?: number; cursor?: string | null; concept_id?: string | null };
    status: 200;
    answer: CritiquesPage;
  };
  /** Show the tenant that you are signed in to, with its quota. */
  "GET /api/v1/tenant": {
    status: 200;
    answer: TenantOut;
  };
  /** Give the tenant another name; its slug stays. Admins only. */
  "PATCH /api/v1/tenant": {
    body: NameWanted;
    status: 200;
    answer: TenantOut;
  };
  /** List all tenants. Operators only. */
  "GET /api/v1/tenants": {
    status: 200;
    answer: TenantOut[];
  };
  /** List jobs, newest first, a page at a time. */
  "GET /api/v1/jobs": {
    query: { limit?: number; cursor?: string | null; status?: "pending" | "blocked" | "running" | "completed" | "failed" | "canceled" | null; job_type?: string | null };
    status: 200;
    answer: JobsPage;
  };
  /** Show how a job goes. */
  "GET /api/v1/jobs/{job_id}": {
    path: { job_id: string };
    status: 200;
    answer: JobOut;
  };
  /** Cancel a job that has not ended; one that runs is interrupted within seconds. */
  "POST /api/v1/jobs/{job_id}/cancel": {
    path: { job_id: string };
    status: 200;
    answer: JobOut;
  };
  /** Put a failed or canceled job back into the queue. */
  "POST /api/v1/jobs/{job_id}/retry": {
    path: { job_id: string };
    status: 200;
    answer: JobOut;
  };
  /** List the people of the tenant, admins first. */
  "GET /api/v1/members": {
    status: 200;
    answer: MemberOut[];
  };
  /** Show a person of the tenant. */
  "GET /api/v1/members/{member_id}": {
    path: { member_id: string };
    status: 200;
    answer: MemberOut;
  };
  /** Let a member go, as an admin, or leave; their sessions and keys here end. */
  "DELETE /api/v1/members/{member_id}": {
    path: { member_id: string };
    status: 204;
    answer: null;
  };
  /** Give a member another role; their sessions here end. A tenant keeps an admin. Admins only. */
  "PATCH /api/v1/members/{member_id}": {
    path: { member_id: string };
    body: RoleWanted;
    status: 200;
    answer: MemberOut;
  };
  /** List the invitations that wait, newest first. Admins only. */
  "GET /api/v1/invitations": {
    status: 200;
    answer: InvitationOut[];
  };
  /** Invite a person; a link that waits for the same e-mail leads nowhere then. Admins only. */
  "POST /api/v1/invitations": {
    body: PersonInvited;
    status: 201;
    answer: InvitationMade;
  };
  /** Let an invitation's link lead nowhere. Admins only. */
  "DELETE /api/v1/invitations/{invitation_id}": {
    path: { invitation_id: string };
    status: 204;
    answer: null;
  };
  /** List keys, newest first: to admins the tenant's, to members their own. */
  "GET /api/v1/api-keys": {
    status: 200;
    answer: KeyOut[];
  };
  /** Make a key that acts for you. Scopes: read, write, and for admins admin. */
  "POST /api/v1/api-keys": {
    body: KeyWanted;
    status: 201;
    answer: KeyMade;
  };
  /** Let a key open nothing from the next request on: your own, or as an admin. */
  "DELETE /api/v1/api-keys/{key_id}": {
    path: { key_id: string };
    status: 204;
    answer: null;
  };
  /** List where you are signed in, in all your tenants. Not with a key. */
  "GET /api/v1/sessions": {
    status: 200;
    answer: SessionOut[];
  };
  /** Sign out everywhere, here too; keys go on. Not with a key. */
  "DELETE /api/v1/sessions": {
    status: 200;
    answer: SessionsEnded;
  };
  /** List your tenants. Not with a key: it is of one tenant. */
  "GET /api/v1/memberships": {
    status: 200;
    answer: MembershipOut[];
  };
  /** List deeds, newest first, a page at a time; `since` with its time zone. Admins only. */
  "GET /api/v1/audit": {
    query: { limit?: number; action?: "signed in" | "signed out" | "signed out everywhere" | "made sign-in link" | "switched tenant" | "set password" | "invited" | "revoked invitation" | "joined" | "changed role" | "ended membership" | "made key" | "revoked key" | "renamed tenant" | "exported tenant" | "restored tenant" | "opened billing" | "changed plan" | "imported results" | "undid adjustment" | "changed rows by SQL" | "refused webhook" | "refused job" | "cannot decrypt" | "added row" | "changed row" | "deleted row" | "exported rows" | null; since?: string | null; cursor?: string | null };
    status: 200;
    answer: AuditPage;
  };
  /** Show the use of the API in the last 24 hours, or in the last 7 days. */
  "GET /api/v1/usage": {
    query: { span?: "24h" | "7d" };
    status: 200;
    answer: UsageOut;
  };
  /**
   * Open the page that sells a plan; who has one already changes it in the portal. Admins only.
   *
   * The plan changes once Stripe tells of the payment.
   */
  "POST /api/v1/billing/checkout": {
    body: PlanWanted;
    status: 201;
    answer: BillingPage;
  };
  /** Open the page on which the plan is changed or ended, and cards and bills are. Admins only. */
  "POST /api/v1/billing/portal": {
    status: 201;
    answer: BillingPage;
  };
}
