'use strict';

// Commands about this host: sekering regions.

const { withSession } = require('./session');
const { plain, table } = require('./terminal');

const KIB = 1024;

function originOf ({ isHere, isOfRelease }) {
  if (!isHere) return 'another container or boot';
  return isOfRelease ? '' : 'another release';
}

function listRegions (session) {
  const { canShare, hasFiles, regions, survey } = require('../base/regions');
  const folder = hasFiles ? regions.directory() : null;
  const found = survey();
  const without = canShare
    ? 'On this system, what is shared is in no file'
    : 'Nothing is shared here: scopes need the binary, on Linux, macOS or Windows';
  session.answer({ folder, regions: found }, () => (folder === null
    ? without
    : [
      `Folder: ${plain(folder)}`,
      ...found.length === 0 ? ['No regions'] : [table(
        ['NAMESPACE', 'SCOPE', 'USED', 'KIB', 'MODIFIED', 'OF'],
        found.map(it => [
          plain(it.namespace), it.pid === undefined ? it.scope : `process ${it.pid}`,
          it.isUsed ? 'yes' : 'no', String(Math.ceil(it.bytes / KIB)), it.modified.toISOString(),
          originOf(it),
        ]))],
    ].join('\n')));
}

function addRegionCommands (program) {
  program.command('regions')
    .description('list the files through which the processes of this user share breakers')
    .action(withSession(listRegions));
}

module.exports = { addRegionCommands };
