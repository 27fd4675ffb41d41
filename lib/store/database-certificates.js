'use strict';

// The files of TLS that an address of PostgreSQL names: sslrootcert, sslcert, sslkey. pg reads them
// for each new connection, so they may be renewed while the store is open.

const fs = require('node:fs');

const PARAMETERS = ['sslrootcert', 'sslcert', 'sslkey'];
const PATH_SHOWN = 200;

/** Which file named in a URL cannot be read, as part of an error message; '' if all can. */
function unreadableIn (url) {
  if (!URL.canParse(url)) return '';
  const { searchParams } = new URL(url);
  const name = PARAMETERS.find(parameter => {
    try {
      return searchParams.has(parameter) && !fs.readFileSync(searchParams.get(parameter));
    } catch {
      return true;
    }
  });
  if (name === undefined) return '';
  const shown = JSON.stringify(searchParams.get(name).slice(0, PATH_SHOWN));
  return ` (the file of ${name} cannot be read: ${shown})`;
}

/**
 * Clients for one address, for a pool. While a file cannot be read, the one that was read last
 * counts: an error here would end the process, as pools make clients in the middle of events.
 */
function renewing (Client) {
  let last;
  return function (options) {
    try {
      last = new Client(options);
    } catch (error) {
      if (last === undefined) throw error;
      last = new Client({
        ...options, ...last.connectionParameters, password: last.password,
        connectionString: undefined,
      });
    }
    return last;
  };
}

module.exports = { renewing, unreadableIn };
