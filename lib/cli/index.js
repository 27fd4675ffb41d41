#!/usr/bin/env node
'use strict';

// The command `sekering`.
//
// Exit codes: 0 done, 1 failed, or a check has found a problem, 2 wrong usage or configuration, 3
// the server cannot be reached or rejects the token, 4 not found.

const { Command, CommanderError } = require('commander');

const { addRegionCommands } = require('./region-commands');
const { addServerCommands } = require('./server-commands');
const { EXIT } = require('./session');
const { addSetUpCommands } = require('./set-up-commands');
const { addTriggerCommands } = require('./trigger-commands');
const { version } = require('../../package.json');

function makeProgram () {
  const program = new Command('sekering')
    .description('Circuit breakers, retries and payment-safe clients')
    .version(version, '-v, --version')
    .option('-c, --config <file>',
      'configuration (default: SEKERING_CONFIG, or sekering.toml if it exists)')
    .option('--url <url>',
      'of the running server (default: SEKERING_URL, or from the configuration)')
    .option('--json', 'print JSON')
    .exitOverride()
    .addHelpText('after', '\nThe token for the server is SEKERING_TOKEN, or admin.tokens in the ' +
      'configuration.\nExit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 no server ' +
      'or token, 4 not found');
  addRegionCommands(program);
  addSetUpCommands(program);
  addServerCommands(program);
  addTriggerCommands(program);
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
