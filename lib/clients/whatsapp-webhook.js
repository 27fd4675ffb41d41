'use strict';

// Webhooks of the Cloud API: the handshake that sets one up, the signature, and the content.

const crypto = require('node:crypto');

const { isA, read } = require('../base/foreign');
const { classifyCloudError } = require('./whatsapp-errors');

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

const list = value => (Array.isArray(value) ? value : []);
const textOf = value => (typeof value === 'string' ? value : undefined);

function statusOf (status, phoneNumberId) {
  const errors = list(status.errors).map(error => ({
    code: read(error, 'code'), title: textOf(read(error, 'title')),
    message: textOf(read(error, 'message')),
    verdict: classifyCloudError(error),
  }));
  return {
    messageId: textOf(status.id),
    status: textOf(status.status),
    recipient: textOf(status.recipient_id),
    reference: textOf(status.biz_opaque_callback_data),
    // Seconds, as text.
    at: Number(status.timestamp) * 1000 || undefined,
    phoneNumberId,
    errors,
  };
}

/**
 * The statuses and messages in a webhook. Statuses are unordered and repeated, and `delivered` may
 * be missing before `read`.
 */
function readWebhook (body) {
  const statuses = [];
  const messages = [];
  for (const entry of list(body?.entry)) {
    for (const change of list(entry?.changes)) {
      const value = change?.field === 'messages' ? change.value : undefined;
      const phoneNumberId = textOf(value?.metadata?.phone_number_id);
      for (const status of list(value?.statuses)) {
        if (status !== null && typeof status === 'object') {
          statuses.push(statusOf(status, phoneNumberId));
        }
      }
      messages.push(...list(value?.messages).filter(m => m !== null && typeof m === 'object'));
    }
  }
  return { statuses, messages };
}

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

module.exports = { handshake, isSigned, laterStatus, readWebhook };
