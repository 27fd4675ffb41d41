'use strict';

// Messages in the transactions of Prisma: its example, on PostgreSQL. Prisma is here and not among
// the packages of all tests because it brings 119 others, of 300 MB.

const fs = require('node:fs');
const path = require('node:path');

const { TOOLS } = require('../support/platforms');
const { closeShared, sharedPostgres } = require('../support/postgres');
const { cleanEnv, makeFolder, makeProject, run } = require('../support/sandbox');
const { ROOT } = require('../support/setup');

let folder;
let project;

/** A project with the example, where each package is the one of test/platforms. */
beforeAll(() => {
  folder = makeFolder();
  project = makeProject(folder, 'shop');
  for (const name of ['prisma-outbox.mjs', 'prisma-outbox.prisma']) {
    fs.copyFileSync(path.join(ROOT, 'examples', name), path.join(project, name));
  }
  const modules = path.join(project, 'node_modules');
  fs.mkdirSync(modules);
  for (const name of ['@prisma', 'pg']) {
    fs.symlinkSync(path.join(TOOLS, name), path.join(modules, name));
  }
  fs.symlinkSync(ROOT, path.join(modules, 'sekering'));
});

afterAll(async () => {
  fs.rmSync(folder, { recursive: true, force: true });
  await closeShared();
});

test('an order and its message are committed, or neither', async () => {
  const generated = await run(process.execPath,
    [path.join(TOOLS, 'prisma', 'build', 'index.js'), 'generate',
      '--schema', 'prisma-outbox.prisma'],
    // It would download an engine that only migrations need.
    { cwd: project, env: cleanEnv({
      PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, CHECKPOINT_DISABLE: '1',
    }) });
  expect(generated).toMatchObject({ code: 0 });
  const postgres = await sharedPostgres();
  const { code, stdout, stderr } = await run(process.execPath, ['prisma-outbox.mjs'],
    { cwd: project, env: cleanEnv({ DATABASE_URL: await postgres.createDatabase() }) });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout.trimEnd().split('\n'))
    .toEqual(['The total is negative', "[ 'order-1' ]", "[ 'Order order-1' ]"]);
});
