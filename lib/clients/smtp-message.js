'use strict';

// A message to be sent. It is checked as a whole before anything is sent, has one Message-ID and
// one date for all attempts, and knows what became of each recipient.

const crypto = require('node:crypto');
const { isIPv4 } = require('node:net');
const { domainToASCII } = require('node:url');

const clock = require('../base/clock');
const { invalidOption, wasNotAsked } = require('../base/errors');
const { read } = require('../base/foreign');
const { Faults, faultsOfMessage, readInput } = require('./client-error');
const { SmtpError, classifySmtpError } = require('./smtp-errors');

// ---- Addresses ---------------------------------------------------------------------------------
//
// Stricter than RFC 5322 on purpose: an address that two programs may read differently is rejected.

// Of RFC 5321, in octets.
const ADDRESS_OCTETS_MAX = 254;
const LOCAL_OCTETS_MAX = 64;
const NAME_CHARACTERS_MAX = 200;
// A text of as many addresses as a mail may have, with names.
const LIST_CHARACTERS_MAX = 65_536;
const LIST_ENTRIES_MAX = 1000;

// The control characters of ASCII and Latin-1, and other characters that may end a line.
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
const NO_CONTROL = 'text without line breaks and control characters';

// Letters of any script are allowed (RFC 6531): a server that cannot handle them says so.
const ATOM = "[\\p{L}\\p{M}\\p{N}!#$%&'*+/=?^_`{|}~-]+";
const LOCAL = new RegExp(`^${ATOM}(\\.${ATOM})*$`, 'u');
const LABEL = /^[\p{L}\p{N}]([\p{L}\p{M}\p{N}-]{0,61}[\p{L}\p{M}\p{N}])?$/u;
const LABEL_OCTETS_MAX = 63;
// `Name <address>`; the name may be quoted.
const NAMED = /^(?:"((?:[^"\\]|\\.)*)"\s*|([^<>"]*))<([^<>]*)>$/;

const hasControl = text => CONTROL.test(text);

function isAddress (address) {
  if (typeof address !== 'string' || hasControl(address)) return false;
  if (Buffer.byteLength(address) > ADDRESS_OCTETS_MAX) return false;
  const at = address.lastIndexOf('@');
  const local = address.slice(0, Math.max(at, 0));
  return LOCAL.test(local) && Buffer.byteLength(local) <= LOCAL_OCTETS_MAX &&
    isDomain(address.slice(at + 1), ADDRESS_OCTETS_MAX - Buffer.byteLength(local) - 1);
}

/** Whether it is the name of a host whose ASCII form, which DNS uses, is within its limits. */
function isDomain (domain, octetsMax) {
  if (!domain.split('.').every(label => LABEL.test(label))) return false;
  const ascii = domainToASCII(domain);
  // Numbers alone would be read as an IP address, which needs brackets.
  return ascii !== '' && ascii.length <= octetsMax && !isIPv4(ascii) &&
    ascii.split('.').every(label => label.length <= LABEL_OCTETS_MAX);
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
 * array of both. Returns `{ name, address }` of each.
 */
function readAddresses (value, path, faults) {
  if (value === undefined || value === null || value === '' || value === false) return [];
  if (Array.isArray(value)) {
    if (value.length > LIST_ENTRIES_MAX) {
      faults.add(path, `a list of up to ${LIST_ENTRIES_MAX} addresses`, value.length);
      return [];
    }
    return value.flatMap((entry, i) => readAddresses(entry, `${path}[${i}]`, faults));
  }
  if (typeof value === 'object') {
    return [check({ name: value.name ?? '', address: value.address }, path, faults)];
  }
  if (typeof value !== 'string' || hasControl(value)) {
    faults.add(path, 'addresses without line breaks and control characters', value);
    return [{ name: '', address: String(value) }];
  }
  if (value.length > LIST_CHARACTERS_MAX) {
    faults.add(path, `addresses of up to ${LIST_CHARACTERS_MAX} characters together`, value.length);
    return [];
  }
  const parts = splitList(value);
  return parts.map((part, i) =>
    check(readText(part), parts.length === 1 ? path : `${path}[${i}]`, faults));
}

/** The sender that an option names: { name, address }. */
function readSender (value, option) {
  const expected = 'one address of the form name@domain, perhaps with a name';
  try {
    const faults = new Faults('send');
    const [sender, ...others] = readAddresses(value, option, faults);
    faults.throwIfAny();
    if (sender !== undefined && others.length === 0) return sender;
  } catch {
    // One error for all faults.
  }
  throw invalidOption(option, expected, value);
}

// ---- Checks ------------------------------------------------------------------------------------

// Every server has to accept this many at once (RFC 5321).
const RECIPIENTS_MAX = 100;
const ATTACHMENTS_MAX = 100;
const HEADERS_MAX = 100;
const LINE_CHARACTERS_MAX = 998;
const HEADER_NAME = /^[!-9;-~]{1,76}$/;
const MESSAGE_ID = /^<?[^\s<>@]+@[^\s<>@]+>?$/;
// The client writes these itself.
const OWN_HEADERS = new Set(['from', 'to', 'cc', 'bcc', 'sender', 'reply-to', 'subject', 'date']);
const BODIES = ['text', 'html', 'watchHtml', 'amp', 'icalEvent', 'raw'];
const ADDRESSES = ['from', 'sender', 'replyTo', 'to', 'cc', 'bcc'];
const PLAIN = ['inReplyTo', 'references', 'encoding', 'textEncoding', 'priority'];
const OF_ATTACHMENT = ['filename', 'cid', 'contentType', 'contentTransferEncoding',
  'contentDisposition', 'encoding'];

const addressOf = entry => (typeof entry === 'object' && entry !== null ? entry.address : entry);

/** One spelling of an address: an internationalized domain can be written in two ways. */
function canonical (entry) {
  const address = String(addressOf(entry));
  const at = address.lastIndexOf('@') + 1;
  return address.slice(0, at) + (domainToASCII(address.slice(at)) || address.slice(at));
}

// A message that was built elsewhere contains its headers.
const hasRaw = ({ raw }) => raw !== undefined && raw !== null;

// There was no connection to hand it over on.
const UNCONNECTED = new Set(['ECONNREFUSED', 'EDNS', 'ENOTFOUND', 'EAI_AGAIN']);

/** Whether no server can have got the message in a failed attempt. */
const reachedNobody = error => wasNotAsked(error) || UNCONNECTED.has(read(error, 'code')) ||
  UNCONNECTED.has(read(error, 'originalCode'));

const isStream = value => typeof value?.pipe === 'function';

function checkLine (value, path, faults) {
  if (value === undefined || value === null || value === false) return;
  for (const [i, line] of [value].flat().entries()) {
    const at = Array.isArray(value) ? `${path}[${i}]` : path;
    const text = typeof line === 'object' && line !== null ? line.value : line;
    if (text === undefined || text === null || typeof text === 'boolean') continue;
    const isText = typeof text === 'string' || typeof text === 'number';
    if (!isText || hasControl(String(text))) faults.add(at, NO_CONTROL, text);
    else if (String(text).length > LINE_CHARACTERS_MAX) {
      faults.add(at, `up to ${LINE_CHARACTERS_MAX} characters`, text);
    }
  }
}

/** The headers as pairs: they may come as an array or as an object. */
function pairsOf (headers) {
  if (headers === undefined || headers === null) return [];
  if (Array.isArray(headers)) return headers.map(header => [header?.key, header?.value]);
  return Object.entries(headers);
}

function checkHeaders (headers, faults) {
  const pairs = pairsOf(headers);
  if (pairs.length > HEADERS_MAX) {
    faults.add('headers', `up to ${HEADERS_MAX} of them`, pairs.length);
  }
  for (const [name, value] of pairs.slice(0, HEADERS_MAX)) {
    const path = `headers[${JSON.stringify(name)}]`;
    if (typeof name !== 'string' || !HEADER_NAME.test(name)) {
      faults.add(path, 'the name of a header', name);
    } else if (OWN_HEADERS.has(name.toLowerCase())) {
      faults.add(path, 'a header that has no option of its own', name);
    }
    checkLine(value, path, faults);
  }
}

/** A list of entries; a fault if it is anything else or too long. */
function listOf (value, path, max, faults) {
  if (value === undefined || value === null) return [];
  const entries = [value].flat();
  if (entries.length > max) faults.add(path, `up to ${max} of them`, entries.length);
  return entries.slice(0, max);
}

// A stream can be read once: a second attempt would silently send nothing.
function checkContent (value, path, faults) {
  if (isStream(value) || isStream(value?.content)) {
    faults.add(path, 'a Buffer, a string or a path (a stream can be read once only)', value);
  }
}

function checkPart (part, path, faults) {
  if (part === null || typeof part !== 'object') {
    faults.add(path, 'an object', part);
    return;
  }
  checkContent(part, path, faults);
  for (const key of OF_ATTACHMENT) checkLine(part[key], `${path}.${key}`, faults);
  for (const [name, value] of pairsOf(part.headers)) {
    if (!HEADER_NAME.test(name)) faults.add(`${path}.headers`, 'the name of a header', name);
    checkLine(value, `${path}.headers.${name}`, faults);
  }
}

function checkBodies (message, faults) {
  for (const name of BODIES) checkContent(message[name], name, faults);
  for (const name of ['attachments', 'alternatives']) {
    listOf(message[name], name, ATTACHMENTS_MAX, faults)
      .forEach((part, i) => checkPart(part, `${name}[${i}]`, faults));
  }
}

/** The List-* headers, which nodemailer takes in many forms. */
function checkLists (value, path, faults) {
  if (value !== null && typeof value === 'object') {
    for (const [key, entry] of Object.entries(value)) checkLists(entry, `${path}.${key}`, faults);
  } else checkLine(value, path, faults);
}

/** The Message-ID of a message, in its brackets; undefined if it has none. */
function messageIdOf (message, faults) {
  const header = pairsOf(message.headers)
    .find(([name]) => String(name).toLowerCase() === 'message-id')?.[1];
  const id = message.messageId ?? header;
  if (id === undefined || id === null) return undefined;
  if (typeof id !== 'string' || !MESSAGE_ID.test(id) || hasControl(id) || id.length > 250) {
    faults.add('messageId', 'an identifier of the form <name@domain>', id);
    return undefined;
  }
  return `<${id.replace(/^<|>$/g, '')}>`;
}

/** Sender and recipients as the server gets them. */
function envelopeOf (message, addresses, faults) {
  const { envelope } = message;
  const hasOwn = envelope !== undefined && envelope !== null;
  const to = hasOwn
    ? ['to', 'cc', 'bcc'].flatMap(key => readAddresses(envelope[key], `envelope.${key}`, faults))
    : [...addresses.to, ...addresses.cc, ...addresses.bcc];
  // A notice that must not be answered has an empty sender.
  const bounce = hasOwn && (envelope.from === '' || envelope.from === false);
  const from = hasOwn && envelope.from !== undefined
    ? readAddresses(envelope.from, 'envelope.from', faults)[0]
    : addresses.from[0] ?? addresses.sender[0];
  const unique = [...new Set(to.map(({ address }) => address))];
  if (unique.length === 0 || unique.length > RECIPIENTS_MAX) {
    faults.add('to', `1 to ${RECIPIENTS_MAX} recipients`, unique.length);
  }
  const isMissing = addresses.from.length === 0 && !hasRaw(message);
  if (isMissing || (from === undefined && !bounce)) faults.add('from', 'a sender', message.from);
  return { from: from?.address ?? '', to: unique };
}

function checkSubject ({ subject }, faults) {
  if (typeof (subject ?? '') === 'string') checkLine(subject, 'subject', faults);
  else faults.add('subject', NO_CONTROL, subject);
}

/** Checks a message in nodemailer's form. Throws ERR_INVALID_INPUT with every fault. */
function readMessage (message, defaults) {
  return readInput('send', 'message', () => {
    const faults = faultsOfMessage(message);
    const whole = { ...defaults, ...message };
    const addresses = Object.fromEntries(
      ADDRESSES.map(name => [name, readAddresses(whole[name], name, faults)]));
    if (addresses.from.length > 1) faults.add('from', 'one sender', addresses.from.length);
    const envelope = envelopeOf(whole, addresses, faults);
    checkSubject(whole, faults);
    for (const name of PLAIN) checkLine(whole[name], name, faults);
    checkHeaders(whole.headers, faults);
    checkBodies(whole, faults);
    checkLists(whole.list, 'list', faults);
    const messageId = messageIdOf(whole, faults);
    faults.throwIfAny();
    const named = [message.from, message.sender, message.raw, whole.envelope];
    const namesSender = named.some(value => value !== undefined && value !== null);
    return new Letter(whole, addresses, { envelope, messageId, namesSender });
  });
}

function newMessageId (from) {
  return `<${crypto.randomUUID()}@${from.slice(from.lastIndexOf('@') + 1) || 'localhost'}>`;
}

/** The error for one recipient; transports other than SMTP tell less. */
const atRecipient = ({ message, recipient, responseCode, response }) => Object.assign(
  new Error(message), { code: 'EENVELOPE', command: 'RCPT TO', recipient, responseCode, response });

/** Whether an error stops all messages, not only this one. */
const stopsAll = error => ['pause', 'ours'].includes(classifySmtpError(error).kind);

/** One message on its way, through all its attempts. */
class Letter {
  attempts = 0;
  /** Whether it may have been delivered although the server did not confirm it. */
  ambiguous = false;
  /** Whether it may be sent again although it may have been delivered. */
  resendAmbiguous = true;
  /** The server's last words about it. */
  response = undefined;

  #data;
  #from;
  #namesSender;
  // By canonical address: { address, status, responseCode, response, relay }.
  #recipients = new Map();
  // The recipients of the current attempt.
  #asked = [];
  #relay;
  #handedOver = false;

  /** `namesSender`: whether the sender is the message's own, and not a default. */
  constructor (message, addresses, { envelope, messageId, namesSender }) {
    this.#namesSender = namesSender;
    this.messageId = messageId ?? newMessageId(envelope.from);
    this.#from = envelope.from;
    const named = Object.entries(addresses).filter(([, list]) => list.length > 0);
    this.#data = {
      ...message,
      ...Object.fromEntries(named),
      from: addresses.from[0],
      messageId: this.messageId,
      date: message.date ?? new Date(clock.wall()),
      headers: pairsOf(message.headers).filter(([name]) => name.toLowerCase() !== 'message-id')
        .map(([key, value]) => ({ key, value })),
    };
    for (const address of envelope.to) {
      this.#recipients.set(canonical(address), { address, status: 'pending' });
    }
  }

  #having (...statuses) {
    return [...this.#recipients.values()].filter(({ status }) => statuses.includes(status));
  }

  /** What the event `retry` tells of it. */
  get about () { return { messageId: this.messageId }; }

  /** Whether a recipient is left to be tried. */
  get isPending () { return this.#having('pending', 'deferred').length > 0; }

  get hasArrived () { return this.#having('accepted').length > 0; }

  /**
   * Begins an attempt at a relay: returns the message, as nodemailer takes it, for the recipients
   * that have not been accepted yet.
   */
  begin ({ name, sender } = {}, signal = undefined) {
    this.attempts += 1;
    this.#relay = name;
    this.#handedOver = false;
    this.#asked = this.#having('pending', 'deferred').map(({ address }) => address);
    // As objects, which nodemailer does not parse.
    const to = this.#asked.map(address => ({ name: '', address }));
    const own = this.#namesSender ? undefined : sender;
    const address = own?.address ?? this.#from;
    const from = address && { name: '', address };
    return {
      ...this.#data, ...own && { from: own }, envelope: { from, to }, ...signal && { signal },
    };
  }

  /** The last line is on its way: from now on, silence may mean that it was delivered. */
  handOver () {
    this.#handedOver = true;
  }

  /** The attempt ended well, at least for some. */
  settle (answer) {
    const { accepted = [], rejected: refusals = [], rejectedErrors = [], response } = answer;
    this.response = response;
    const taken = new Set(accepted.map(canonical));
    const refused = new Set([...refusals, ...rejectedErrors.map(e => e.recipient)].map(canonical));
    for (const address of this.#asked) {
      const key = canonical(address);
      // If it is in neither list, the server spells it in a way that we do not know.
      const isRefused = refused.has(key) || (!taken.has(key) && refused.size > 0);
      this.#note(address, isRefused ? { status: 'rejected' } : { status: 'accepted', response });
    }
    this.#refuse(rejectedErrors.map(atRecipient));
  }

  /** The attempt at a relay failed, or could not be made. Returns the error to continue with. */
  fail (cause, { name } = {}) {
    const answered = Number.isInteger(read(cause, 'responseCode'));
    if (this.#handedOver && !answered && !reachedNobody(cause)) this.ambiguous = true;
    const errors = (read(cause, 'rejectedErrors') ?? []).map(atRecipient);
    this.#refuse(errors);
    return this.#errorOf(errors.find(stopsAll) ?? cause, name);
  }

  /** The error when the server took the message for some recipients and deferred others. */
  deferral ({ name } = {}) {
    const errors = this.#having('deferred', 'pending').map(({ responseCode, response }) =>
      atRecipient({ message: `Some recipients were deferred: ${response}`, responseCode, response })
    );
    return this.#errorOf(errors.find(stopsAll) ?? errors[0], name);
  }

  #errorOf (cause, relay) {
    const { messageId, attempts, ambiguous } = this;
    return new SmtpError(cause, {
      relay, messageId, attempts, ambiguous, isFinal: ambiguous && !this.resendAmbiguous,
      rejected: this.#having('rejected'),
      deferred: this.#having('deferred'),
    });
  }

  toResult () {
    const { messageId, attempts, ambiguous, response } = this;
    const recipients = [...this.#recipients.values()]
      .map(entry => ({ ...entry, status: entry.status === 'pending' ? 'deferred' : entry.status }));
    const having = wanted => recipients.filter(({ status }) => status === wanted)
      .map(({ address }) => address);
    return {
      messageId, accepted: having('accepted'), rejected: having('rejected'),
      deferred: having('deferred'), recipients, attempts, ambiguous, response,
    };
  }

  /** Notes recipients that were refused one by one, for good or for now. */
  #refuse (errors) {
    for (const error of errors) {
      const { recipient, responseCode, response } = error;
      const status = classifySmtpError(error).retryable ? 'deferred' : 'rejected';
      this.#note(recipient, { status, responseCode, response });
    }
  }

  #note (entry, what) {
    const known = this.#recipients.get(canonical(entry));
    if (known !== undefined) {
      const relay = this.#relay;
      this.#recipients.set(canonical(entry),
        { address: known.address, ...what, ...relay !== undefined && { relay } });
    }
  }
}

module.exports = { readAddresses, readMessage, readSender };
