'use strict';

// The HTTP API as an OpenAPI 3.1 document. Parameters and bodies of the admin API come from the
// schemas that check them (admin.js), bounds of messages and orders from where they are checked.

const { z } = require('zod');

const { ORDER_ID } = require('../clients/midtrans-requests');
const { version } = require('../../package.json');
const { MESSAGE_BOUNDS: BOUNDS } = require('../store/outbox-message');
const { STATES } = require('../store/payment-states');
const { STATES: BREAKER_STATES } = require('./breaker-views');
const { sendJson } = require('./problem');

const VERSION = '3.1.1';
const ADMIN = '/admin/reliability';
const PROBLEM_TYPE = 'application/problem+json';

// ---- Schemas -----------------------------------------------------------------------------------

const text = (description, bounds) =>
  ({ type: 'string', ...description && { description }, ...bounds });
const object = (properties, required = [], more) =>
  ({ type: 'object', properties, required, ...more });
const refTo = name => ({ $ref: `#/components/schemas/${name}` });
const listOf = items => ({ type: 'array', items });
const nullable = schema => ({ ...schema, type: [schema.type, 'null'] });

const orderId = text('1 to 50 characters, as in Midtrans', { pattern: ORDER_ID.source });
const state = { type: 'string', enum: STATES };
const time = { type: 'string', format: 'date-time' };
const rowId = text('The number of a row: an integer as text', { pattern: '^[1-9][0-9]{0,18}$' });
const amount = {
  description: 'A whole number of at least 1, which may be written as text ("10000.00")',
  type: ['integer', 'string'], minimum: 1,
};

const SCHEMAS = {
  Order: object({
    transaction_details: object({ order_id: orderId, gross_amount: amount },
      ['order_id', 'gross_amount']),
    item_details: listOf(object({
      price: { type: ['integer', 'string'], description: 'Negative for a discount' },
      quantity: amount,
    }, ['price', 'quantity'])),
  }, ['transaction_details'], {
    description: 'The body of a transaction in Midtrans\'s Snap. Other members are passed on. ' +
      'The sum of the items must be gross_amount.',
  }),
  OrderCreated: object({
    queued: { const: false }, orderId, state, token: text('For snap.js'),
    redirectUrl: text('The payment page', { format: 'uri' }),
  }, ['queued', 'orderId', 'state', 'token', 'redirectUrl']),
  OrderQueued: object({
    queued: { const: true }, orderId, state,
    error: text('The code of the error that kept the order from Midtrans'),
    status: text('The address to ask later'),
  }, ['queued', 'orderId', 'state', 'error', 'status'], {
    description: 'The order is stored; its payment page is made as soon as Midtrans answers.',
  }),
  OrderStatus: object({
    orderId, state,
    token: nullable(text('For snap.js; null until the page exists')),
    redirectUrl: nullable(text('The payment page; null until it exists')),
    currency: text(),
    amountMinor: text('Hundredths of the unit of the currency, as text', { pattern: '^[0-9]+$' }),
    createdAt: time, updatedAt: time,
  }, ['orderId', 'state', 'token', 'redirectUrl', 'currency', 'amountMinor', 'createdAt',
    'updatedAt']),
  Message: messageSchema(),
  Enqueued: object({
    id: rowId,
    duplicate: {
      type: 'boolean',
      description: 'Whether a message with this dedupeKey was waiting already; id is its id',
    },
  }, ['id', 'duplicate']),
  Problem: object({
    type: text(), title: text(), status: { type: 'integer', minimum: 400, maximum: 599 },
    code: text('A stable code, such as ERR_INVALID_INPUT'), detail: text(),
    faults: {
      description: 'All that is wrong: in the input each with its path, from Midtrans as text',
      type: 'array', items: { type: ['object', 'string'] },
    },
    retryAfter: { type: 'integer', description: 'Seconds; also in the header Retry-After' },
  }, ['type', 'title', 'status'], { description: 'An error (RFC 9457)' }),
};

function messageSchema () {
  const { RECIPIENT_MAX, RECIPIENTS_MAX, SUBJECT_MAX, KEY_MAX, DELAY_MS_MAX } = BOUNDS;
  const recipient = { type: 'string', minLength: 1, maxLength: RECIPIENT_MAX };
  const large = text(`At most ${BOUNDS.TEXT_BYTES_MAX} bytes`);
  const key = description => text(description, { minLength: 1, maxLength: KEY_MAX });
  return object({
    channel: text('EMAIL, WHATSAPP, or one that the service has added'),
    recipient: {
      description: 'A mail address or a telephone number with its country code. With a list, ' +
        'each gets a message of its own.',
      oneOf: [recipient, { ...listOf(recipient), minItems: 1, maxItems: RECIPIENTS_MAX }],
    },
    subject: text('Of a mail', { maxLength: SUBJECT_MAX }),
    body: { ...large, description: `The text. ${large.description}` },
    html: { ...large, description: `The HTML of a mail. ${large.description}` },
    template: {
      description: 'A Mustache template instead of the texts, filled in from data',
      oneOf: [text(), object({ subject: text(), text: text(), html: text() })],
    },
    data: { description: `JSON for the template or the channel. ${large.description}` },
    dedupeKey: key('No second message with this key is stored until the first is final'),
    orderKey: key('Messages of a channel with the same key are sent one after another'),
    priority: {
      type: 'integer', minimum: -100, maximum: 100,
      description: 'Higher ones are sent first. Without it: 0',
    },
    delay: {
      type: 'integer', minimum: 0, maximum: DELAY_MS_MAX,
      description: 'ms before the first attempt. Without it: 0',
    },
    maxAttempts: { type: 'integer', minimum: 1, maximum: 100 },
  }, ['channel', 'recipient'], { additionalProperties: false });
}

/** A schema of zod as JSON Schema. What is read from the text of a query appears as its value. */
function schemaOf (schema) {
  const { $schema, ...rest } = z.toJSONSchema(schema, {
    io: 'input', unrepresentable: 'any',
    override ({ zodSchema, jsonSchema }) {
      const { type, in: from, out } = zodSchema._zod.def;
      if (type === 'pipe' && from._zod.def.type === 'transform') {
        Object.assign(jsonSchema, schemaOf(out));
      }
    },
  });
  return rest;
}

// ---- Operations --------------------------------------------------------------------------------

const json = schema => ({ content: { 'application/json': { schema } } });
const answer = (description, schema) => ({ description, ...schema && json(schema) });
const plain = (description, type = 'text/plain') =>
  ({ description, content: { [type]: { schema: { type: 'string' } } } });

const PROBLEMS = {
  400: 'The request is invalid; see `code` and `faults`',
  401: 'There is no valid token',
  403: 'The token does not allow this, or the signature is wrong',
  404: 'There is no such thing',
  409: 'It contradicts what is there; see `code`',
  413: 'The body is too large',
  415: 'The body is not application/json',
  422: 'Midtrans refuses the order (`faults` in its words), or the Idempotency-Key was used with ' +
    'another request',
  429: 'Too many requests; see Retry-After',
  503: 'Something that this needs is down, or the service is too busy, and nothing was stored; ' +
    'see Retry-After',
};

const problems = (...statuses) => Object.fromEntries(statuses.map(status => [status, {
  description: PROBLEMS[status], content: { [PROBLEM_TYPE]: { schema: refTo('Problem') } },
}]));

const idempotencyKey = {
  name: 'Idempotency-Key', in: 'header', required: false,
  description: 'A string in quotation marks. A request that is sent again with the same key is ' +
    'executed once, and gets the first answer.',
  schema: text('', { pattern: '^ *".{1,255}"' }),
};

const shop = [{ shopToken: [] }];
const body = schema => ({ required: true, ...json(schema) });
const inPath = (name, schema) => ({ name, in: 'path', required: true, schema });
const anyObject = { type: 'object' };

// Health pages: 200 and 503 have the same body.
const page = (summary, schema = anyObject) => ({
  tags: ['Health'], summary,
  responses: { 200: answer('Well enough', schema), 503: answer('Not well', schema) },
});
// `access` names the section of the configuration that says who may see it.
const guarded = (access, operation) => ({ ...operation, access });

const PAGES = {
  'POST /orders': {
    tags: ['Shop'], operationId: 'createOrder',
    summary: 'Stores an order and makes its payment page',
    security: shop, parameters: [idempotencyKey], requestBody: body(refTo('Order')),
    responses: {
      201: answer('The payment page exists', refTo('OrderCreated')),
      202: answer('Midtrans cannot be asked now: the order is queued', refTo('OrderQueued')),
      ...problems(400, 401, 404, 409, 413, 415, 422, 429, 503),
    },
  },
  'GET /orders/:id': {
    tags: ['Shop'], operationId: 'getOrder', summary: 'The state of an order', security: shop,
    parameters: [inPath('id', orderId)],
    responses: {
      200: answer('The order', refTo('OrderStatus')), ...problems(400, 401, 404, 429, 503),
    },
  },
  'POST /notifications': {
    tags: ['Shop'], operationId: 'notify',
    summary: 'Stores messages, which are sent until they arrive',
    security: shop, parameters: [idempotencyKey],
    requestBody: body({ oneOf: [refTo('Message'), listOf(refTo('Message'))] }),
    responses: {
      202: answer('Stored. An array for an array of messages, and for a list of recipients',
        { oneOf: [refTo('Enqueued'), listOf(refTo('Enqueued'))] }),
      ...problems(400, 401, 409, 413, 415, 422, 429, 503),
    },
  },
  'POST /webhooks/midtrans': {
    tags: ['Webhooks'], summary: 'Notifications of Midtrans, signed with the server key',
    requestBody: body(anyObject),
    responses: { 200: answer('Stored', anyObject), ...problems(400, 403, 413, 503) },
  },
  'GET /webhooks/whatsapp': {
    tags: ['Webhooks'], summary: 'The handshake of the WhatsApp Cloud API',
    responses: { 200: plain('The challenge'), ...problems(403) },
  },
  'POST /webhooks/whatsapp': {
    tags: ['Webhooks'], summary: 'Webhooks of WhatsApp, signed with the app secret',
    requestBody: body(anyObject),
    responses: { 200: { description: 'Stored' }, ...problems(400, 403, 413, 503) },
  },
  'GET /health': page('Whether the service works', object({
    status: { type: 'string', enum: ['healthy', 'degraded', 'unhealthy'] }, timestamp: time,
    uptime: { type: 'number', description: 'Seconds' }, degradation: text('The level'),
    services: { type: 'object', additionalProperties: { type: 'string' } },
  }, ['status', 'timestamp', 'services'])),
  'GET /health/live': page('Whether the process runs'),
  'GET /health/ready': page('Whether it can accept orders now', object({
    status: text(), ready: { type: 'boolean' }, draining: { type: 'boolean' },
    failing: listOf(text()),
  }, ['status', 'ready', 'failing'])),
  'GET /api/health': page('The health of the site, for monitors'),
  'GET /health/detailed': guarded('health', page('All checks, with what they found')),
  'GET /health/circuit-breakers': guarded('health', page('All breakers')),
  'GET /health/degradation': guarded('health', page('The level, and the state of each service')),
  'GET /health/dlq': guarded('health', page('Counts of dead letters, by channel and kind')),
  'GET /circuit-breaker-status/:id': guarded('health', {
    tags: ['Health'], summary: 'One breaker, or the one of a WhatsApp instance',
    parameters: [inPath('id', text())],
    responses: {
      200: answer('Its state',
        object({ id: text(), circuit_breaker: { type: 'string', enum: BREAKER_STATES } })),
      ...problems(404),
    },
  }),
  'GET /metrics': guarded('metrics', {
    tags: ['Health'], summary: 'Metrics for Prometheus',
    responses: { 200: plain('In the format of Prometheus') },
  }),
  'GET /openapi.json': {
    tags: ['Health'], summary: 'This document',
    responses: { 200: answer('OpenAPI 3.1', anyObject) },
  },
};

const titleOf = name => name.replace(/^./, first => first.toUpperCase());

/** An action of the admin API; see admin.js. */
function operationOf ({ method, path, action, doc, role, query, body: input, params = {} }) {
  const isList = query !== undefined;
  const { properties = {} } = isList ? schemaOf(query) : {};
  const inQuery = Object.entries(properties).map(([name, schema]) =>
    ({ name, in: 'query', required: false, schema }));
  const inPlace = Object.entries(params).map(([name, schema]) => inPath(name, schemaOf(schema)));
  const faults = [400, 401, 403, 404, 429, 503];
  return {
    tags: ['Admin'], summary: titleOf(doc),
    ...action !== undefined && { description: `In the audit log as \`${action}\`.` },
    security: [{ adminToken: [role] }],
    ...(inQuery.length > 0 || inPlace.length > 0) && { parameters: [...inPlace, ...inQuery] },
    ...method === 'POST' && { requestBody: { ...body(schemaOf(input)), required: false } },
    responses: {
      200: path === `${ADMIN}/events` ? plain('Server-sent events', 'text/event-stream')
        : answer('Done', anyObject),
      ...problems(...faults, ...method === 'POST' ? [409, 413, 415] : []),
    },
  };
}

/** `/a/:id` as OpenAPI writes it. */
const templateOf = path => path.replace(/:(\w+)/g, '{$1}');

/** The operations of PAGES that an application has, by `METHOD path`. */
function pagesOf ({ webhooks, access }) {
  const entries = Object.entries(PAGES).filter(([route, page]) =>
    (page.tags.includes('Webhooks') ? webhooks.routes.includes(route)
      : access[page.access] !== 'off'));
  return entries.map(([route, { access: section, ...page }]) => [route,
    access[section] === 'token' ? {
      ...page, security: [{ adminToken: ['monitor'] }],
      responses: { ...page.responses, ...problems(401, 403, 429) },
    } : page]);
}

function describeApi (parts) {
  const paths = {};
  const add = (method, path, operation) => {
    (paths[templateOf(path)] ??= {})[method.toLowerCase()] = operation;
  };
  for (const [route, operation] of pagesOf(parts)) add(...route.split(' '), operation);
  for (const action of parts.admin.actions) add(action.method, action.path, operationOf(action));
  const bearer = description => ({ type: 'http', scheme: 'bearer', description });
  return {
    openapi: VERSION,
    info: {
      title: 'sekering', version, license: { name: 'MIT', identifier: 'MIT' },
      description: 'Orders and messages that are kept until they are delivered. Errors are ' +
        `\`${PROBLEM_TYPE}\` with a stable \`code\`.`,
    },
    servers: [{ url: '/' }],
    tags: ['Shop', 'Webhooks', 'Health', 'Admin'].map(name => ({ name })),
    paths,
    components: {
      schemas: SCHEMAS,
      securitySchemes: {
        shopToken: bearer('A token of `server.tokens`'),
        adminToken: bearer('A token of `admin.tokens` with this role, or one above it'),
      },
    },
  };
}

/**
 * Express router of GET /openapi.json. The document is made when it is first asked for.
 * @param {object} express
 * @param {object} parts
 * @param {{ routes: string[] }} parts.webhooks of createWebhookRouter
 * @param {{ actions: object[] }} parts.admin of createAdminRouter
 * @param {{ health: string, metrics: string }} parts.access to these pages
 */
function createOpenApiRouter (express, parts) {
  let document;
  const router = express.Router();
  router.get('/openapi.json', (req, res) => sendJson(res, 200, document ??= describeApi(parts)));
  return router;
}

module.exports = { createOpenApiRouter };
