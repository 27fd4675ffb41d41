'use strict';

// The input of the admin API. Each query and body has a schema; errors say where and why the input
// does not fit.

const { z } = require('zod');

const { SekeringError } = require('../base/errors');

const PAGE_MAX = 500;
const IDS_MAX = 1000;
const FAULTS_MAX = 20;
const ID_MAX = 2n ** 63n - 1n;

const ORDER_STATES = ['queued', 'created', 'unknown', 'pending', 'authorize', 'paid', 'denied',
  'cancelled', 'expired', 'failed', 'partially_refunded', 'refunded', 'partially_charged_back',
  'charged_back'];

// Without control characters, line separators and half characters: it is logged and shown.
const line = max => z.string().min(1).max(max)
  .regex(/^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]*$/u, 'must be one line without control characters');
// The number of a row, as text: it may exceed the safe integers.
const id = z.string().refine(text => /^[1-9]\d{0,18}$/.test(text) && BigInt(text) <= ID_MAX,
  'must be an id: digits');
const orderId = z.string()
  .regex(/^[\w.~-]{1,50}$/, 'must be 1 to 50 characters of A-Z a-z 0-9 - _ ~ .');
const limit = z.coerce.number().int().min(1).max(PAGE_MAX);
const reason = line(500).refine(text => text.trim() !== '', 'must say something');
const search = line(200);
const flag = z.enum(['true', 'false']).transform(text => text === 'true');

const letters = {
  channel: line(64).optional(), kind: line(128).optional(), search: search.optional(),
};
const selection = { ...letters, ids: z.array(id).min(1).max(IDS_MAX).optional() };
const page = { before: id.optional(), limit: limit.optional() };

const SCHEMAS = {
  nothing: z.strictObject({}),
  name: line(255),
  id,
  orderId,
  breakers: z.strictObject({
    state: z.enum(['closed', 'open', 'half-open', 'disabled']).optional(),
    search: search.optional(),
    limit: limit.optional(),
  }),
  page: z.strictObject(page),
  letters: z.strictObject({ ...letters, ...page }),
  messages: z.strictObject({
    status: z.enum(['PENDING', 'SENDING', 'RETRYING', 'SENT', 'DLQ', 'CANCELLED']).optional(),
    channel: letters.channel, search: letters.search, ...page,
  }),
  orders: z.strictObject({
    state: z.enum(ORDER_STATES).optional(),
    held: flag.optional(),
    search: line(100).optional(),
    before: orderId.optional(),
    limit: page.limit,
  }),
  failures: z.strictObject({ before: line(512).optional(), limit: limit.optional() }),
  paymentEvents: z.strictObject({
    outcome: z.enum(['applied', 'stale', 'held', 'dismissed', 'unknown_order', 'forged', 'invalid',
      'unavailable']).optional(),
    ...page,
  }),
  report: z.strictObject({ format: z.enum(['json', 'html']).optional() }),
  optionalReason: z.strictObject({ reason: reason.optional() }),
  level: z.strictObject({ level: line(64).nullable(), reason }),
  retryMany: z.strictObject({
    ...selection,
    limit: z.number().int().min(1).max(1e6).optional(),
    rate: z.number().min(0.001).max(1e6).optional(),
    reason: reason.optional(),
  }),
  purge: z.strictObject({
    ...selection,
    olderThan: z.number().min(0).max(1e13).optional(),
    // Everything is deleted only on explicit demand.
    all: z.literal(true).optional(),
    reason,
  }).refine(values => (values.all === true) !==
    Object.keys(values).some(name => name !== 'all' && name !== 'reason'),
  'needs either a filter or "all": true'),
  review: z.strictObject({ decision: z.enum(['apply', 'dismiss']), reason }),
};

/**
 * @param {keyof SCHEMAS} schema
 * @param {unknown} input
 * @throws {SekeringError} ERR_INVALID_INPUT with `faults`, [{ path, message }]
 */
function read (schema, input) {
  const { success, data, error } = SCHEMAS[schema].safeParse(input ?? {});
  if (success) return data;
  const faults = error.issues.slice(0, FAULTS_MAX)
    .map(({ path, message }) => ({ path: path.join('.'), message }));
  const [{ path, message }] = faults;
  const invalid = new SekeringError('ERR_INVALID_INPUT',
    path === '' ? message : `${path}: ${message}`);
  invalid.faults = faults;
  throw invalid;
}

module.exports = { read };
