'use strict';

// The client of Green API: WhatsApp through an instance that is paired with a telephone. The token
// stands in the address, so no address is ever shown.

const { SekeringError } = require('../base/errors');
const { copyOf, isA } = require('../base/foreign');
const { is, optionsOf, readable } = require('../base/options');
const { presets } = require('../primitives/presets');
const { isObject } = require('./client-error');
const { baseUrl, parseJson } = require('./http');
const { WhatsAppChannel, channelOptions, needed, secret } = require('./whatsapp-channel');
const {
  classifyGreenError, classifyGreenState, errorOfAnswer, unreadable
} = require('./whatsapp-errors');
const { checkMessageId, readChat, readGreenMessage } = require('./whatsapp-input');
const { headerOf, isAuthorized, readGreenWebhook } = require('./whatsapp-webhook');

const MEDIA_ADDRESS = 'https://media.green-api.com';
// A file takes longer than a message.
const UPLOAD_TIMEOUT_MS = 60_000;

const TYPING_MS = { min: 1000, max: 20_000 };

const OPTIONS = optionsOf({
  ...channelOptions('https://api.green-api.com', presets.greenApi),
  instanceId: is.where('of the paired instance', 'the digits of an id',
    value => /^\d{1,20}$/.test(String(value)), { required: true }),
  token: secret('apiTokenInstance', { required: true }),
  mediaUrl: baseUrl('of the API for uploads; baseUrl if only that is given', MEDIA_ADDRESS),
  webhookToken: secret('webhookUrlToken of the instance, for webhooks',
    { pattern: /^[!-~][ -~]{0,999}$/, expected: 'a text of 1 to 1000 characters' }),
});

const MARK_READ = optionsOf({
  chat: is.any('of the message: a number of E.164 or a chat', { required: true }),
  typing: is.boolean('whether to show that an answer is being written', { default: false }),
  signal: is.signal('ends the call'),
});
const TYPING = optionsOf({
  duration: is.ms('for which it is shown', { ...TYPING_MS, default: 5000 }),
  recording: is.boolean('whether a voice message is recorded', { default: false }),
  signal: is.signal('ends the call'),
});

const HEADERS = {
  accept: 'application/json', 'content-type': 'application/json', 'user-agent': 'sekering'
};

/** Whether an instance in this state cannot send messages. */
const isBad = state => typeof state === 'string' && classifyGreenState(state).pauses;

const isText = value => typeof value === 'string' && value !== '';

/**
 * Messages are `{ to, message }`, `{ to, url, filename, caption? }` for a file in the web, or
 * `{ to, data, type, filename, caption? }` for an upload, each with `quotedMessageId?` and
 * `reference?`: `to` is a number of E.164 or a chat (…@c.us, …@g.us), `reference` is a name of your
 * own, made unless given.
 */
class GreenApiClient extends WhatsAppChannel {
  #instance;
  #token;
  #countryCode;
  #mediaUrl;
  #webhookToken;
  // When the newest state that was reported began, in seconds.
  #stateAt = -Infinity;

  constructor (options) {
    const settings = OPTIONS.read(options);
    const { countryCode, instanceId, token, mediaUrl, webhookToken } = settings;
    super(settings, {
      name: 'whatsapp-green', preset: presets.greenApi, secrets: [token, webhookToken],
      source: `whatsapp-green/${instanceId}`,
    });
    const isDefault = name => settings[name] === OPTIONS.entries[name].default;
    this.#mediaUrl = isDefault('mediaUrl') && !isDefault('baseUrl') ? settings.baseUrl : mediaUrl;
    this.#webhookToken = webhookToken;
    this.#instance = String(instanceId);
    this.#token = encodeURIComponent(token);
    this.#countryCode = countryCode;
  }

  /** Sends a text to a number or a chat. */
  async sendText (to, message, options) {
    return this.send({ to, message }, options);
  }

  /** Sends a file: `{ url, filename, caption }`, or `{ data, type, filename, caption }`. */
  async sendFile (to, file, options) {
    return this.send({ ...copyOf(file), to }, options);
  }

  /** Marks a message of a chat as read; without an id, the whole chat. */
  async markRead (messageId, options) {
    const { chat, typing, signal } = MARK_READ.read(options);
    if (messageId !== undefined) checkMessageId('messageId', messageId);
    const chatId = readChat('chat', chat, this.#countryCode);
    const { answer, attempts } = await this.#call('readChat', { chatId, idMessage: messageId },
      signal);
    if (typing) await this.sendTyping(chat, { signal });
    return { attempts, response: answer };
  }

  /** Shows in a chat that a message is being written. */
  async sendTyping (to, options) {
    const { duration, recording, signal } = TYPING.read(options);
    const { attempts } = await this.#call('sendTyping', {
      chatId: readChat('to', to, this.#countryCode), typingTime: duration,
      ...recording && { typingType: 'recording' },
    }, signal);
    return { attempts };
  }

  async #call (method, body, signal) {
    return this._send({
      path: this.#pathOf(method), headers: HEADERS, body: JSON.stringify(body), isRepeatable: true,
      needsNoId: true,
    }, { signal });
  }

  /** Whether the instance is paired and ready. Asks past the breaker. */
  async ping (options) {
    const path = this.#pathOf('getStateInstance');
    const { stateInstance } = await this._ask({ method: 'GET', path, headers: HEADERS }, options);
    return { ok: stateInstance === 'authorized', state: stateInstance };
  }

  #pathOf (method) {
    return `/waInstance${this.#instance}/${method}/${this.#token}`;
  }

  // ---- For WhatsAppChannel ---------------------------------------------------------------------

  _requestOf (message) {
    const { method, contentType, ...request } = readGreenMessage(message, this.#countryCode);
    const isUpload = contentType !== undefined;
    return {
      ...request,
      path: this.#pathOf(method),
      headers: isUpload ? { ...HEADERS, 'content-type': contentType } : HEADERS,
      ...isUpload && { baseUrl: this.#mediaUrl, timeout: UPLOAD_TIMEOUT_MS },
      idOf: answer => answer.idMessage,
    };
  }

  _read (response, redact, { needsNoId = false }) {
    const { status, text } = response;
    const body = parseJson(text);
    const isAnswer = [body?.idMessage, body?.stateInstance].some(isText) ||
      (needsNoId && (isObject(body) || text.trim() === ''));
    if (status < 300 && isAnswer) return body ?? {};
    if (status < 300) throw unreadable(response);
    const said = typeof body?.message === 'string' ? redact(body.message) : '';
    throw errorOfAnswer(response, classifyGreenError(status, text), { message: said });
  }

  /** Webhooks are not signed. The header Authorization holds a token. */
  _readWebhook (given, headers) {
    if (this.#webhookToken === undefined) throw needed('webhookToken');
    const header = headerOf(headers, 'authorization') ?? headers;
    if (!isAuthorized(header, this.#webhookToken)) {
      throw new SekeringError('ERR_WHATSAPP_SIGNATURE');
    }
    const isRaw = typeof given === 'string' || isA(given, Uint8Array);
    return readable('body', 'a body that can be read', given, () => readGreenWebhook(
      parseJson(isRaw ? Buffer.from(given).toString('utf8') : JSON.stringify(given) ?? '')));
  }

  _heed ({ kind, value }) {
    if (kind === 'status') {
      for (const error of value.errors) this._hear(error, value);
    }
    if (kind !== 'notification') return;
    const { typeWebhook, instanceData, stateInstance, timestamp } = value;
    if (String(instanceData?.idInstance ?? this.#instance) !== this.#instance) return;
    if (typeWebhook === 'stateInstanceChanged') this.#setState(stateInstance, Number(timestamp));
    if (typeWebhook === 'quotaExceeded') {
      const { status, description } = isObject(value.quotaData) ? value.quotaData : {};
      const [message] = [description, status].filter(isText);
      this._hear({ verdict: classifyGreenError(466), message });
    }
  }

  /** Pauses while the instance cannot send. An old state that arrives late changes nothing. */
  #setState (state, at) {
    if (at < this.#stateAt) return;
    this.#stateAt = Math.max(at || 0, this.#stateAt);
    const error = { verdict: classifyGreenState(state), message: 'of the instance' };
    if (error.verdict.pauses) this._hear({ ...error, code: state });
    else if (state === 'authorized' && isBad(this.paused?.error?.providerCode)) this.resume();
  }
}

module.exports = { GreenApiClient };
