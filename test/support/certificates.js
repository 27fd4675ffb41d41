'use strict';

// Certificates for a test, made by openssl: an authority, and what it signs for servers and
// clients.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

/** Of this machine, under both of its names. */
const LOCAL = 'DNS:localhost,IP:127.0.0.1';
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/**
 * @param {string} [folder] of all files; default: a new one
 * @returns {{ folder: string, file: string, close: () => void,
 *   sign: (name: string, options?: { names?: string, days?: number }) => object }}
 *   `file`: the certificate of the authority; `sign` gives the files `{ cert, key }` of a
 *   certificate for the common name, which has expired if `days` is less than 0
 */
function makeAuthority (folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-ca-'))) {
  const openssl = args => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const at = name => path.join(folder, name);
  let count = 0;
  openssl(['req', '-x509', ...NEW_KEY, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj',
    '/CN=An authority of tests', '-days', '30', '-addext', 'keyUsage=critical,keyCertSign']);
  const sign = (name, { names = LOCAL, days = 30 } = {}) => {
    const [key, request, cert] = ['key', 'csr', 'crt'].map(kind => `${name}-${count}.${kind}`);
    count++;
    openssl(['req', ...NEW_KEY, '-keyout', key, '-out', request, '-subj', `/CN=${name}`,
      '-addext', `subjectAltName=${names}`]);
    openssl(['x509', '-req', '-in', request, '-out', cert, '-CA', 'ca.crt', '-CAkey', 'ca.key',
      '-CAcreateserial', '-copy_extensions', 'copy', '-days', String(days)]);
    return { cert: at(cert), key: at(key) };
  };
  const close = () => fs.rmSync(folder, { recursive: true, force: true });
  return { folder, file: at('ca.crt'), sign, close };
}

module.exports = { makeAuthority };
