'use strict';

// The admin API under /admin/reliability, and /reset-circuit-breaker/:id: what operators can see
// and change. Everything needs a token; every change is in the audit log.

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const foreign = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { GATEWAY, requirePeer } = require('../base/peer');
const { totalOf } = require('../gateway/report');
const { STATUSES } = require('../store/outbox');
const { OUTCOMES } = require('../store/payment-ledger');
const { STATES: ORDER_STATES } = require('../store/payment-states');
const { createAdminAccess, ownSiteOnly } = require('./admin-auth');
const { createAudit } = require('./audit');
const { STATES, breakersOption, listBreakers, viewBreaker } = require('./breaker-views');
const { createOperatorNotes } = require('./operator-notes');
const { timelineOf } = require('./order-timeline');
const { jsonBody, problem, problemHandler, sendJson } = require('./problem');

const { z } = requirePeer('zod', 'sekering/http', GATEWAY);

const PREFIX = '/admin/reliability';
const RESET_PREFIX = '/reset-circuit-breaker';
const REQUEST_BYTES_MAX = 65_536;

const OPTIONS = optionsOf({
  tokens: is.any('who may use it; see createAdminAccess'),
  rateLimit: is.any('see createAdminAccess'),
  breakers: breakersOption,
  sessions: is.having('whose instances can be reset', ['reset']),
  store: is.object('of openStore'),
  degradation: is.having('whose level can be set', ['snapshot', 'setLevel']),
  events: is.having('of createEventStream', ['handle']),
  history: is.having('of createBreakerHistory', ['read']),
  service: is.having('the counts of the whole service', ['read']),
  health: is.having('of createHealth', ['check']),
  report: is.func("gives an object for { format: 'json' }, a page for 'html'"),
  audit: is.having('of createAudit; default: one of its own', ['record', 'list']),
  log: is.func('gets the entries of that audit log'),
  onError: is.func('gets what was answered with 500'),
});

// ---- Input -------------------------------------------------------------------------------------

// What a change needs may be in the query, where all is text. `read` turns it into a value.
const orText = (pattern, read, schema) => z.preprocess(
  value => (typeof value === 'string' && pattern.test(value) ? read(value) : value), schema);
const orNumber = schema => orText(/^\d{1,15}(\.\d{1,6})?$/, Number, schema);

const PAGE = 100;
const PAGE_MAX = 500;
const IDS_MAX = 1000;
const FAULTS_MAX = 20;
const ID_MAX = 2n ** 63n - 1n;

// Without control characters, line separators and half characters: it is logged and shown.
const line = max => z.string().min(1).max(max)
  .regex(/^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]*$/u, 'must be one line without control characters');

const FIELDS = {
  // The number of a row, as text: it may exceed the safe integers.
  id: z.string().refine(text => /^[1-9]\d{0,18}$/.test(text) && BigInt(text) <= ID_MAX,
    'must be an id: digits'),
  name: line(255),
  orderId: z.string()
    .regex(/^[\w.~-]{1,50}$/, 'must be 1 to 50 characters of A-Z a-z 0-9 - _ ~ .'),
  limit: z.coerce.number().int().min(1).max(PAGE_MAX),
  reason: line(500).refine(text => text.trim() !== '', 'must say something'),
  search: line(200),
  // Text for people: lines, but no other control characters.
  note: z.string().min(1).max(2000).refine(text => text.trim() !== '', 'must say something')
    .regex(/^(?:\n|[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}])*$/u, 'must not have control characters'),
  // As in Date.now().
  time: z.coerce.number().int().min(0).max(1e13),
};

const limit = FIELDS.limit.default(PAGE);
const page = { before: FIELDS.id.optional(), limit };
const span = { since: FIELDS.time.optional(), until: FIELDS.time.optional() };
const SILENCE_MINUTES_MAX = 7 * 24 * 60;
const letters = {
  channel: line(64).optional(), kind: line(128).optional(), search: FIELDS.search.optional(),
};
const idList = orText(/^/, text => text.split(','), z.array(FIELDS.id).min(1).max(IDS_MAX));
const time = orNumber(z.number().int().min(0).max(1e13)).optional();
const selection = { ...letters, since: time, until: time, ids: idList.optional() };
const breakersQuery = z.strictObject({
  state: z.enum(STATES).optional(),
  search: FIELDS.search.optional(),
  limit: FIELDS.limit.optional(),
});
const optionalReason = z.strictObject({ reason: FIELDS.reason.optional() });
const nothing = z.strictObject({});

/** The input as the schema has it. Errors say where and why it does not fit. */
function readInput (schema, input) {
  const { success, data, error } = schema.safeParse(input ?? {});
  if (success) return data;
  const faults = error.issues.slice(0, FAULTS_MAX)
    .map(({ path, message }) => ({ path: path.join('.'), message }));
  const [{ path, message }] = faults;
  const invalid = new SekeringError('ERR_INVALID_INPUT',
    path === '' ? message : `${path}: ${message}`);
  invalid.faults = faults;
  throw invalid;
}

// ---- Breakers and the level --------------------------------------------------------------------
//
// An action is one of
//
//   { path, also, doc, query, params, show: ({ query, params, req, res }) => answer }
//   { path, also, doc, body, params, action, change: ({ body, params, actor }) => answer }
//
// query, body and params are schemas, which openapi.js shows with `doc`. `also` lists aliases of
// the path. `action` is the name in the audit log. The answer undefined means 404; null means that
// `show` has sent the answer itself.

const EVENT_BODY_MAX = 8192;

// With a valid signature anybody could forge notifications.
const SIGNATURES = /[0-9a-f]{128}/gi;

function without (object, ...names) {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));
}

function breakerActions ({ breakers, sessions, history }) {
  const named = name => breakers().filter(breaker => breaker.name === name && !breaker.isShutdown);

  function resetNamed (name) {
    const found = named(name);
    for (const breaker of found) breaker.reset();
    return found.length === 0 ? undefined : { name, reset: found.length };
  }

  const resetSession = id => (sessions?.reset(id) === true ? { name: id, reset: 1 } : undefined);

  return [...(history === undefined ? [] : [{
    path: '/breaker-history',
    doc: 'error rates and latencies of the last minutes',
    query: breakersQuery,
    show: ({ query }) => history.read(query),
  }]), {
    path: '/circuit-breakers',
    doc: 'breakers, the open ones first',
    query: breakersQuery,
    show: ({ query }) => ({ at: clock.wall(), ...listBreakers(breakers, query) }),
  }, {
    path: '/circuit-breakers/:name',
    doc: 'the breakers with this name',
    params: { name: FIELDS.name },
    show: ({ params: { name } }) => {
      const found = named(name);
      return found.length === 0 ? undefined : { name, breakers: found.map(viewBreaker) };
    },
  }, {
    path: '/circuit-breakers/:name/reset',
    doc: 'closes a breaker and clears its counts',
    params: { name: FIELDS.name },
    action: 'breaker.reset',
    change: ({ params: { name } }) => resetNamed(name) ?? resetSession(name),
  }, {
    // At /reset-circuit-breaker/:id. An instance of the session pool comes first.
    path: '/:id',
    doc: 'resets an instance of WhatsApp, or else the breaker with this name',
    alone: true,
    params: { id: FIELDS.name },
    action: 'breaker.reset',
    change: ({ params: { id } }) => resetSession(id) ?? resetNamed(id),
  }];
}

// In a query, null cannot be written.
const AUTOMATIC = /^automatic$/i;

function levelActions (degradation) {
  return [{
    path: '/degradation', doc: 'the level, its reason, services and features',
    show: () => degradation.snapshot(),
  }, {
    path: '/degradation',
    doc: 'sets the level; null or automatic: the services decide',
    also: ['/degradation/set-level'],
    body: z.strictObject({ level: line(64).nullable(), reason: FIELDS.reason }),
    action: 'degradation.set',
    change: ({ body: { level: wanted, reason }, actor }) => {
      const { levels } = degradation.snapshot();
      const level = wanted === null || AUTOMATIC.test(wanted) ? null
        : levels.find(name => name.toLowerCase() === wanted.toLowerCase());
      if (level === undefined) {
        throw new SekeringError('ERR_INVALID_INPUT',
          `level: must be one of ${levels.join(', ')}, or null (automatic)`);
      }
      degradation.setLevel(level, { reason, by: actor.name });
      return degradation.snapshot();
    },
  }];
}

// ---- Notes and silences ------------------------------------------------------------------------

/** Writes a note about something that `isThere(target)` finds. */
const noteAction = (path, about, notes, params, isThere) => ({
  path,
  doc: `writes a note about a ${about}`,
  params,
  body: z.strictObject({ note: FIELDS.note }),
  action: 'note.add',
  change: async ({ params: named, body: { note }, actor }) => {
    const [target] = Object.values(named);
    return await isThere(target)
      ? notes.add({ actor: actor.name, about, target, note }) : undefined;
  },
});

function noteActions (notes, breakers) {
  const isThere = wanted =>
    breakers().some(({ name, isShutdown }) => name === wanted && !isShutdown);
  return [{
    path: '/notes',
    doc: 'notes about breakers, messages and orders, newest first',
    query: z.strictObject({
      about: z.enum(['breaker', 'message', 'order']).optional(), target: FIELDS.name.optional(),
    }),
    show: async ({ query }) => ({ notes: await notes.list(query) }),
  }, {
    path: '/silences',
    doc: 'breakers that are silenced now, by whom and until when',
    show: async () => ({ silences: await notes.silences() }),
  }, noteAction('/circuit-breakers/:name/note', 'breaker', notes, { name: FIELDS.name }, isThere), {
    path: '/circuit-breakers/:name/silence',
    doc: 'silences a breaker in the dashboard for some minutes; 0 ends that',
    params: { name: FIELDS.name },
    body: z.strictObject({
      minutes: orNumber(z.number().int().min(0).max(SILENCE_MINUTES_MAX)), reason: FIELDS.reason,
    }),
    action: 'breaker.silence',
    change: async ({ params: { name }, body: { minutes, reason }, actor }) => {
      // A silence can also be ended when its breaker is gone.
      if (minutes > 0 && !isThere(name)) return undefined;
      return notes.silence({ name, minutes, actor: actor.name, reason });
    },
  }];
}

// ---- Dead letters and the outbox ---------------------------------------------------------------

/** Adds to each message the last status that its provider reported. */
async function withDelivery (deliveries, messages) {
  const found = await deliveries.of(messages);
  return messages.map(message => ({ ...message, delivery: found.get(message.id) ?? null }));
}

/** Lists leave out what may be large. */
const listing = ({ deliveries }, part, key) => async ({ query }) => {
  const page = await part.list({ ...query, content: false });
  return { [key]: await withDelivery(deliveries, page), next: page.next ?? null };
};

const showing = (deliveries, get) => async ({ params }) => {
  const message = await get(params.id);
  return message && (await withDelivery(deliveries, [message]))[0];
};

function letterActions (store) {
  const { deadLetters, deliveries } = store;
  return [{
    path: '/dlq',
    doc: 'dead letters, newest first',
    query: z.strictObject({ ...letters, ...span, ...page }),
    show: listing(store, deadLetters, 'letters'),
  }, {
    path: '/dlq/summary',
    doc: 'how many dead letters there are, by channel and kind',
    show: async () => {
      const summary = await deadLetters.summary();
      return { total: totalOf(summary), summary };
    },
  }, {
    path: '/dlq/retry',
    doc: 'retries dead letters, each with a fresh attempt count',
    body: z.strictObject({
      ...selection,
      limit: orNumber(z.number().int().min(1).max(1e6)).optional(),
      rate: orNumber(z.number().min(0.001).max(1e6)).optional(),
      reason: FIELDS.reason.optional(),
    }),
    action: 'dlq.retry-many',
    change: ({ body }) => deadLetters.retryMany(without(body, 'reason')),
  }, {
    path: '/dlq/purge',
    doc: 'deletes dead letters: those of a filter, or all of them',
    body: z.strictObject({
      ...selection,
      olderThan: orNumber(z.number().min(0).max(1e13)).optional(),
      // Everything is deleted only on explicit demand.
      all: orText(/^true$/, () => true, z.literal(true)).optional(),
      reason: FIELDS.reason,
    }).refine(values => (values.all === true) !==
      Object.keys(values).some(key => key !== 'all' && key !== 'reason'),
    'needs either a filter or "all": true'),
    action: 'dlq.purge',
    change: async ({ body }) =>
      ({ purged: await deadLetters.purge(without(body, 'reason', 'all')) }),
  }, {
    path: '/dlq/:id',
    doc: 'a dead letter, with its text and all errors',
    params: { id: FIELDS.id },
    show: showing(deliveries, id => deadLetters.get(id)),
  }, {
    path: '/dlq/:id/retry',
    doc: 'retries a dead letter with a fresh attempt count',
    params: { id: FIELDS.id },
    action: 'dlq.retry',
    change: async ({ params: { id } }) => {
      if (await deadLetters.retry(id)) return { id, retried: true };
      if (await deadLetters.get(id) === undefined) return undefined;
      throw new SekeringError('ERR_OUTBOX_MESSAGE',
        'Another message with the same key is waiting to be sent');
    },
  }];
}

function messageActions (store, notes) {
  const { outbox, deliveries, payments } = store;
  return [{
    path: '/outbox/stats', doc: 'counts by channel and status',
    show: () => outbox.stats(),
  }, {
    path: '/undelivered',
    doc: 'messages that were sent, but not delivered by the provider',
    query: z.strictObject({ before: line(512).optional(), limit: FIELDS.limit.optional() }),
    show: async ({ query }) => {
      const failures = await deliveries.failures(query);
      return { failures, next: failures.next ?? null };
    },
  }, {
    path: '/outbox',
    doc: 'messages, newest first',
    query: z.strictObject({
      status: z.enum(STATUSES).optional(), channel: letters.channel, search: letters.search,
      ...span, ...page,
    }),
    show: listing(store, outbox, 'messages'),
  }, {
    path: '/outbox/:id',
    doc: 'a message',
    params: { id: FIELDS.id },
    show: showing(deliveries, id => outbox.get(id)),
  }, {
    path: '/outbox/:id/cancel',
    doc: 'cancels a message that still waits',
    params: { id: FIELDS.id },
    body: z.strictObject({ reason: FIELDS.reason }),
    action: 'outbox.cancel',
    change: async ({ params: { id } }) => {
      const message = await outbox.get(id);
      if (message === undefined) return undefined;
      if (Object.hasOwn(payments?.senders() ?? {}, message.channel)) {
        throw new SekeringError('ERR_OUTBOX_MESSAGE',
          'This message belongs to a payment, which needs it');
      }
      if (await outbox.cancel(id)) return { id, cancelled: true };
      throw new SekeringError('ERR_OUTBOX_MESSAGE', 'Only a message that waits can be cancelled');
    },
  }, noteAction('/outbox/:id/note', 'message', notes, { id: FIELDS.id },
    async id => await outbox.get(id) !== undefined)];
}

// ---- Payments ----------------------------------------------------------------------------------

// With the token anybody could pay, or see what is to be paid.
function viewOrder (order) {
  return { ...without(order, 'token', 'redirectUrl'), hasToken: order.token != null };
}

function viewEvent (event) {
  const body = String(event.body ?? '').slice(0, EVENT_BODY_MAX).replace(SIGNATURES, '(signature)');
  return { ...event, body };
}

/** Which of these orders are in the store. */
async function knownOrders (store, ids) {
  const { rows } = await store.query(`SELECT order_id AS id FROM ${store.schema}.payment_orders
    WHERE order_id = ANY ($1::text[])`, [ids]);
  return new Set(rows.map(({ id }) => id));
}

function paymentActions (store, notes) {
  const { payments } = store;
  return [{
    path: '/payments',
    doc: 'orders, newest first',
    query: z.strictObject({
      state: z.enum(ORDER_STATES).optional(),
      held: z.enum(['true', 'false']).transform(text => text === 'true').optional(),
      search: line(100).optional(),
      before: FIELDS.orderId.optional(),
      ...span,
      limit,
    }),
    show: async ({ query }) => {
      const page = await payments.list(query);
      return { payments: page.map(viewOrder), next: page.next ?? null };
    },
  }, {
    path: '/payment-events',
    doc: 'notifications of Midtrans, newest first',
    query: z.strictObject({ outcome: z.enum(OUTCOMES).optional(), ...page }),
    show: async ({ query }) => {
      const page = await payments.listEvents(query);
      const known = await knownOrders(store, page.map(e => e.orderId ?? ''));
      return {
        events: page.map(e => ({ ...viewEvent(e), isOurs: known.has(e.orderId) })),
        next: page.next ?? null,
      };
    },
  }, {
    path: '/payments/:id',
    doc: 'an order, with its history',
    params: { id: FIELDS.orderId },
    show: async ({ params: { id } }) => {
      const order = await payments.get(id);
      return order && viewOrder(order);
    },
  }, {
    path: '/payments/:id/events',
    doc: 'the notifications of an order',
    params: { id: FIELDS.orderId },
    show: async ({ params: { id } }) => ({ events: (await payments.events(id)).map(viewEvent) }),
  }, {
    path: '/payments/:id/timeline',
    doc: 'all that happened to an order: its states, notifications, messages and notes',
    params: { id: FIELDS.orderId },
    show: async ({ params: { id } }) => {
      const entries = await timelineOf(store, notes, id);
      return entries && { orderId: id, entries };
    },
  }, noteAction('/payments/:id/note', 'order', notes, { id: FIELDS.orderId },
    async id => await payments.get(id) !== undefined), {
    path: '/payments/:id/review',
    doc: 'applies or dismisses a held notification',
    params: { id: FIELDS.orderId },
    body: z.strictObject({ decision: z.enum(['apply', 'dismiss']), reason: FIELDS.reason }),
    action: 'payment.review',
    change: async ({ params: { id }, body: { decision, reason }, actor }) => {
      const order = await payments.review(id, decision, { by: actor.name, reason });
      // A held notification may be about an order that is not in the store.
      return order === undefined ? { orderId: id } : viewOrder(order);
    },
  }];
}

// ---- All of them -------------------------------------------------------------------------------

async function showReport (report, { query, req, res }) {
  const format = query.format ?? (req.accepts(['json', 'html']) || 'json');
  const value = await report({ format });
  if (format === 'json') return value;
  res.setHeader('Content-Security-Policy',
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; " +
    "frame-ancestors 'none'");
  res.setHeader('X-Content-Type-Options', 'nosniff');
  res.setHeader('Cache-Control', 'no-store');
  res.type('html').end(String(value));
  return null;
}

/** Which parts there are; the dashboard shows only these. */
function partsOf (options) {
  const names = ['store', 'degradation', 'sessions', 'events', 'history', 'service', 'report',
    'health'];
  return {
    ...Object.fromEntries(names.map(part => [part, options[part] !== undefined])),
    payments: options.store?.payments !== undefined,
  };
}

/** All actions that the parts of createAdminRouter allow. */
function actionsOf (options) {
  const { audit, breakers, degradation, events, health, report, service, store } = options;
  const parts = partsOf(options);
  const notes = parts.store ? createOperatorNotes(store) : undefined;
  return [
    ...breakerActions(options),
    ...parts.degradation ? levelActions(degradation) : [],
    ...parts.store ? [
      ...noteActions(notes, breakers), ...letterActions(store), ...messageActions(store, notes),
    ] : [],
    ...parts.payments ? paymentActions(store, notes) : [],
    ...parts.service ? [{
      path: '/service',
      doc: 'orders, messages and errors per minute of the last 24 hours, of all processes',
      show: () => service.read(),
    }] : [],
    {
      path: '/session',
      doc: 'the name and role of this token, and which parts there are',
      show: ({ res: { locals: { actor } } }) =>
        ({ name: actor.name, role: actor.role, parts, time: new Date() }),
    },
    {
      path: '/audit',
      doc: 'who changed what',
      query: z.strictObject(page),
      show: ({ query }) => audit.list(query),
    },
    ...parts.events ? [{
      path: '/events',
      doc: 'what happens, as a stream',
      show: ({ req, res }) => {
        events.handle(req, res);
        return null;
      },
    }] : [],
    ...parts.health ? [{
      path: '/health', doc: 'the result of all checks', show: () => health.check(),
    }] : [],
    ...parts.report ? [{
      path: '/report',
      doc: 'the reliability report',
      also: ['/reports/reliability'],
      query: z.strictObject({ format: z.enum(['json', 'html']).optional() }),
      show: request => showReport(report, request),
    }] : [],
  ];
}

// ---- Routes ------------------------------------------------------------------------------------

function readParams (schemas, req) {
  return Object.fromEntries(Object.entries(schemas).map(([param, schema]) =>
    [param, readInput(schema, req.params[param])]));
}

function sendOr404 (res, value) {
  if (value === undefined) problem(res, 404, { code: 'ERR_NOT_FOUND' });
  else if (!res.headersSent) sendJson(res, 200, value);
}

/** Answers a request to see something. */
function showIt ({ show, query = nothing, params = {} }) {
  return async (req, res) => sendOr404(res, await show({
    query: readInput(query, req.query), params: readParams(params, req), req, res,
  }));
}

/** The parameters of a change, from the JSON body, the query, or both. */
function inputOf ({ query, body }) {
  return Array.isArray(body) ? body : { ...query, ...body };
}

/** Answers a request to change something, and records the outcome in the audit log. */
function changeIt ({ change, action, body, params = {} }, audit) {
  return async (req, res) => {
    const { actor } = res.locals;
    const target = readParams(params, req);
    const values = readInput(body, inputOf(req));
    const { reason = null, ...detail } = values;
    const entry = { actor, action, target: Object.values(target)[0] ?? null, reason, detail };
    let answer;
    try {
      answer = await change({ body: values, params: target, actor });
    } catch (error) {
      const code = foreign.textOf(foreign.read(error, 'code') ?? 'ERR_INTERNAL');
      await audit.record({ ...entry, result: `failed: ${code}` });
      throw error;
    }
    await audit.record({ ...entry, result: answer === undefined ? 'not found' : 'done' });
    sendOr404(res, answer);
  };
}

/** The actions, and once more for each alias; with their method and role. */
const rowsOf = actions => actions.flatMap(action =>
  [action.path, ...action.also ?? []].map(path => (action.show === undefined
    ? { body: optionalReason, ...action, path, method: 'POST', role: 'operate' }
    : { ...action, path, method: 'GET', role: 'read' })));

/** Adds rows to a router, each behind its role. Other methods get 405. */
function addRows (router, rows, { need, audit, express }) {
  const json = jsonBody(express, REQUEST_BYTES_MAX);
  for (const path of new Set(rows.map(row => row.path))) {
    const route = router.route(path);
    const allowed = [];
    for (const action of rows.filter(row => row.path === path)) {
      if (action.method === 'GET') {
        route.get(need(action.role), showIt(action));
        allowed.push('GET', 'HEAD');
      } else {
        route.post(need(action.role), ownSiteOnly, json, changeIt(action, audit));
        allowed.push('POST');
      }
    }
    route.all((req, res) => {
      res.setHeader('Allow', allowed.join(', '));
      problem(res, 405, {
        code: 'ERR_METHOD_NOT_ALLOWED',
        detail: `Use ${allowed.join(' or ')}.`,
      });
    });
  }
}

function createAdminRouter (options) {
  const parts = OPTIONS.read(options);
  const { store, tokens, rateLimit, log, onError } = parts;
  const express = requirePeer('express', 'createAdminRouter');
  const audit = parts.audit ?? createAudit({ store, log });
  const onRefused = ({ actor, path }) => {
    audit.record({ actor, action: 'refused', target: path, result: 'refused' });
  };
  const access = createAdminAccess({ tokens, rateLimit, onRefused });
  const rows = rowsOf(actionsOf({ ...parts, audit }));
  const tools = { need: access.need, audit, express };
  const admin = express.Router({ caseSensitive: true });
  addRows(admin, rows.filter(({ alone }) => !alone), tools);
  const noSuchPage = (req, res) => problem(res, 404, { code: 'ERR_NOT_FOUND' });
  admin.use(access.need('read'), noSuchPage);
  const reset = express.Router();
  addRows(reset, rows.filter(({ alone }) => alone), tools);
  const errors = problemHandler({ onError });
  const router = express.Router();
  router.use(PREFIX, access.enter, admin, errors);
  router.use(RESET_PREFIX, access.enter, reset, errors);
  // For openapi.js.
  router.actions = rows.map(row =>
    ({ ...row, path: (row.alone ? RESET_PREFIX : PREFIX) + row.path }));
  return router;
}

module.exports = { FIELDS, createAdminRouter, readInput };
