// Uses the guide's code as two tenants and prints what came of it, as JSON.
// stdin: {"contextKey": hex, "alice": tenant id, "bob": tenant id}
import fs from "node:fs";
import { addConcept, asTenant, contextToken, prisma } from "./tenant.ts";

const { contextKey, alice, bob } = JSON.parse(fs.readFileSync(0, "utf8"));
const key = Buffer.from(contextKey, "hex");
const ofAlice = contextToken(key, alice);
const ofBob = contextToken(key, bob);

/** Return what the work returns, or the SQLSTATE that PostgreSQL answered. */
async function outcome(work: Promise<unknown>): Promise<unknown> {
  try {
    return await work;
  } catch (error) {
    const { meta } = error as { meta?: { driverAdapterError?: { cause: { code?: string } } } };
    const sqlstate = meta?.driverAdapterError?.cause.code;
    if (sqlstate === undefined) throw error;
    return sqlstate;
  }
}

const concept = await asTenant(ofAlice, (tx) => addConcept(tx, alice, "Soup in three minutes"));
const postAt = new Date("2026-11-22T08:00:00.123Z");
const where = { tenantId_id: { tenantId: alice, id: concept.id } };
await asTenant(ofAlice, (tx) => tx.concept.update({ where, data: { postAt } }));
const feedback = {
  tenantId: alice,
  conceptId: concept.id,
  platform: "tiktok",
  externalId: "1",
  conceptTitle: concept.title,
  category: concept.category,
  publishedAt: postAt,
  observedOn: new Date("2026-11-24"),
  views: 200n,
  likes: 10n,
};

const results = {
  conceptId: concept.id,
  readByAlice: await asTenant(ofAlice, (tx) =>
    tx.concept.findMany({
      select: { title: true, postAt: true, generation: { select: { writer: true } } },
    }),
  ),
  readByBob: await asTenant(ofBob, (tx) => tx.concept.findMany()),
  writtenByBobForAlice: await outcome(asTenant(ofBob, (tx) => addConcept(tx, alice, "Stolen"))),
  withoutContext: await outcome(prisma.concept.findMany()),
  withUnknownContext: await outcome(asTenant("0".repeat(64), (tx) => tx.concept.findMany())),
  afterATenantsTransaction: await outcome(prisma.$transaction((tx) => tx.concept.findMany())),
  wholeUsers: await outcome(asTenant(ofAlice, (tx) => tx.user.findMany())),
  selectedUsers: await asTenant(ofAlice, (tx) => tx.user.findMany({ select: { email: true } })),
  job: await outcome(
    asTenant(ofAlice, (tx) => tx.job.create({ data: { tenantId: alice, jobType: "x" } })),
  ),
  computed: await asTenant(ofAlice, (tx) =>
    tx.performanceFeedback.create({ data: feedback, select: { engagementRate: true, isMature: true } }),
  ),
  computedWritten: await outcome(
    asTenant(ofAlice, (tx) =>
      tx.performanceFeedback.create({ data: { ...feedback, externalId: "2", engagementRate: 9 } }),
    ),
  ),
  caughtInside: await asTenant(ofAlice, async (tx) => {
    await tx.concept.update({ where, data: { title: "Lost" } });
    return outcome(tx.concept.update({ where, data: { origin: "nonsense" } }));
  }),
};
console.log(JSON.stringify(results));
await prisma.$disconnect();
