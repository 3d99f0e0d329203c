// graphile-worker: a local queue of 500, completions in batches; done jobs are deleted.

import { answer, CLIENTS, inChunks, library, url } from "./runner.mjs";

const { Logger, makeWorkerUtils, run } = library("graphile-worker");
const { Pool } = library("pg");

const CONCURRENCY = 24;
const LOCAL_QUEUE = 500;
const BULK = 5000;
// It says something about every job otherwise.
const logger = new Logger(() => () => {});

await answer({
  async open() {
    this.pool = new Pool({ connectionString: url, max: CLIENTS, min: CLIENTS });
    this.utils = await makeWorkerUtils({ pgPool: this.pool, logger });
  },

  async setup() {
    await this.utils.migrate();
  },

  async clear() {
    await this.pool.query("TRUNCATE graphile_worker._private_jobs");
  },

  async keepFinished() {},

  async enqueue(n) {
    await this.utils.addJob("noop", { n });
  },

  async enqueueMany(numbers) {
    await inChunks(numbers, BULK, (some) =>
      this.utils.addJobs(some.map((n) => ({ identifier: "noop", payload: { n } }))),
    );
  },

  async start(handler) {
    await run({
      connectionString: url,
      logger,
      noHandleSignals: true,
      taskList: { noop: async ({ n }) => handler(n) },
      preset: {
        worker: {
          concurrentJobs: CONCURRENCY,
          maxPoolSize: CONCURRENCY,
          localQueue: { size: LOCAL_QUEUE },
          completeJobBatchDelay: 0,
        },
      },
    });
  },

  async isDrained() {
    const { rows } = await this.pool.query(
      "SELECT EXISTS (SELECT FROM graphile_worker._private_jobs) AS left",
    );
    return !rows[0].left;
  },
});
