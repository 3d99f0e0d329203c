// pg-boss: two fetch loops with batches of 2000; done jobs stay for a week.

import { answer, CLIENTS, inChunks, library, url } from "./runner.mjs";

const { PgBoss } = library("pg-boss");

const QUEUE = "noop";
const BULK = 5000;
const FINISHED = `
INSERT INTO pgboss.job (name, data, state, created_on, started_on, completed_on)
SELECT '${QUEUE}', jsonb_build_object('n', n), 'completed', now(), now(), now()
FROM generate_series(1, $1::int) AS n`;

await answer({
  async open() {
    this.boss = new PgBoss({ connectionString: url, max: CLIENTS, useListenNotify: true });
    this.boss.on("error", (error) => process.stderr.write(`${error.message}\n`));
    await this.boss.start();
  },

  async setup() {
    await this.boss.createQueue(QUEUE, { notify: true });
  },

  async clear() {
    await this.boss.deleteAllJobs(QUEUE);
  },

  async keepFinished(count) {
    await this.boss.getDb().executeSql(FINISHED, [count]);
  },

  async enqueue(n) {
    await this.boss.send(QUEUE, { n });
  },

  async enqueueMany(numbers) {
    await inChunks(numbers, BULK, (some) =>
      this.boss.insert(QUEUE, some.map((n) => ({ data: { n } }))),
    );
  },

  async start(handler) {
    const options = { batchSize: 2000, localConcurrency: 2, burstWhenBatchFull: true };
    await this.boss.work(QUEUE, options, async (jobs) => {
      for (const { data } of jobs) handler(data.n);
    });
  },

  async isDrained() {
    const { rows } = await this.boss
      .getDb()
      .executeSql("SELECT EXISTS (SELECT FROM pgboss.job WHERE state < 'completed') AS left");
    return !rows[0].left;
  },
});
