// Prisma's own parser, formatter and schema engine on a schema.prisma.
// usage: node prisma_tools.mjs validate|format|diff|pull  (diff and pull look at DATABASE_URL)
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { PrismaPg } from "@prisma/adapter-pg";
import { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum } from "@prisma/driver-adapter-utils";
import parser from "@prisma/prisma-schema-wasm";
import * as engineModule from "@prisma/schema-engine-wasm/schema_engine_bg";

const INTERNAL_CHAR = 18;
const TEXT = 25;
const path = "schema.prisma";
const content = fs.readFileSync(path, "utf8");
const schema = { files: [{ path, content }] };

const commands = {
  validate: () => parser.validate(JSON.stringify({ prismaSchema: [[path, content]] })),
  format: () => {
    const options = { tabSize: 2, insertSpaces: true };
    const request = { textDocument: { uri: `file:/${path}` }, options };
    return JSON.parse(parser.format(JSON.stringify([[path, content]]), JSON.stringify(request)))[0][1];
  },
  diff: async () => {
    const difference = await (await startEngine()).diff({
      from: { tag: "schemaDatasource", ...schema, configDir: "." },
      to: { tag: "schemaDatamodel", ...schema },
      script: false,
      exitCode: null,
      filters: { externalTables: [], externalEnums: [] },
    });
    return difference.stdout;
  },
  pull: async () => {
    const pulled = await (await startEngine()).introspect({
      schema,
      baseDirectoryPath: ".",
      force: true,
      compositeTypeDepth: 0,
      namespaces: null,
    });
    return pulled.schema.files[0].content + pulled.warnings;
  },
};

async function startEngine() {
  globalThis.PRISMA_WASM_PANIC_REGISTRY = { set_message: (message) => console.error(message) };
  const file = fileURLToPath(import.meta.resolve("@prisma/schema-engine-wasm"));
  const bytes = fs.readFileSync(file.replace(/\.js$/, "_bg.wasm"));
  const { instance } = await WebAssembly.instantiate(bytes, { "./schema_engine_bg.js": engineModule });
  engineModule.__wbg_set_wasm(instance.exports);
  instance.exports.__wbindgen_start();
  const log = () => {};
  const adapter = bindMigrationAwareSqlAdapterFactory(adapterThatKnowsChar());
  return engineModule.SchemaEngine.new({ datamodels: [[path, content]] }, log, adapter);
}

// The engine reads catalogue columns of the type "char", which the adapter refuses.
function adapterThatKnowsChar() {
  const factory = new PrismaPg(process.env.DATABASE_URL);
  const connect = factory.connect.bind(factory);
  factory.connect = async () => {
    const adapter = await connect();
    const { queryRaw } = adapter;
    adapter.queryRaw = async (query) => {
      const chars = [];
      const performIO = async (statement) => {
        const answer = await adapter.performIO(statement);
        answer.fields.forEach((field, position) => {
          if (field.dataTypeID !== INTERNAL_CHAR) return;
          chars.push(position);
          field.dataTypeID = TEXT;
        });
        return answer;
      };
      const result = await queryRaw.call(Object.create(adapter, { performIO: { value: performIO } }), query);
      for (const position of chars) result.columnTypes[position] = ColumnTypeEnum.Character;
      return result;
    };
    return adapter;
  };
  return factory;
}

try {
  process.stdout.write((await commands[process.argv[2]]()) ?? "");
  process.exitCode = 0;
} catch (error) {
  console.error(error.message ?? error);
  process.exitCode = 1;
}
// The engine leaves a pool open.
process.stdout.write("", () => process.exit());
