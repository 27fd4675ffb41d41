'use strict';

// The client of Green API: WhatsApp through an instance that is paired with a telephone. The token
// stands in the address, so no address is ever shown.

const { is, optionsOf } = require('../base/options');
const { presets } = require('../primitives/presets');
const { parseJson } = require('./http');
const { WhatsAppChannel, channelOptions, secret } = require('./whatsapp-channel');
const { classifyGreenError, errorOfAnswer, unreadable } = require('./whatsapp-errors');
const { readGreenMessage } = require('./whatsapp-input');

const OPTIONS = optionsOf({
  ...channelOptions('https://api.green-api.com', presets.greenApi),
  instanceId: is.where('of the paired instance', 'the digits of an id',
    value => /^\d{1,20}$/.test(String(value)), { required: true }),
  token: secret('apiTokenInstance', { required: true }),
});

const HEADERS = {
  accept: 'application/json', 'content-type': 'application/json', 'user-agent': 'sekering'
};

/**
 * Messages are `{ to, message, quotedMessageId?, reference? }`: `to` is a number of E.164 or a chat
 * (…@c.us, …@g.us), `reference` is a name of your own, made unless given.
 */
class GreenApiClient extends WhatsAppChannel {
  #instance;
  #token;
  #countryCode;

  constructor (options) {
    const settings = OPTIONS.read(options);
    const { countryCode, instanceId, token } = settings;
    super(settings, { name: 'whatsapp-green', preset: presets.greenApi, secrets: [token] });
    this.#instance = String(instanceId);
    this.#token = encodeURIComponent(token);
    this.#countryCode = countryCode;
  }

  /** Sends a text to a number or a chat. */
  async sendText (to, message, options) {
    return this.send({ to, message }, options);
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
    return {
      ...readGreenMessage(message, this.#countryCode), headers: HEADERS,
      path: this.#pathOf('sendMessage'),
      idOf: answer => answer.idMessage,
    };
  }

  _read (response, redact) {
    const { status, text } = response;
    const body = parseJson(text);
    const isAnswer = [body?.idMessage, body?.stateInstance].some(value =>
      typeof value === 'string' && value !== '');
    if (status < 300 && isAnswer) return body;
    if (status < 300) throw unreadable(response);
    const said = typeof body?.message === 'string' ? redact(body.message) : '';
    throw errorOfAnswer(response, classifyGreenError(status, text), { message: said });
  }
}

module.exports = { GreenApiClient };
