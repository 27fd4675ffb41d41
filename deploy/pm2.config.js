'use strict';

// A gateway under PM2, two processes on one port: pm2 start pm2.config.js
// With several processes the store has to be a PostgreSQL.
module.exports = {
  apps: [{
    name: 'sekering',
    cwd: __dirname,
    script: 'node_modules/sekering/lib/cli/index.js',
    args: 'serve',
    exec_mode: 'cluster',
    instances: 2,
    // Longer than server.shutdown_timeout. PM2 sends SIGINT first.
    kill_timeout: 30_000,
    max_memory_restart: '512M',
    env: { NODE_ENV: 'production' },
  }],
};
