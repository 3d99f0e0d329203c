// Written by `viral generate`; do not edit.
// What the API takes and answers, of its OpenAPI document.

export interface AccuracyOut {
  results: number;
  with_learning: number;
  without_learning: number;
  inside_interval: number;
}

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
}

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
  predictions: PredictionOut[];
}

export interface ConceptsPage {
  concepts: ConceptOut[];
  next_cursor: string | null;
}

export interface ConceptsWanted {
  count: number;
  category?: string | null;
  platform?: "tiktok" | "youtube" | "instagram" | null;
  seed?: number | null;
}

export interface Health {
  status: string;
}

export interface ImportFile {
  _csrf_token?: string;
  file: Blob;
}

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
}

export interface JobAsked {
  id: string;
}

export interface JobOut {
  id: string;
  job_type: string;
  status: string;
  attempts: number;
  created_at: string;
  started_at: string | null;
  completed_at: string | null;
}

export interface LeftOut {
  number: number;
  reason: string;
}

export interface PredictionOut {
  platform: string;
  score: number;
  low: number;
  high: number;
  reasons: ReasonOut[];
}

export interface QuotaOut {
  used: number;
  allowed: number;
  renews_at: string;
}

export interface ReasonOut {
  family: string;
  key: string;
  label: string;
  points: number;
}

export interface ReflexionStatus {
  learned: number;
  waiting: number;
  accuracy: AccuracyOut | null;
}

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

export interface ResultsStored {
  stored: number;
  known: number;
  early: number;
  rejects: RowLeftOut[];
}

export interface RowLeftOut {
  line: number;
  column: string;
  value: string;
  reason: string;
}

export interface TenantOut {
  id: string;
  slug: string;
  name: string;
  plan: string;
  is_demo: boolean;
  quota: QuotaOut;
}

export interface TrendIn {
  topic: string;
  category?: string | null;
  score?: number | null;
  source?: string | null;
  external_id?: string | null;
  keywords?: string[];
  url?: string | null;
}

export interface TrendOut {
  topic: string;
  category: string;
  score: number;
  source: string;
  keywords: string[];
  url: string | null;
  is_sample: boolean;
  observed_at: string;
}

export interface TrendsStored {
  stored: number;
  rejects: LeftOut[];
}

/** Every operation by its method and path. */
export interface Operations {
  /** Tell whether the database answers: 200, or 503 while it does not. */
  "GET /health": {
    status: 200;
    answer: Health;
  };
  /** List the newest trends, strongest first. */
  "GET /api/v1/trends": {
    query: { limit?: number };
    status: 200;
    answer: TrendOut[];
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
  /** List generated concepts, newest first, a page at a time. */
  "GET /api/v1/concepts": {
    query: { limit?: number; cursor?: string | null };
    status: 200;
    answer: ConceptsPage;
  };
  /** Write concepts from current trends and predict them; counted against the month's quota. */
  "POST /api/v1/concepts": {
    body: ConceptsWanted;
    status: 201;
    answer: ConceptOut[];
  };
  /** Show one concept. */
  "GET /api/v1/concepts/{concept_id}": {
    path: { concept_id: string };
    status: 200;
    answer: ConceptOut;
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
  /** List the newest adjustments. */
  "GET /api/v1/reflexion/adjustments": {
    query: { limit?: number };
    status: 200;
    answer: AdjustmentOut[];
  };
  /** Serve the value from before an adjustment again, and keep it. */
  "POST /api/v1/reflexion/adjustments/{adjustment_id}/undo": {
    path: { adjustment_id: string };
    status: 200;
    answer: AdjustmentOut;
  };
  /** List patterns in the results, the strongest first. */
  "GET /api/v1/reflexion/insights": {
    query: { limit?: number };
    status: 200;
    answer: InsightOut[];
  };
  /** Show the tenant that you are signed in to, with its quota. */
  "GET /api/v1/tenant": {
    status: 200;
    answer: TenantOut;
  };
  /** List all tenants. Operators only. */
  "GET /api/v1/tenants": {
    status: 200;
    answer: TenantOut[];
  };
  /** Show how a job goes. */
  "GET /api/v1/jobs/{job_id}": {
    path: { job_id: string };
    status: 200;
    answer: JobOut;
  };
}
