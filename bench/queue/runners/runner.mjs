// What every queue of the comparison does: protocol.py in JavaScript, and held to the same words.

import { createRequire } from "node:module";

// The packages lie in the benchmark's own folder, where npm put them.
export const library = createRequire(`${process.env.BENCH_FOLDER}/package.json`);
export const url = process.env.BENCH_URL;
export const CLIENTS = 16;
const WARM_UP = 0.1;
const OF_B = -1;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const range = (first, end, step = 1) =>
  Array.from({ length: Math.max(0, Math.ceil((end - first) / step)) }, (_, i) => first + i * step);

export async function inChunks(numbers, size, send) {
  for (let first = 0; first < numbers.length; first += size) {
    await send(numbers.slice(first, first + size));
  }
}

// Counts handlers; `begun` is when the warm-up was over.
class Backlog {
  done = 0;
  begun = 0;

  constructor(count) {
    this.count = count;
    this.warmUp = Math.floor(count * WARM_UP);
    this.isWarm = new Promise((resolve) => (this.warm = resolve));
    this.isDone = new Promise((resolve) => (this.end = resolve));
  }

  handle() {
    this.done += 1;
    if (this.done === this.warmUp) {
      this.begun = performance.now();
      this.warm();
    } else if (this.done === this.count) {
      this.end();
    }
  }
}

async function enqueue(queue, count, clients) {
  const client = async (numbers) => {
    for (const n of numbers) await queue.enqueue(n);
  };
  const shares = range(0, clients).map((first) => range(first, count, clients));
  await Promise.all(shares.map((share) => client(share.slice(0, 10))));
  const begun = performance.now();
  await Promise.all(shares.map(client));
  return (count / (performance.now() - begun)) * 1000;
}

const COMMANDS = {
  setup: async (queue) => queue.setup(),
  finished: async (queue, count) => queue.keepFinished(count),
  single: async (queue, count) => enqueue(queue, count, 1),
  concurrent: async (queue, count) => enqueue(queue, count, CLIENTS),

  async fill(queue, count) {
    await queue.clear();
    await queue.enqueueMany(range(0, count));
  },

  async bulk(queue, count) {
    await queue.enqueueMany(range(0, 10));
    const begun = performance.now();
    await queue.enqueueMany(range(0, count));
    return (count / (performance.now() - begun)) * 1000;
  },

  async drain(queue, count) {
    const backlog = new Backlog(count);
    await queue.start(() => backlog.handle());
    await backlog.isDone;
    while (!(await queue.isDrained())) await sleep(2);
    return ((count - backlog.warmUp) / (performance.now() - backlog.begun)) * 1000;
  },

  async pickup(queue, count) {
    let arrive;
    await queue.start(() => arrive(performance.now()));
    const times = [];
    for (const n of range(-10, count)) {
      await sleep(20 + Math.random() * 40);
      const arrived = new Promise((resolve) => (arrive = resolve));
      const begun = performance.now();
      await queue.enqueue(Math.abs(n));
      times.push((await arrived) - begun);
    }
    return times.slice(10);
  },

  async fair(queue, count) {
    const backlog = new Backlog(count);
    let end, doneAtEnd, arrive;
    const arrived = new Promise((resolve) => (arrive = resolve));
    await queue.start((n) => {
      if (n !== OF_B) return backlog.handle();
      end = performance.now();
      doneAtEnd = backlog.done;
      arrive();
    });
    await backlog.isWarm;
    const begun = performance.now();
    await queue.enqueue(OF_B);
    const doneAtCommit = backlog.done;
    await arrived;
    return { jobs_before: Math.max(0, doneAtEnd - doneAtCommit), wait_ms: end - begun };
  },
};

export async function answer(queue) {
  const [command, number] = process.argv.slice(2);
  await queue.open();
  const found = await COMMANDS[command](queue, Number(number));
  process.stdout.write(`${JSON.stringify(found ?? null)}\n`, () => process.exit(0));
}
