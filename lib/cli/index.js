#!/usr/bin/env node
'use strict';

// The command `sekering`.
//
// Exit codes: 0 done, 1 it failed or something was found, 2 wrong usage or configuration, 3 the
// server cannot be reached or refuses the token, 4 there is no such thing.

const { Command, CommanderError, InvalidArgumentError } = require('commander');

const { EXIT } = require('./admin-client');
const { Session } = require('./session');
const { version } = require('../../package.json');

const COMMANDS = {
  breakers: () => require('./breakers-commands'),
  messages: () => require('./message-commands'),
  setUp: () => require('./set-up-commands'),
};

/** A whole number from `min` to `max` for an option. */
const integer = (min, max) => text => {
  const value = Number(text);
  if (text.trim() !== '' && Number.isInteger(value) && value >= min && value <= max) return value;
  throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
};

/** Runs a function of a command module with the session, the arguments and the options. */
const run = (module, name) => (...args) => {
  const command = args.pop();
  const session = new Session(command.optsWithGlobals());
  return COMMANDS[module]()[name](session, ...args);
};

function addServing (program) {
  program.command('serve')
    .description('run the gateway of the configuration')
    .option('--port <port>', 'in place of server.port', integer(0, 65_535))
    .action(run('setUp', 'serve'));
  program.command('demo')
    .description('run the gateway against upstreams that break')
    .option('--seconds <n>', 'end by itself; default without a terminal: 15', integer(5, 3600))
    .option('--port <port>', 'of the dashboard; 0 takes a free one', integer(0, 65_535))
    .option('--directory <folder>', 'of its database')
    .action(run('setUp', 'demo'));
  program.command('init')
    .description('write a configuration with comments')
    .argument('[file]', 'its name', 'sekering.toml')
    .action(run('setUp', 'init'));
  program.command('check')
    .description('look for faults of the configuration, and for what cannot be reached')
    .action(run('setUp', 'check'));
  program.command('migrate')
    .description('bring the schema of the store up to date')
    .action(run('setUp', 'migrate'));
}

function addBreakers (program) {
  const breakers = program.command('breakers').description('circuit breakers of the server');
  breakers.command('list').description('what state they are in')
    .option('--state <state>', 'only open, half-open, closed or disabled ones')
    .action(run('breakers', 'list'));
  breakers.command('reset').description('close a breaker, and forget its counts')
    .argument('<name>').option('--reason <text>', 'for the audit log')
    .action(run('breakers', 'reset'));
  breakers.command('watch').description('print what happens, until it is interrupted')
    .action(run('breakers', 'watch'));
}

const filtered = command => command
  .option('--channel <name>', 'only of this channel')
  .option('--kind <code>', 'only this kind of failure')
  .option('--search <text>', 'only with this in recipient, subject or error');

function addMessages (program) {
  const dlq = program.command('dlq').description('dead letters');
  filtered(dlq.command('list').description('newest first'))
    .option('--limit <n>', 'how many, 1 to 500', integer(1, 500), 100)
    .option('--before <id>', 'older than this one')
    .action(run('messages', 'list'));
  dlq.command('show').description('one of them, with its errors').argument('<id>')
    .action(run('messages', 'show'));
  filtered(dlq.command('retry').description('give one, or many, all attempts again'))
    .argument('[id]')
    .option('--all', 'all that fit')
    .option('--limit <n>', 'how many at most', integer(1, 10_000))
    .option('--rate <n>', 'messages per second', integer(1, 10_000))
    .option('--reason <text>', 'for the audit log')
    .action(run('messages', 'retry'));
  filtered(dlq.command('purge').description('delete for good'))
    .option('--all', 'all of them')
    .option('--older-than <days>', 'only what died so many days ago', integer(0, 3650))
    .requiredOption('--reason <text>', 'for the audit log')
    .action(run('messages', 'purge'));
  addOutbox(program);
  program.command('report').description('the reliability report')
    .option('--html', 'as a page').action(run('messages', 'report'));
}

function addOutbox (program) {
  const outbox = program.command('outbox').description('messages, and what became of them');
  outbox.command('stats').description('by channel and status').action(run('messages', 'stats'));
  outbox.command('list').description('newest first')
    .option('--status <status>', 'only PENDING, SENDING, RETRYING, SENT, DLQ or CANCELLED ones')
    .option('--channel <name>', 'only of this channel')
    .option('--search <text>', 'only with this in recipient, subject or error')
    .option('--limit <n>', 'how many, 1 to 500', integer(1, 500), 100)
    .option('--before <id>', 'older than this one')
    .action(run('messages', 'messages'));
  outbox.command('undelivered').description('sent, and not delivered by the provider')
    .option('--limit <n>', 'how many, 1 to 500', integer(1, 500), 100)
    .option('--before <id>', 'older than the one with this id of the provider')
    .action(run('messages', 'undelivered'));
  outbox.command('show').description('one of them, with its errors').argument('<id>')
    .action(run('messages', 'message'));
}

function makeProgram () {
  const program = new Command('sekering')
    .description('Circuit breakers, retries and payment-safe clients')
    .version(version)
    .option('-c, --config <file>',
      'the configuration (SEKERING_CONFIG; sekering.toml if there is one)')
    .option('--url <url>', 'of the running server (SEKERING_URL; else the configuration says it)')
    .option('--json', 'print JSON')
    .exitOverride()
    .addHelpText('after', '\nThe token for the server is SEKERING_TOKEN, or one of the ' +
      'configuration.\nExit codes: 0 done, 1 failed, 2 usage or configuration, 3 no server, ' +
      '4 no such thing');
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
    // Commander has said it already.
    if (!(error instanceof CommanderError)) {
      console.error(error.code === undefined ? error : `${error.code}: ${error.message}`);
    }
    process.exitCode = exitCodeOf(error);
  }
}

module.exports = { main };

if (require.main === module) main(process.argv);
