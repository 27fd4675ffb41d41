'use strict';

// Webhooks of the Cloud API and of Green API: how they prove who sent them, what they say, and
// which entries have come before.

const crypto = require('node:crypto');

const { wall } = require('../base/clock');
const { SekeringError } = require('../base/errors');
const { copyOf, isA, isList, read } = require('../base/foreign');
const { classifyCloudError, classifyGreenState } = require('./whatsapp-errors');

const CHALLENGE = /^[\w-]{1,256}$/;
const SIGNATURE = /^sha256=([0-9a-f]{64})$/i;

/** Whether two texts are equal. The time that it takes does not tell where they differ. */
function equals (a, b) {
  const digest = text => crypto.createHash('sha256').update(String(text)).digest();
  return crypto.timingSafeEqual(digest(a), digest(b));
}

/** The answer to the handshake by which a webhook is set up; undefined for a 403. */
function handshake (query, verifyToken) {
  const field = name => read(query, `hub.${name}`) ?? read(read(query, 'hub'), name);
  const challenge = field('challenge');
  // It is sent back as it is, so it must not contain markup.
  const fits = field('mode') === 'subscribe' && typeof challenge === 'string' &&
    CHALLENGE.test(challenge) && typeof field('verify_token') === 'string';
  return fits && equals(field('verify_token'), verifyToken) ? challenge : undefined;
}

/** A header, in whatever case a server keeps names. */
function headerOf (headers, name) {
  if (!isRecord(headers)) return undefined;
  const own = Object.keys(copyOf(headers)).find(key => key.toLowerCase() === name);
  return read(headers, own ?? name);
}

/** Whether the raw body of a webhook has the signature of its header X-Hub-Signature-256. */
function isSigned (rawBody, header, appSecret) {
  const signature = SIGNATURE.exec(typeof header === 'string' ? header : '');
  const isRaw = typeof rawBody === 'string' || isA(rawBody, Uint8Array);
  if (signature === null || !isRaw) return false;
  try {
    const expected = crypto.createHmac('sha256', appSecret).update(rawBody).digest();
    return crypto.timingSafeEqual(expected, Buffer.from(signature[1], 'hex'));
  } catch {
    return false; // Bytes that cannot be read.
  }
}

const list = value => (isList(value) ? value : []);
const textOf = value => (typeof value === 'string' ? value : undefined);
const isRecord = value => typeof value === 'object' && value !== null;

// ---- What a webhook tells ----------------------------------------------------------------------
//
// A webhook is read into entries: { kind, key, value }. `kind` is the name of the event for the
// entry. A repeated entry has the same `key`; one without a key is always new.

/** The properties of a webhook's result, by the kinds of its entries. */
const LISTS = {
  status: 'statuses', message: 'messages', webhookError: 'errors', notification: 'notifications',
};

/** The result of handleWebhook(): the values of the entries, by kind. */
function newsOf (entries) {
  const news = Object.fromEntries(Object.values(LISTS).map(name => [name, []]));
  for (const { kind, value } of entries) news[LISTS[kind]].push(value);
  return news;
}

function cloudErrorOf (error, redact) {
  const field = value => (textOf(value) === undefined ? undefined : redact(value));
  return {
    code: read(error, 'code'),
    title: field(read(error, 'title')),
    message: field(read(error, 'message')),
    details: field(read(read(error, 'error_data'), 'details')),
    verdict: classifyCloudError(error),
  };
}

function cloudStatusOf (status, phoneNumberId, redact) {
  return {
    messageId: textOf(status.id),
    status: textOf(status.status),
    recipient: textOf(status.recipient_id),
    reference: textOf(status.biz_opaque_callback_data),
    // Seconds, as text.
    at: Number(status.timestamp) * 1000 || undefined,
    phoneNumberId,
    errors: list(status.errors).map(error => cloudErrorOf(error, redact)),
  };
}

const hashOf = value => crypto.createHash('sha256').update(JSON.stringify(value)).digest('hex');

/** Errors have no id. The same one on another day is another event. */
const today = () => new Date(wall()).toISOString().slice(0, 'YYYY-MM-DD'.length);

const keyOf = (kind, ...parts) =>
  (parts.some(part => part === undefined) ? undefined : [kind, ...parts].join(' '));

/**
 * The entries of a webhook of the Cloud API. Statuses are unordered and repeated, and `delivered`
 * may be missing before `read`. `redact` takes the secrets out of a text.
 */
function readCloudWebhook (body, redact) {
  const entries = [];
  const add = (kind, key, value) => entries.push({ kind, key, value });
  for (const entry of list(body?.entry)) {
    for (const change of list(entry?.changes)) {
      const value = change?.field === 'messages' ? change.value : undefined;
      const phoneNumberId = textOf(value?.metadata?.phone_number_id);
      for (const given of list(value?.statuses).filter(isRecord)) {
        const status = cloudStatusOf(given, phoneNumberId, redact);
        add('status', keyOf('status', status.messageId, status.status), status);
      }
      for (const message of list(value?.messages).filter(isRecord)) {
        add('message', keyOf('message', textOf(message.id)), message);
      }
      for (const error of list(value?.errors).filter(isRecord)) {
        const news = { ...cloudErrorOf(error, redact), phoneNumberId };
        add('webhookError', keyOf('webhookError', today(), hashOf(news)), news);
      }
    }
  }
  return entries;
}

// ---- Green API ---------------------------------------------------------------------------------

const GREEN_FAILED =
  new Set(['failed', 'noAccount', 'notInGroup', 'noActiveSession', 'yellowCard']);

function greenStatusOf (body) {
  const { idMessage, status, chatId, timestamp, description } = body;
  const hasFailed = GREEN_FAILED.has(status);
  return {
    messageId: textOf(idMessage),
    status: hasFailed ? 'failed' : textOf(status),
    recipient: textOf(chatId),
    reference: undefined,
    at: Number(timestamp) * 1000 || undefined,
    phoneNumberId: undefined,
    errors: hasFailed ? [{
      code: status, title: undefined, message: textOf(description), details: undefined,
      verdict: classifyGreenState(status),
    }] : [],
  };
}

/** The entries of a webhook of Green API, which is about one thing only. */
function readGreenWebhook (body) {
  const type = textOf(body?.typeWebhook);
  if (type === undefined) throw new SekeringError('ERR_WHATSAPP_WEBHOOK');
  const [id, at] = [textOf(body.idMessage), body.timestamp];
  if (type === 'outgoingMessageStatus') {
    const value = greenStatusOf(body);
    return [{ kind: 'status', key: keyOf('status', id, textOf(body.status)), value }];
  }
  if (type === 'incomingMessageReceived') {
    return [{ kind: 'message', key: keyOf('message', id), value: body }];
  }
  const key = id === undefined
    ? keyOf(type, textOf(body.stateInstance) ?? '', at) : keyOf(type, id);
  return [{ kind: 'notification', key, value: body }];
}

/** Whether an Authorization header has the token, which may name its own scheme. */
function isAuthorized (header, token) {
  if (typeof header !== 'string') return false;
  const scheme = /^(?:bearer|basic) /i;
  const [given, expected] = [header, token].map(text => text.trim());
  return equals(scheme.test(expected) ? given : given.replace(/^bearer /i, ''), expected);
}

// ---- What has come already ---------------------------------------------------------------------

const KNOWN_MAX = 10_000;

/** Lets each entry through once, as far back as it remembers. */
class WebhookMemory {
  #known = new Set();
  // The work on entries that are being handled now, by key.
  #pending = new Map();

  /** The entries that are not known, each key once. */
  #newOf (entries) {
    const keys = new Set();
    return entries.filter(({ key }) => {
      if (key === undefined) return true;
      const isNew = !this.#known.has(key) && !keys.has(key);
      keys.add(key);
      return isNew;
    });
  }

  #remember (entries) {
    for (const { key } of entries) if (key !== undefined) this.#known.add(key);
    for (const key of this.#known) {
      if (this.#known.size <= KNOWN_MAX) break;
      this.#known.delete(key);
    }
  }

  /** Returns the new entries, and remembers them. */
  take (entries) {
    const fresh = this.#newOf(entries);
    this.#remember(fresh);
    return fresh;
  }

  /** Calls `work` with the new entries, and remembers them if it succeeds. */
  async handle (entries, work) {
    for (;;) {
      const busy = entries.map(({ key }) => this.#pending.get(key)).filter(Boolean);
      if (busy.length === 0) break;
      await Promise.allSettled(busy);
    }
    const fresh = this.#newOf(entries);
    if (fresh.length === 0) return;
    const working = work(fresh);
    const keys = fresh.map(({ key }) => key).filter(key => key !== undefined);
    for (const key of keys) this.#pending.set(key, working);
    try {
      await working;
      this.#remember(fresh);
    } finally {
      for (const key of keys) this.#pending.delete(key);
    }
  }
}

// ---- Statuses ----------------------------------------------------------------------------------

// The order of statuses: a message that was read does not become unread.
const RANK = { accepted: 0, sent: 1, delivered: 2, read: 3, failed: 4 };

const isStatus = value => typeof value === 'string' && Object.hasOwn(RANK, value);

/** The later of two statuses of one message, whichever came first. */
function laterStatus (known, heard) {
  if (!isStatus(heard)) return known ?? heard;
  if (!isStatus(known)) return heard;
  // A message that was delivered has not failed: this is about an earlier attempt.
  if (heard === 'failed') return RANK[known] >= RANK.delivered ? known : heard;
  if (known === 'failed') return RANK[heard] >= RANK.delivered ? heard : known;
  return RANK[heard] > RANK[known] ? heard : known;
}

module.exports = {
  WebhookMemory, handshake, headerOf, isAuthorized, isSigned, laterStatus, newsOf, readCloudWebhook,
  readGreenWebhook,
};
