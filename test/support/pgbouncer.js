'use strict';

// A PgBouncer of its own for a test: private folder, a free port on loopback, trusted users. It
// ends with whoever started it. As root it runs as the user postgres, since it refuses root.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { chown, freePort, user } = require('./postgres');

const PROGRAM = '/usr/sbin/pgbouncer';

// Ends it when the pipe is closed, and removes its folder unless somebody says that it comes back.
const KEEPER = `${PROGRAM} "$0/pgbouncer.ini" & word=$(cat); kill "$!"; wait; ` +
  '[ "$word" = back ] || rm -rf "$0"';

const configuration = (folder, port, { server, ...settings }) => `[databases]
* = host=127.0.0.1 port=${server}

[pgbouncer]
${Object.entries({
  listen_addr: '127.0.0.1', listen_port: port, unix_socket_dir: '',
  auth_type: 'trust', auth_file: path.join(folder, 'users'), ...settings,
}).map(([name, value]) => `${name} = ${value}`).join('\n')}
`;

/**
 * @param {object} postgres of startPostgres or sharedPostgres
 * @param {Record<string, string | number>} settings such as pool_mode
 * @returns {Promise<{ port: number, throughOf: (url: string) => string,
 *   stop: () => Promise<void>, start: () => Promise<void>, close: () => Promise<void> }>}
 *   `throughOf`: the address of the same database through it; `stop`: until `start`
 */
async function startPgBouncer (postgres, settings) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-pgbouncer-'));
  const port = await freePort();
  fs.writeFileSync(path.join(folder, 'users'), '"postgres" ""\n');
  fs.writeFileSync(path.join(folder, 'pgbouncer.ini'),
    configuration(folder, port, { server: postgres.port, ...settings }));
  chown(folder, user());
  let keeper;
  const start = async () => {
    keeper = spawn('sh', ['-c', KEEPER, folder],
      { stdio: ['pipe', 'ignore', 'pipe'], cwd: '/', ...user() });
    await isUp(keeper);
  };
  const end = async word => {
    const ended = once(keeper, 'exit');
    keeper.stdin.end(word);
    await ended;
  };
  await start();
  return {
    port,
    throughOf: url => url.replace(`:${postgres.port}/`, `:${port}/`),
    start, stop: () => end('back'), close: () => end(''),
  };
}

function isUp (keeper) {
  return new Promise((resolve, reject) => {
    let log = '';
    keeper.stderr.on('data', text => {
      log += text;
      if (log.includes('process up')) resolve();
    });
    keeper.on('exit', () => reject(new Error(`PgBouncer ended: ${log}`)));
  });
}

module.exports = { startPgBouncer };
