'use strict';

// The client of the Cloud API of WhatsApp.

const { SekeringError } = require('../base/errors');
const { copyOf } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { presets } = require('../primitives/presets');
const { isObject } = require('./client-error');
const { parseJson } = require('./http');
const { WhatsAppChannel, channelOptions, needed, secret } = require('./whatsapp-channel');
const {
  classifyCloudError, classifyForeign, errorOfAnswer, unreadable
} = require('./whatsapp-errors');
const { checkMessageId, readCloudMessage, readUpload } = require('./whatsapp-input');
const { handshake, headerOf, isSigned, readCloudWebhook } = require('./whatsapp-webhook');

// A file takes longer than a message.
const UPLOAD_TIMEOUT_MS = 60_000;

const OPTIONS = optionsOf({
  ...channelOptions('https://graph.facebook.com', presets.whatsapp),
  accessToken: secret('of the app', { required: true }),
  phoneNumberId: is.where('the number that messages come from', 'the digits of an id',
    value => /^\d{1,32}$/.test(value), { required: true }),
  version: is.text('of the API', {
    pattern: /^v\d{1,3}\.\d{1,2}$/, expected: 'a version such as v23.0', default: 'v23.0',
  }),
  appSecret: secret('for webhooks'),
  verifyToken: secret('for the handshake of a webhook'),
});

const MARK_READ = optionsOf({
  typing: is.boolean('whether to show that an answer is being written', { default: false }),
  signal: is.signal('ends the call'),
});

const isText = value => typeof value === 'string' && value !== '';
const idOfMessage = answer => answer?.messages?.[0]?.id;

/**
 * Messages have the API's own form: `{ to, type: 'text', text: { body } }`, where `to` is a number
 * of E.164. `biz_opaque_callback_data` is made unless given; it is the same in all attempts, and
 * comes back as `reference` in the statuses.
 */
class CloudApiClient extends WhatsAppChannel {
  #phoneNumberId;
  #path;
  #headers;
  #appSecret;
  #verifyToken;
  #countryCode;

  constructor (options) {
    const settings = OPTIONS.read(options);
    const { accessToken, phoneNumberId, appSecret, verifyToken, version } = settings;
    super(settings, {
      name: 'whatsapp-cloud', preset: presets.whatsapp,
      secrets: [accessToken, appSecret, verifyToken],
    });
    this.#phoneNumberId = phoneNumberId;
    this.#path = `/${version}/${phoneNumberId}`;
    this.#headers = {
      accept: 'application/json', authorization: `Bearer ${accessToken}`, 'user-agent': 'sekering'
    };
    this.#appSecret = appSecret;
    this.#verifyToken = verifyToken;
    this.#countryCode = settings.countryCode;
  }

  /** Sends a text of up to 4096 characters. */
  async sendText (to, body, options) {
    return this.send({ to, type: 'text', text: { body } }, options);
  }

  /** Sends a template: `{ name, language: 'id', components }`. */
  async sendTemplate (to, template, options) {
    const given = copyOf(template);
    const language = typeof given.language === 'string' ? { code: given.language } : given.language;
    return this.send({ to, type: 'template', template: { ...given, language } }, options);
  }

  /**
   * Uploads a file, to be sent by its id: `{ to, type: 'image', image: { id: mediaId } }`. Failures
   * are retried as those of messages are; an upload that got through twice does no harm.
   */
  async uploadMedia (media, options) {
    const { body, contentType } = readUpload(media);
    const { answer, attempts } = await this._send({
      path: `${this.#path}/media`, body, timeout: UPLOAD_TIMEOUT_MS, isRepeatable: true,
      headers: { ...this.#headers, 'content-type': contentType },
    }, options);
    return { mediaId: answer.id, attempts, response: answer };
  }

  /**
   * Marks a customer's message as read, and all before it. `typing`: also shows that an answer is
   * being written, until it is sent or 25 s have passed.
   */
  async markRead (messageId, options) {
    const { typing, ...call } = MARK_READ.read(options);
    checkMessageId('messageId', messageId);
    const body = JSON.stringify({
      messaging_product: 'whatsapp', status: 'read', message_id: messageId,
      ...typing && { typing_indicator: { type: 'text' } },
    });
    const { answer, attempts } = await this._send({
      path: `${this.#path}/messages`, body, isRepeatable: true,
      headers: { ...this.#headers, 'content-type': 'application/json' },
      idOf: result => (result?.success === true ? messageId : undefined),
    }, call);
    return { attempts, response: answer };
  }

  /** Whether the API answers and accepts the token. Asks past the breaker. */
  async ping (options) {
    const path = `${this.#path}?fields=id`;
    await this._ask({ method: 'GET', path, headers: this.#headers }, options);
    return { ok: true };
  }

  /** The text to answer to the GET request by which a webhook is set up; undefined for a 403. */
  handshake (query) {
    if (this.#verifyToken === undefined) throw needed('verifyToken');
    return handshake(query, this.#verifyToken);
  }

  /** Whether a webhook's raw body has the signature of X-Hub-Signature-256. */
  verifySignature (rawBody, header) {
    if (this.#appSecret === undefined) throw needed('appSecret');
    return isSigned(rawBody, header, this.#appSecret);
  }

  // ---- For WhatsAppChannel ---------------------------------------------------------------------

  _readWebhook (rawBody, headers, redact) {
    const header = headerOf(headers, 'x-hub-signature-256') ?? headers;
    if (!this.verifySignature(rawBody, header)) throw new SekeringError('ERR_WHATSAPP_SIGNATURE');
    return readCloudWebhook(parseJson(Buffer.from(rawBody).toString('utf8')), redact);
  }

  /**
   * A status or an error about a used-up quota or a restricted account pauses the channel, just as
   * an answer does, unless it is about another number.
   */
  _heed ({ kind, value }) {
    if ((value.phoneNumberId ?? this.#phoneNumberId) !== this.#phoneNumberId) return;
    if (kind === 'webhookError') this._hear(value);
    if (kind !== 'status' || value.status !== 'failed') return;
    for (const error of value.errors) this._hear(error, value);
  }

  _requestOf (message) {
    return {
      ...readCloudMessage(message, this.#countryCode), path: `${this.#path}/messages`,
      idOf: idOfMessage, headers: { ...this.#headers, 'content-type': 'application/json' },
    };
  }

  _read (response, redact, { idOf = answer => answer?.id }) {
    const { status, text } = response;
    const body = parseJson(text);
    if (status < 300 && isText(idOf(body))) return body;
    if (status < 300 && body?.error === undefined) throw unreadable(response);
    const error = isObject(body?.error) ? body.error : undefined;
    const [message, details] = [error?.message, error?.error_data?.details]
      .map(said => (isText(said) ? redact(said) : undefined));
    const judged = error ? classifyCloudError(error, status) : classifyForeign(status);
    throw errorOfAnswer(response, judged, {
      providerCode: Number.isInteger(error?.code) ? error.code : undefined, message, details,
    });
  }
}

module.exports = { CloudApiClient };
