'use strict';

// Addresses in a message and in its envelope. Stricter than RFC 5322 on purpose: an address that
// two programs may read differently is rejected.

// Of RFC 5321, in octets.
const ADDRESS_OCTETS_MAX = 254;
const LOCAL_OCTETS_MAX = 64;
const NAME_CHARACTERS_MAX = 200;

// The control characters of ASCII and Latin-1, and other characters that may end a line.
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
const NO_CONTROL = 'text without line breaks and control characters';

// Letters of any script are allowed (RFC 6531): a server that cannot handle them says so.
const ATOM = "[\\p{L}\\p{M}\\p{N}!#$%&'*+/=?^_`{|}~-]+";
const LOCAL = new RegExp(`^${ATOM}(\\.${ATOM})*$`, 'u');
const LABEL = /^[\p{L}\p{N}]([\p{L}\p{M}\p{N}-]{0,61}[\p{L}\p{M}\p{N}])?$/u;
// `Name <address>`; the name may be quoted.
const NAMED = /^(?:"((?:[^"\\]|\\.)*)"|([^<>"]*?))\s*<([^<>]*)>$/;

const hasControl = text => CONTROL.test(text);

function isAddress (address) {
  if (typeof address !== 'string' || hasControl(address)) return false;
  if (Buffer.byteLength(address) > ADDRESS_OCTETS_MAX) return false;
  const at = address.lastIndexOf('@');
  const local = address.slice(0, Math.max(at, 0));
  return LOCAL.test(local) && Buffer.byteLength(local) <= LOCAL_OCTETS_MAX &&
    address.slice(at + 1).split('.').every(label => LABEL.test(label));
}

/** Splits a list at its commas, but not at those within quotes or angle brackets. */
function splitList (text) {
  const parts = [];
  let part = '';
  let quoted = false;
  let bracket = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === ',' && !quoted && !bracket) {
      parts.push(part);
      part = '';
      continue;
    }
    part += char;
    if (char === '\\' && quoted) part += text[++i] ?? '';
    else if (char === '"') quoted = !quoted;
    else if (!quoted && (char === '<' || char === '>')) bracket = char === '<';
  }
  return [...parts, part].map(entry => entry.trim()).filter(entry => entry !== '');
}

function readText (text) {
  const named = NAMED.exec(text);
  if (named === null) return { name: '', address: text };
  const name = named[1] === undefined ? named[2] : named[1].replace(/\\(.)/g, '$1');
  return { name: name.trim(), address: named[3].trim() };
}

function check (entry, path, faults) {
  const { name, address } = entry;
  if (!isAddress(address)) {
    faults.add(path, `an address of the form name@domain, up to ${ADDRESS_OCTETS_MAX} octets`,
      address);
  }
  if (typeof name !== 'string' || hasControl(name)) faults.add(`${path}.name`, NO_CONTROL, name);
  else if (name.length > NAME_CHARACTERS_MAX) {
    faults.add(`${path}.name`, `up to ${NAME_CHARACTERS_MAX} characters`, name);
  }
  return entry;
}

/**
 * Reads addresses in any form that nodemailer takes: text with commas, `{ name, address }`, or an
 * array of both.
 * @param {unknown} value
 * @param {string} path for the faults
 * @param {Faults} faults
 * @returns {{ name: string, address: string }[]}
 */
function readAddresses (value, path, faults) {
  if (value === undefined || value === null || value === '' || value === false) return [];
  if (Array.isArray(value)) {
    return value.flatMap((entry, i) => readAddresses(entry, `${path}[${i}]`, faults));
  }
  if (typeof value === 'object') {
    return [check({ name: value.name ?? '', address: value.address }, path, faults)];
  }
  if (typeof value !== 'string' || hasControl(value)) {
    faults.add(path, 'addresses without line breaks and control characters', value);
    return [{ name: '', address: String(value) }];
  }
  const parts = splitList(value);
  return parts.map((part, i) =>
    check(readText(part), parts.length === 1 ? path : `${path}[${i}]`, faults));
}

module.exports = { NO_CONTROL, hasControl, readAddresses };
