'use strict';

// The Cloud API of WhatsApp.

const { invalidOption } = require('../base/errors');
const { bag } = require('../base/options');
const { presets } = require('../primitives/presets');
const { Faults } = require('./input');
const { OPTIONS, WhatsAppChannel, secret } = require('./whatsapp-channel');
const {
  classifyCloudError, classifyForeign, errorOfAnswer, unreadable
} = require('./whatsapp-errors');
const { MEDIA_TYPES, checkFile, readUpload } = require('./whatsapp-media');
const { NUMBER_TEXT, digitsOf } = require('./whatsapp-numbers');
const { forged, handshake, isSigned, readWebhook } = require('./whatsapp-webhook');

const OWN_OPTIONS = ['accessToken', 'phoneNumberId', 'appSecret', 'verifyToken', 'version'];
const BASE_URL = 'https://graph.facebook.com';
const VERSION = 'v23.0';
const BODY_CHARACTERS_MAX = 4096;
const REFERENCE_CHARACTERS_MAX = 512;
const MESSAGE_BYTES_MAX = 1 << 16;
// A file takes longer than a message.
const UPLOAD_TIMEOUT_MS = 60_000;
const TYPES = ['text', 'template', 'image', 'audio', 'video', 'document', 'sticker', 'location',
  'contacts', 'interactive', 'reaction'];

const isObject = value => value !== null && typeof value === 'object' && !Array.isArray(value);
const idOfMessage = answer => answer?.messages?.[0]?.id;
const isText = (value, max) =>
  typeof value === 'string' && value.length >= 1 && value.length <= max;

function parse (text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function checkContent (faults, message) {
  const { type } = message;
  if (!TYPES.includes(type)) {
    faults.add('type', `one of ${TYPES.join(', ')}`, type);
    return;
  }
  const content = message[type];
  if (type === 'contacts' ? !Array.isArray(content) : !isObject(content)) {
    faults.add(type, type === 'contacts' ? 'an array' : 'an object', content);
    return;
  }
  if (MEDIA_TYPES.has(type)) checkFile(faults, type, content);
  if (type === 'text' && !isText(content.body, BODY_CHARACTERS_MAX)) {
    faults.add('text.body', `1 to ${BODY_CHARACTERS_MAX} characters`, content.body);
  }
  if (type === 'template') {
    if (!/^[a-z0-9_]{1,512}$/.test(content.name)) {
      faults.add('template.name', 'a name of a-z 0-9 _', content.name);
    }
    if (!isText(content.language?.code, 20)) {
      faults.add('template.language.code', 'a language, as in id or en_US', content.language?.code);
    }
  }
}

function bodyOf (message, fields, faults) {
  try {
    const json = JSON.stringify({
      messaging_product: 'whatsapp', recipient_type: 'individual', ...message, ...fields
    });
    if (Buffer.byteLength(json) <= MESSAGE_BYTES_MAX) return json;
    faults.add('message', `up to ${MESSAGE_BYTES_MAX} bytes of JSON`, Buffer.byteLength(json));
  } catch {
    faults.add('message', 'what can be written as JSON', message);
  }
  return undefined;
}

class CloudApiClient extends WhatsAppChannel {
  #path;
  #headers;
  #appSecret;
  #verifyToken;

  /**
   * @param {object} options
   * @param {string} options.accessToken
   * @param {string} options.phoneNumberId the number that messages come from
   * @param {string} [options.appSecret] for webhooks
   * @param {string} [options.verifyToken] for the handshake of a webhook
   * @param {string} [options.version='v23.0']
   * @param {string} [options.baseUrl='https://graph.facebook.com']
   * @param {number|false} [options.timeout=8000] ms of one attempt
   * @param {object|false} [options.retry] options of retry(), over retryPresets.email
   * @param {CircuitBreaker|object|false} [options.breaker] or its options, over presets.whatsapp
   *   and a volumeThreshold of 5
   * @param {number} [options.connections=16] messages on their way at once
   * @param {number} [options.maxQueue=1000] messages that may wait for their turn
   * @param {number} [options.queueTimeout=Infinity] ms that one may wait
   * @param {object} [options.dispatcher] of undici
   * @param {number} [options.recipientInterval=6000] ms between messages to a number that had too
   *   many (131056)
   * @param {boolean} [options.paceAlways=false] whether to keep that interval from the beginning
   * @param {number} [options.resumeAfter=Infinity] ms after which a pause ends by itself
   * @param {boolean} [options.resendAmbiguous=true] whether to try again when it is not known if
   *   the message was sent; it may then arrive twice, under one reference
   * @throws {TypeError|RangeError} ERR_INVALID_OPTION
   * @throws {SekeringError} ERR_MISSING_PEER
   */
  constructor (options) {
    const given = bag('options', options, [...OPTIONS, ...OWN_OPTIONS]);
    const { accessToken, phoneNumberId, appSecret, verifyToken, version = VERSION } = given;
    secret('accessToken', accessToken);
    if (!/^\d{1,32}$/.test(phoneNumberId)) {
      throw invalidOption('phoneNumberId', 'the digits of an id', phoneNumberId);
    }
    if (!/^v\d{1,3}\.\d{1,2}$/.test(version)) {
      throw invalidOption('version', 'a version such as v23.0', version);
    }
    if (appSecret !== undefined) secret('appSecret', appSecret);
    if (verifyToken !== undefined) secret('verifyToken', verifyToken);
    super(given, {
      name: 'whatsapp-cloud', preset: presets.whatsapp, baseUrl: BASE_URL,
      secrets: [accessToken, appSecret, verifyToken],
    });
    this.#path = `/${version}/${phoneNumberId}`;
    this.#headers = {
      accept: 'application/json', authorization: `Bearer ${accessToken}`, 'user-agent': 'sekering'
    };
    this.#appSecret = appSecret;
    this.#verifyToken = verifyToken;
  }

  /**
   * Sends a message in the API's own form: `{ to, type: 'text', text: { body } }`.
   *
   * `biz_opaque_callback_data` is made unless given; it is the same in all attempts, and comes back
   * as `reference` in the statuses.
   * @param {object} message `to` is a number of E.164
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<object>} { messageId, recipient, reference, attempts, ambiguous, response }
   * @throws {TypeError} ERR_INVALID_INPUT with `faults`, before anything is sent
   * @throws {WhatsAppError}
   */
  async send (message, options) {
    const { recipient, reference, body } = this.#read(message);
    const { answer, delivery } = await this._deliver({
      recipient, reference, path: `${this.#path}/messages`, body,
      headers: { ...this.#headers, 'content-type': 'application/json' }, idOf: idOfMessage,
    }, options);
    const { attempts, ambiguous } = delivery;
    return {
      messageId: idOfMessage(answer), recipient, reference, attempts, ambiguous, response: answer,
    };
  }

  /**
   * Checks a message as send() does, and sends nothing.
   * @throws {TypeError} ERR_INVALID_INPUT with `faults`
   */
  check (message) { this.#read(message); }

  #read (message) {
    const faults = new Faults('send');
    if (!isObject(message)) {
      faults.add('message', 'an object', message);
      faults.throwIfAny();
    }
    const recipient = digitsOf(message.to);
    if (recipient === undefined) faults.add('to', NUMBER_TEXT, message.to);
    checkContent(faults, message);
    const reference = message.biz_opaque_callback_data ?? this._newReference();
    if (!isText(reference, REFERENCE_CHARACTERS_MAX)) {
      faults.add('biz_opaque_callback_data', `1 to ${REFERENCE_CHARACTERS_MAX} characters`,
        reference);
    }
    const body = bodyOf(message, { to: recipient, biz_opaque_callback_data: reference }, faults);
    faults.throwIfAny();
    return { recipient, reference, body };
  }

  /** Sends a text of up to 4096 characters. */
  async sendText (to, body, options) {
    return this.send({ to, type: 'text', text: { body } }, options);
  }

  /** Sends a template: `{ name, language: 'id', components }`. */
  async sendTemplate (to, template, options) {
    const language = typeof template?.language === 'string'
      ? { code: template.language } : template?.language;
    return this.send({ to, type: 'template', template: { ...template, language } }, options);
  }

  /**
   * Uploads a file, to be sent by its id: `{ to, type: 'image', image: { id: mediaId } }`. What
   * goes wrong is tried again as with messages; an upload that got through twice harms nobody.
   * @param {{ data: Uint8Array, type: string, filename?: string }} media `type` as in image/png
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<{ mediaId: string, attempts: number, response: object }>}
   * @throws {TypeError} ERR_INVALID_INPUT with `faults`, before anything is sent
   * @throws {WhatsAppError}
   */
  async uploadMedia (media, options) {
    const { body, contentType } = readUpload(media);
    const { answer, delivery: { attempts } } = await this._deliver({
      path: `${this.#path}/media`, body, timeout: UPLOAD_TIMEOUT_MS, isRepeatable: true,
      headers: { ...this.#headers, 'content-type': contentType },
    }, options);
    return { mediaId: answer.id, attempts, response: answer };
  }

  /**
   * Whether the API answers and accepts the token. It passes the breaker by.
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<{ ok: true }>}
   * @throws {WhatsAppError}
   */
  async ping (options) {
    const { signal } = bag('options', options);
    const path = `${this.#path}?fields=id`;
    await this._ask({ method: 'GET', path, headers: this.#headers }, signal);
    return { ok: true };
  }

  /**
   * Answers the GET request by which a webhook is set up.
   * @param {object} query with `hub.mode`, `hub.verify_token`, `hub.challenge`
   * @returns {string|undefined} the text to answer with 200; undefined: answer 403
   */
  handshake (query) {
    if (this.#verifyToken === undefined) throw needed('verifyToken');
    return handshake(query, this.#verifyToken);
  }

  /** Whether a webhook's raw body has the signature of X-Hub-Signature-256. */
  verifySignature (rawBody, header) {
    if (this.#appSecret === undefined) throw needed('appSecret');
    return isSigned(rawBody, header, this.#appSecret);
  }

  /**
   * Reads a webhook. A status that tells of a quota or an account in trouble pauses the channel as
   * an answer does; emits `status` for each.
   * @param {Buffer|string} rawBody as it came
   * @param {string} header X-Hub-Signature-256
   * @returns {{ statuses: object[], messages: object[] }}
   * @throws {SekeringError} ERR_WHATSAPP_SIGNATURE
   */
  handleWebhook (rawBody, header) {
    if (!this.verifySignature(rawBody, header)) throw forged();
    const news = readWebhook(parse(Buffer.from(rawBody).toString('utf8')));
    for (const status of news.statuses) {
      this.emit('status', status);
      if (status.status === 'failed') this.#heedStatus(status);
    }
    return news;
  }

  #heedStatus ({ errors, recipient, reference }) {
    for (const { code, title, message, verdict } of errors) {
      const answer = { status: undefined, headers: {} };
      const said = { providerCode: code, message: message ?? title };
      const error = errorOfAnswer(answer, verdict, said);
      this._heed(Object.assign(error, { reference }), recipient);
    }
  }

  /** The answer's body, or the error that it is. */
  _read (response, redact, { idOf = answer => answer?.id }) {
    const { status, text } = response;
    const body = parse(text);
    if (status < 300 && isText(idOf(body), Infinity)) return body;
    if (status < 300 && body?.error === undefined) return unreadable(response);
    const error = isObject(body?.error) ? body.error : undefined;
    const details = error?.error_data?.details;
    const said = [error?.message, details].filter(text => isText(text, Infinity)).map(redact);
    const judged = error ? classifyCloudError(error, status) : classifyForeign(status);
    return errorOfAnswer(response, judged, {
      providerCode: Number.isInteger(error?.code) ? error.code : undefined,
      message: said.join(': '),
    });
  }
}

function needed (option) {
  return invalidOption(option, 'a text (webhooks need it)', undefined);
}

module.exports = { CloudApiClient };
