'use strict';

// WhatsApp's Cloud API and Green API for tests and demonstrations: real HTTP on loopback. It keeps
// the messages that it accepts, fails in the ways of the real ones, and sends webhooks.

const crypto = require('node:crypto');
const http = require('node:http');

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { copyOf, read } = require('../base/foreign');
const { is, optionsOf, readable } = require('../base/options');
const {
  ADDRESS, FREQUENCY_WITH_ONCE, HttpFake, answer, answerPage, cutOff, parse, pause, readBody,
} = require('./fake-server');

const MEDIA_BYTES_MAX = 1 << 24;
const MEDIA_MAX = 1000;
const RECEIPTS_MAX = 1000;
// What a message of Green API must have, by method.
const GREEN_CONTENT = {
  sendMessage: ['message'], sendFileByUrl: ['urlFile', 'fileName'],
  sendFileByUpload: ['file', 'fileName'],
};
const MEDIA_KINDS = ['image', 'audio', 'video', 'document', 'sticker'];

// The HTTP status that goes with a code of the Cloud API, where it is not 400.
const STATUS_OF_CODE = {
  0: 401, 2: 503, 3: 403, 10: 403, 190: 401, 368: 403, 131000: 500, 131016: 503, 131031: 403,
  131057: 503, 132001: 404, 133004: 503, 4: 429, 80007: 429, 130429: 429
};
// The messages of Green API's statuses.
const MESSAGES = {
  400: 'Instance is starting, please try later', 401: 'Unauthorized', 429: 'Too Many Requests',
  466: 'Correspondents quota is exceeded', 500: 'Internal Server Error'
};

const OPTIONS = optionsOf({
  ...ADDRESS,
  accessToken: is.text('of the Cloud API', { default: 'EAAfake-access-token' }),
  phoneNumberId: is.text('of the Cloud API', { default: '100200300' }),
  appSecret: is.text('of the Cloud API', { default: 'app-secret' }),
  verifyToken: is.text('of the Cloud API', { default: 'verify-token' }),
  instanceId: is.text('of Green API', { default: '1101000001' }),
  token: is.text('of Green API', { default: 'green-token' }),
  webhookToken: is.text('of Green API', { default: 'green-webhook-token' }),
  fault: is.any('what goes wrong from the start'),
  latencyMs: is.ms('before each answer', { default: 0 }),
  recipientIntervalMs: is.ms('refuses messages to one number that follow sooner, with 131056',
    { default: 0 }),
  messagesMax: is.integer('how many messages it keeps', { min: 1, default: 1_000_000 }),
});

const FAULT = optionsOf({
  ...FREQUENCY_WITH_ONCE,
  kind: is.oneOf('what happens',
    ['code', 'status', 'hang', 'reset', 'html', 'slow', 'drop'], { required: true }),
  code: is.integer('of kind code: the error code of the Cloud API', { min: 0, max: 999999 }),
  status: is.integer('HTTP status of code, status (500) and html (502)', { min: 200, max: 599 }),
  message: is.text('of code and status'),
  delayMs: is.ms('of slow', { default: 3000 }),
  recipient: is.text('strikes this one only: its digits, or a chat'),
});

const NOTIFY_OPTIONS = optionsOf({
  signature: is.text('of the Cloud API; default: the right one'),
  authorization: is.text('of Green API; default: the right one'),
});

/** A number stands for a code of the Cloud API, a string for a kind. */
function readFault (given) {
  const fault = FAULT.read(typeof given === 'number' ? { kind: 'code', code: given }
    : typeof given === 'string' ? { kind: given } : given, 'fault');
  const { kind, code, status } = fault;
  if (kind === 'code' && code === undefined) {
    throw invalidOption('fault.code', FAULT.entries.code.expected, code);
  }
  const usual = { html: 502, status: 500 }[kind] ?? STATUS_OF_CODE[code] ?? 400;
  return { ...fault, status: status ?? usual };
}

const secondsOf = ms => Math.floor(ms / 1000);

function cloudError (code, message, status) {
  return [status ?? STATUS_OF_CODE[code] ?? 400, {
    error: {
      message: `(#${code}) ${message}`, type: 'OAuthException', code,
      error_data: { messaging_product: 'whatsapp', details: message },
      fbtrace_id: crypto.randomUUID()
    }
  }];
}

/** The fields of a form and its file; undefined if it cannot be read. */
async function formOf (bytes, type) {
  try {
    const headers = { 'content-type': type };
    const form = await new Response(bytes, { headers }).formData();
    const file = form.get('file');
    if (typeof file?.name !== 'string') return {};
    const data = Buffer.from(await file.arrayBuffer());
    form.delete('file');
    const fields = Object.fromEntries(form);
    return { ...fields, file: { type: fields.type ?? file.type, filename: file.name, data } };
  } catch {
    return undefined;
  }
}

class WhatsAppFake extends HttpFake {
  /** The messages that were accepted, oldest first: { api, id, to, reference, at, body }. */
  messages = [];

  /** The newest 1000 uploads by id: { id, type, filename, data }. */
  media = new Map();

  /** The newest 1000 requests that mark a message as read or show typing: { api, body }. */
  receipts = [];

  counts = { requests: 0, accepted: 0, refused: 0, unauthorized: 0, faulted: 0 };

  #options;
  // When each number got its last message.
  #last = new Map();

  constructor (options) {
    super(readFault, options.fault);
    this.#options = options;
  }

  /** The options that a CloudApiClient needs to use this fake. */
  get cloud () {
    const { accessToken, phoneNumberId, appSecret, verifyToken } = this.#options;
    return { accessToken, phoneNumberId, appSecret, verifyToken, baseUrl: this.url };
  }

  /** The options that a GreenApiClient needs to use this fake. */
  get green () {
    const { instanceId, token, webhookToken } = this.#options;
    return { instanceId, token, webhookToken, baseUrl: this.url };
  }

  // ---- Webhooks --------------------------------------------------------------------------------

  /** The body of a webhook with one status of an accepted message. */
  statusOf (message, status, errors) {
    const { id, to, reference } = copyOf(message);
    return this.#webhookOf({
      statuses: [{
        id, status, timestamp: String(secondsOf(clock.wall())), recipient_id: to,
        biz_opaque_callback_data: reference, ...errors && { errors }
      }]
    });
  }

  /** The body of a webhook with one message from a customer. */
  incomingOf (from, text) {
    return this.#webhookOf({
      contacts: [{ profile: { name: 'Customer' }, wa_id: from }],
      messages: [{
        from, id: `wamid.${crypto.randomUUID()}`, timestamp: String(secondsOf(clock.wall())),
        type: 'text', text: { body: text }
      }]
    });
  }

  #webhookOf (content) {
    const value = {
      messaging_product: 'whatsapp',
      metadata: { phone_number_id: this.#options.phoneNumberId }, ...content
    };
    return {
      object: 'whatsapp_business_account',
      entry: [{ id: '1', changes: [{ field: 'messages', value }] }]
    };
  }

  /** The body of a webhook of Green API: `content` has the other fields of this type. */
  greenWebhookOf (typeWebhook, content) {
    const idInstance = Number(this.#options.instanceId);
    return {
      typeWebhook, timestamp: secondsOf(clock.wall()),
      instanceData: { idInstance, wid: '6281100000000@c.us', typeInstance: 'whatsapp' },
      ...copyOf(content)
    };
  }

  /** The header X-Hub-Signature-256 of a raw body. */
  sign (rawBody) {
    const { appSecret } = this.#options;
    return readable('rawBody', 'a body as bytes or text', rawBody, () =>
      `sha256=${crypto.createHmac('sha256', appSecret).update(rawBody).digest('hex')}`);
  }

  /**
   * Sends a webhook of the Cloud API, signed, or of Green API, with its token. Resolves with the
   * status of the answer.
   */
  async notify (url, body, options) {
    const { signature, authorization } = NOTIFY_OPTIONS.read(options);
    const text = JSON.stringify(body);
    const proof = read(body, 'typeWebhook') === undefined
      ? { 'x-hub-signature-256': signature ?? this.sign(text) }
      : { authorization: authorization ?? `Bearer ${this.#options.webhookToken}` };
    return new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/json', ...proof };
      const request = http.request(url, { method: 'POST', headers, agent: false }, response => {
        response.resume().on('end', () => resolve(response.statusCode));
      });
      request.on('error', reject).end(text);
    });
  }

  // ---- Requests --------------------------------------------------------------------------------

  async _serve (request, response) {
    this.counts.requests += 1;
    const bytes = await readBody(request, MEDIA_BYTES_MAX);
    const type = request.headers['content-type'] ?? '';
    const form = /^multipart/.test(type) ? await formOf(bytes, type) : undefined;
    const call = this.#route(request, form ?? parse(bytes?.toString('utf8')));
    if (call.refusal !== undefined) return answer(response, ...call.refusal);
    const fault = this._strike(({ recipient: only }) => only === undefined || only === call.to,
      call.to);
    switch (fault?.kind) {
      case 'hang': return;
      case 'reset': return cutOff(request.socket);
      case 'html': return answerPage(response, fault.status);
      case 'code': return this.#refuse(response,
        cloudError(fault.code, fault.message ?? 'Simulated failure', fault.status));
      case 'status': return this.#refuse(response, this.#greenError(request, fault));
      case 'slow': await pause(fault.delayMs); break;
      case 'drop':
        call.accept();
        return cutOff(request.socket);
    }
    await pause(this.#options.latencyMs);
    if (call.api === 'cloud' && this.#isTooSoon(call.to)) {
      return this.#refuse(response, cloudError(131056, 'Pair rate limit hit'));
    }
    answer(response, 200, call.accept());
  }

  #refuse (response, [status, body]) {
    this.counts.refused += 1;
    answer(response, status, body);
  }

  #isTooSoon (to) {
    const { recipientIntervalMs } = this.#options;
    const last = this.#last.get(to);
    return last !== undefined && clock.now() - last < recipientIntervalMs;
  }

  #take (api, id, to, body) {
    const reference = body.biz_opaque_callback_data;
    const message = { api, to, body, at: clock.wall(), reference, id };
    this.counts.accepted += 1;
    this.#last.set(to, clock.now());
    this.messages.push(message);
    if (this.messages.length > this.#options.messagesMax) this.messages.shift();
  }

  #note (api, body) {
    this.receipts.push({ api, body });
    if (this.receipts.length > RECEIPTS_MAX) this.receipts.shift();
    return { success: true };
  }

  #store (file) {
    const id = String(crypto.randomInt(1e12, 1e14));
    this.media.set(id, { id, ...file });
    if (this.media.size > MEDIA_MAX) this.media.delete(this.media.keys().next().value);
    return { id };
  }

  #route (request, body) {
    const path = request.url.split('?', 1)[0];
    const green = /^\/waInstance(\d+)\/(\w+)\/([^/]+)$/.exec(path);
    if (green !== null) return this.#routeGreen(request, green, body);
    return this.#routeCloud(request, path, body);
  }

  #routeCloud (request, path, body) {
    const { accessToken, phoneNumberId } = this.#options;
    const [, id, rest = ''] = /^\/v\d+\.\d+\/(\d+)(\/\w+)?$/.exec(path) ?? [];
    if (id === undefined) return { refusal: cloudError(2500, 'Unknown path', 404) };
    if (request.headers.authorization !== `Bearer ${accessToken}`) {
      this.counts.unauthorized += 1;
      return { refusal: cloudError(190, 'Invalid OAuth access token') };
    }
    if (id !== phoneNumberId) return { refusal: cloudError(100, 'Object does not exist') };
    if (request.method === 'GET') return { api: 'cloud', accept: () => ({ id }) };
    if (rest === '/media' && body?.file !== undefined && body.messaging_product === 'whatsapp') {
      return { api: 'cloud', accept: () => this.#store(body.file) };
    }
    if (rest === '/messages' && body?.status === 'read' && body.message_id) {
      return { api: 'cloud', accept: () => this.#note('cloud', body) };
    }
    if (rest !== '/messages' || body?.messaging_product !== 'whatsapp' || !body.to || !body.type) {
      this.counts.refused += 1;
      return { refusal: cloudError(100, 'Invalid parameter') };
    }
    const mediaId = MEDIA_KINDS.includes(body.type) ? body[body.type]?.id : undefined;
    if (mediaId !== undefined && !this.media.has(mediaId)) {
      this.counts.refused += 1;
      return { refusal: cloudError(100, `No media with the id ${mediaId}`) };
    }
    const to = String(body.to).replace(/^\+/, '');
    const accept = () => {
      const messageId = `wamid.${crypto.randomUUID()}`;
      this.#take('cloud', messageId, to, body);
      return {
        messaging_product: 'whatsapp', contacts: [{ input: to, wa_id: to }],
        messages: [{ id: messageId }]
      };
    };
    return { api: 'cloud', to, accept };
  }

  #routeGreen (request, [, id, method, token], body) {
    const { instanceId, token: ours } = this.#options;
    if (id !== instanceId || decodeURIComponent(token) !== ours) {
      this.counts.unauthorized += 1;
      return { refusal: this.#greenError(request, { status: 401 }) };
    }
    if (method === 'getStateInstance') {
      return { api: 'green', accept: () => ({ stateInstance: 'authorized' }) };
    }
    if (['readChat', 'sendTyping'].includes(method) && body?.chatId) {
      const accept = () => {
        this.#note('green', { method, ...body });
        return { setRead: true };
      };
      return { api: 'green', accept };
    }
    if (!body?.chatId || !GREEN_CONTENT[method]?.every(name => body[name])) {
      this.counts.refused += 1;
      return { refusal: this.#greenError(request, { status: 400, message: 'Validation failed' }) };
    }
    const accept = () => {
      const idMessage = crypto.randomBytes(8).toString('hex');
      const { file, ...content } = body;
      this.#take('green', idMessage, body.chatId, content);
      if (file === undefined) return { idMessage };
      const { id } = this.#store(file);
      return { idMessage, urlFile: `${this.url}/files/${id}` };
    };
    return { api: 'green', to: body.chatId, accept };
  }

  // The real one shows the path, and with it the token.
  #greenError (request, { status, message = MESSAGES[status] ?? 'Simulated failure' }) {
    return [status, {
      statusCode: status, timestamp: new Date(clock.wall()).toISOString(), path: request.url,
      message: `${message} (${request.url})`
    }];
  }
}

/** Starts the Cloud API and Green API on one port of loopback. */
async function startWhatsAppFake (options) {
  const checked = OPTIONS.read(options);
  return new WhatsAppFake(checked)._listen(checked);
}

module.exports = { startWhatsAppFake };
