#!/usr/bin/env node
'use strict';

// The command `sekering`.
//
// Exit codes: 0 done, 1 failed, or a check has found a problem, 2 wrong usage or configuration, 3
// the server cannot be reached or rejects the token, 4 not found.

const { Command, CommanderError, InvalidArgumentError } = require('commander');

const { EXIT, Session } = require('./session');
const { version } = require('../../package.json');

const COMMANDS = {
  server: () => require('./server-commands'),
  setUp: () => require('./set-up-commands'),
};

/** A whole number from `min` to `max` for an option. */
const integer = (min, max) => text => {
  const value = Number(text);
  if (text.trim() !== '' && Number.isInteger(value) && value >= min && value <= max) return value;
  throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
};

/** Runs a function of a module with the session, the arguments and the options. */
const run = (module, name) => (...args) => {
  const command = args.pop();
  const session = new Session(command.optsWithGlobals());
  return COMMANDS[module]()[name](session, ...args);
};

function addServing (program) {
  program.command('serve')
    .description('run the gateway')
    .option('--port <port>', 'overrides server.port', integer(0, 65_535))
    .action(run('setUp', 'serve'));
  program.command('demo')
    .description('run the gateway against fake upstreams that break')
    .option('--seconds <n>', 'stop after n seconds (default: 15 without a terminal)',
      integer(5, 3600))
    .option('--port <port>', 'of the dashboard; 0 for any free port', integer(0, 65_535))
    .option('--directory <folder>', 'folder of its database')
    .action(run('setUp', 'demo'));
  program.command('init')
    .description('write a commented configuration file')
    .argument('[file]', 'name of the file', 'sekering.toml')
    .action(run('setUp', 'init'));
  program.command('check')
    .description('check the configuration, and whether every service can be reached')
    .action(run('setUp', 'check'));
  program.command('migrate')
    .description('update the database schema')
    .action(run('setUp', 'migrate'));
}

function addBreakers (program) {
  const breakers = program.command('breakers')
    .description('circuit breakers of the running server');
  breakers.command('list').description('list breakers and their states')
    .option('--state <state>', 'open, half-open, closed or disabled')
    .action(run('server', 'listBreakers'));
  breakers.command('reset').description('close a breaker and clear its counts')
    .argument('<name>').option('--reason <text>', 'for the audit log')
    .action(run('server', 'resetBreaker'));
  breakers.command('watch').description('print events until interrupted')
    .action(run('server', 'watchEvents'));
}

const filtered = command => command
  .option('--channel <name>', 'only this channel')
  .option('--kind <code>', 'only this kind of failure')
  .option('--search <text>', 'only if the recipient, subject or error contains this');

function addMessages (program) {
  const dlq = program.command('dlq').description('dead letters');
  filtered(dlq.command('list').description('list dead letters, newest first'))
    .option('--limit <n>', 'how many, 1 to 500', integer(1, 500), 100)
    .option('--before <id>', 'only older than this one')
    .action(run('server', 'listLetters'));
  dlq.command('show').description('show one with its errors').argument('<id>')
    .action(run('server', 'showLetter'));
  filtered(dlq.command('retry').description('retry one or many, with a fresh attempt count'))
    .argument('[id]')
    .option('--all', 'all dead letters')
    .option('--limit <n>', 'how many at most', integer(1, 10_000))
    .option('--rate <n>', 'messages per second', integer(1, 10_000))
    .option('--reason <text>', 'for the audit log')
    .action(run('server', 'retryLetters'));
  filtered(dlq.command('purge').description('delete permanently'))
    .option('--all', 'all dead letters')
    .option('--older-than <days>', 'only those that died at least this many days ago',
      integer(0, 3650))
    .requiredOption('--reason <text>', 'for the audit log')
    .action(run('server', 'purgeLetters'));
  addOutbox(program);
  program.command('report').description('the reliability report')
    .option('--html', 'as an HTML page').action(run('server', 'showReport'));
}

function addOutbox (program) {
  const outbox = program.command('outbox').description('messages and their delivery');
  outbox.command('stats').description('count messages by channel and status')
    .action(run('server', 'showStats'));
  outbox.command('list').description('list messages, newest first')
    .option('--status <status>', 'PENDING, SENDING, RETRYING, SENT, DLQ or CANCELLED')
    .option('--channel <name>', 'only this channel')
    .option('--search <text>', 'only if the recipient, subject or error contains this')
    .option('--limit <n>', 'how many, 1 to 500', integer(1, 500), 100)
    .option('--before <id>', 'only older than this one')
    .action(run('server', 'listMessages'));
  outbox.command('undelivered').description('list messages that were sent but not delivered')
    .option('--limit <n>', 'how many, 1 to 500', integer(1, 500), 100)
    .option('--before <id>', 'only older than the one with this provider id')
    .action(run('server', 'listUndelivered'));
  outbox.command('show').description('show one with its errors').argument('<id>')
    .action(run('server', 'showMessage'));
}

function makeProgram () {
  const program = new Command('sekering')
    .description('Circuit breakers, retries and payment-safe clients')
    .version(version)
    .option('-c, --config <file>',
      'configuration (default: SEKERING_CONFIG, or sekering.toml if it exists)')
    .option('--url <url>',
      'of the running server (default: SEKERING_URL, or from the configuration)')
    .option('--json', 'print JSON')
    .exitOverride()
    .addHelpText('after', '\nThe token for the server is SEKERING_TOKEN, or admin.tokens in the ' +
      'configuration.\nExit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 no server ' +
      'or token, 4 not found');
  addServing(program);
  addBreakers(program);
  addMessages(program);
  return program;
}

function exitCodeOf (error) {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error.exitCode !== undefined) return error.exitCode;
  return ['ERR_CONFIG', 'ERR_INVALID_OPTION'].includes(error.code) ? EXIT.usage : EXIT.failed;
}

/** @param {string[]} args as process.argv has them */
async function main (args) {
  try {
    await makeProgram().parseAsync(args);
  } catch (error) {
    // Commander has already printed its errors.
    if (!(error instanceof CommanderError)) {
      console.error(error.code === undefined ? error : `${error.code}: ${error.message}`);
    }
    process.exitCode = exitCodeOf(error);
  }
}

module.exports = { main };

if (require.main === module) main(process.argv);
