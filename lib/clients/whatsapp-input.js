'use strict';

// What may be sent by WhatsApp, and to whom: telephone numbers of E.164, chats, the contents of
// messages, and files.

const crypto = require('node:crypto');

const { invalidOption } = require('../base/errors');
const { is } = require('../base/options');
const { Faults, faultsOfMessage, isObject, readInput } = require('./client-error');

const isText = (value, max = Infinity) =>
  typeof value === 'string' && value.length >= 1 && value.length <= max;

// ---- Recipients --------------------------------------------------------------------------------

const NUMBER_TEXT = 'a telephone number of E.164 with its country code, as in +6281234567890; ' +
  'numbers in national form, such as 0812…, need the setting countryCode';
/** The option. */
const COUNTRY_CODE = is.text("of numbers that begin with a 0, as in '62'", {
  pattern: /^[1-9]\d{0,2}$/, expected: "the digits of a country code, as in '62'",
});
const NUMBER = /^\+?([1-9]\d{6,14})$/;
// What people write between the digits, and what programs copy with them.
const BETWEEN = /[\p{Zs}\p{Cf}\p{Pd}().[\]]/gu;
const NUMBER_CHARACTERS_MAX = 60;
// A 0 that is dialled only within the country: `+62 (0)812…`, and for Indonesia also `+62 0812…`.
const ZERO_IN_BRACKETS = /^((?:\+|00)[\d ]{1,5})[([]0[)\]]/;
const ZERO_OF_INDONESIA = /^\+?620+(?=[1-9])/;
const CHAT = new RegExp('^(status@broadcast|' +
  '\\d{5,20}(-\\d{5,20})?@(c\\.us|g\\.us|s\\.whatsapp\\.net|lid|newsletter))$');
// The device of a person that Baileys names behind the number. Messages go to all devices.
const DEVICE = /^(\d{5,20}):\d{1,3}@(s\.whatsapp\.net|lid)$/;
const CHAT_TEXT = `${NUMBER_TEXT}, or a chat of WhatsApp's`;

/**
 * The digits of a number as people write it; undefined if it is none, or if its country is not
 * certain.
 * @param {unknown} value
 * @param {string} [countryCode] of numbers that begin with one 0, as in '62'
 */
function digitsOf (value, countryCode) {
  if (typeof value !== 'string' || value.length > NUMBER_CHARACTERS_MAX) return undefined;
  const digits = value.replace(/^ +/, '').replace(ZERO_IN_BRACKETS, '$1').replace(BETWEEN, '')
    .replace(/^00/, '+');
  if (countryCode === undefined || digits.startsWith('+')) return international(digits);
  if (digits.startsWith('0')) return international(countryCode + digits.slice(1));
  return digits.startsWith(countryCode) ? international(digits) : undefined;
}

const international = digits => NUMBER.exec(digits.replace(ZERO_OF_INDONESIA, '62'))?.[1];

/** The stored form of a number, such as +6281234567890; other values stay as they are. */
function numberOf (value, countryCode) {
  const digits = digitsOf(value, countryCode);
  return digits === undefined ? value : `+${digits}`;
}

/** A chat as it is, or that of a number in the domain; undefined if it is neither. */
function chatOf (value, domain, countryCode) {
  if (typeof value !== 'string') return undefined;
  const chat = value.replace(DEVICE, '$1@$2');
  if (CHAT.test(chat)) return chat;
  const digits = digitsOf(value, countryCode);
  return digits === undefined ? undefined : `${digits}@${domain}`;
}

// ---- Messages of the Cloud API -----------------------------------------------------------------

const BODY_CHARACTERS_MAX = 4096;
const REFERENCE_CHARACTERS_MAX = 512;
const MESSAGE_BYTES_MAX = 1 << 16;
const TYPES = ['text', 'template', 'image', 'audio', 'video', 'document', 'sticker', 'location',
  'contacts', 'interactive', 'reaction'];
// Those that are a file, uploaded before or somewhere in the web.
const FILE_TYPES = new Set(['image', 'audio', 'video', 'document', 'sticker']);

function checkFile (faults, type, { id, link }) {
  if ((id === undefined) === (link === undefined)) {
    faults.add(type, 'an object with either id or link', { id, link });
  } else if (id !== undefined && !isText(id)) {
    faults.add(`${type}.id`, 'the id of an upload', id);
  } else if (link !== undefined && !(isText(link) && /^https?:/.test(link))) {
    faults.add(`${type}.link`, 'an http or https address', link);
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
  if (FILE_TYPES.has(type)) checkFile(faults, type, content);
  if (type === 'text' && !isText(content.body, BODY_CHARACTERS_MAX)) {
    faults.add('text.body', `1 to ${BODY_CHARACTERS_MAX} characters`, content.body);
  }
  if (type === 'template') {
    if (!/^\w{1,512}$/.test(content.name)) {
      faults.add('template.name', 'a name of A-Z a-z 0-9 _', content.name);
    }
    if (!isText(content.language?.code, 20)) {
      faults.add('template.language.code', 'a language, as in id or en_US', content.language?.code);
    }
  }
}

function jsonOf (message, fields, faults) {
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

/** Checks a message of the Cloud API. Returns { recipient, reference, body: its JSON }. */
function readCloudMessage (message, countryCode) {
  const faults = faultsOfMessage(message);
  const recipient = digitsOf(message.to, countryCode);
  if (recipient === undefined) faults.add('to', NUMBER_TEXT, message.to);
  checkContent(faults, message);
  const reference = message.biz_opaque_callback_data ?? crypto.randomUUID();
  if (!isText(reference, REFERENCE_CHARACTERS_MAX)) {
    faults.add('biz_opaque_callback_data', `1 to ${REFERENCE_CHARACTERS_MAX} characters`,
      reference);
  }
  const body = jsonOf(message, { to: recipient, biz_opaque_callback_data: reference }, faults);
  faults.throwIfAny();
  return { recipient, reference, body };
}

// ---- Files for the Cloud API -------------------------------------------------------------------

// What the API takes of the largest kind, a document.
const FILE_BYTES_MAX = 100 * 1024 * 1024;
const FILENAME_CHARACTERS_MAX = 240;
const MEDIA_TYPE = /^[a-z]+\/[a-z0-9][\w.+-]{0,100}(; ?codecs=[\w.,-]{1,100})?$/;
// Without characters that would end the header in which the name stands.
const FILENAME = /^[^\u0000-\u001f\u007f"\\/]+$/;

function checkFileData (faults, { data, type, filename }) {
  if (!(data instanceof Uint8Array) || data.length === 0 || data.length > FILE_BYTES_MAX) {
    faults.add('data', `a Buffer or Uint8Array of 1 to ${FILE_BYTES_MAX} bytes`,
      data instanceof Uint8Array ? data.length : data);
  }
  if (typeof type !== 'string' || !MEDIA_TYPE.test(type)) {
    faults.add('type', 'a media type such as image/png', type);
  }
  if (filename !== undefined) checkFilename(faults, filename);
}

function checkFilename (faults, filename) {
  if (isText(filename, FILENAME_CHARACTERS_MAX) && FILENAME.test(filename)) return;
  faults.add('filename', `1 to ${FILENAME_CHARACTERS_MAX} characters without " \\ /`, filename);
}

/** A form of multipart/form-data with one file: { body, contentType }. */
function formOf (fields, { data, type, filename }) {
  const boundary = `sekering-${crypto.randomUUID()}`;
  const head = Object.entries(fields).map(([name, value]) => `--${boundary}\r\n` +
    `Content-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`).join('') +
    `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${filename}"\r\n` +
    `Content-Type: ${type}\r\n\r\n`;
  return {
    body: Buffer.concat([Buffer.from(head), data, Buffer.from(`\r\n--${boundary}--\r\n`)]),
    contentType: `multipart/form-data; boundary=${boundary}`,
  };
}

/** Checks a file for uploadMedia(). Returns { body, contentType } of multipart/form-data. */
function readUpload (media) {
  const { data, type, filename = 'file' } = media ?? {};
  const faults = new Faults('uploadMedia');
  checkFileData(faults, { data, type, filename });
  faults.throwIfAny();
  return formOf({ messaging_product: 'whatsapp', type }, { data, type, filename });
}

// ---- Messages of Green API ---------------------------------------------------------------------

const GREEN_CHARACTERS_MAX = 20_000;
const URL_CHARACTERS_MAX = 4096;

/** The parts of a message that is a file: { method, fields, file }. */
function greenFileOf (faults, { url, data, type, filename, caption }) {
  if (caption !== undefined && !isText(caption, GREEN_CHARACTERS_MAX)) {
    faults.add('caption', `1 to ${GREEN_CHARACTERS_MAX} characters`, caption);
  }
  // The extension decides how the file is shown.
  if (!/[^.]\.[A-Za-z0-9]{1,10}$/.test(filename)) {
    faults.add('filename', 'a name with an extension, as in tickets.pdf', filename);
  } else checkFilename(faults, filename);
  if (url === undefined) {
    checkFileData(faults, { data, type });
    return { method: 'sendFileByUpload', fields: { caption }, file: { data, type, filename } };
  }
  const isAddress = isText(url, URL_CHARACTERS_MAX) && /^https?:\/\//.test(url) &&
    URL.canParse(url);
  if (!isAddress) faults.add('url', 'an http or https address', url);
  if (data !== undefined) faults.add('data', 'no data beside a url', data);
  return { method: 'sendFileByUrl', fields: { urlFile: url, fileName: filename, caption } };
}

function greenTextOf (faults, { message }) {
  if (!isText(message, GREEN_CHARACTERS_MAX)) {
    faults.add('message', `1 to ${GREEN_CHARACTERS_MAX} characters`, message);
  }
  return { method: 'sendMessage', fields: { message } };
}

/** Checks a message of Green API. Returns { method, recipient, reference, body, contentType? }. */
function readGreenMessage (message, countryCode) {
  const faults = faultsOfMessage(message);
  const { to, url, data, quotedMessageId, reference = crypto.randomUUID() } = message;
  const recipient = chatOf(to, 'c.us', countryCode);
  if (recipient === undefined) faults.add('to', CHAT_TEXT, to);
  const { method, fields, file } = url === undefined && data === undefined
    ? greenTextOf(faults, message) : greenFileOf(faults, message);
  if (quotedMessageId !== undefined && typeof quotedMessageId !== 'string') {
    faults.add('quotedMessageId', 'a text', quotedMessageId);
  }
  faults.throwIfAny();
  const content = { chatId: recipient, ...fields, quotedMessageId };
  const form = file === undefined ? { body: JSON.stringify(content) }
    : formOf(JSON.parse(JSON.stringify({ ...content, fileName: file.filename })), file);
  return { method, recipient, reference, ...form };
}

const MESSAGE_ID = /^[!-~]{1,512}$/;

/** Checks the id of a message that somebody has sent to us. */
function checkMessageId (option, id) {
  if (typeof id === 'string' && MESSAGE_ID.test(id)) return;
  throw invalidOption(option, 'the id of a message', id);
}

/** The chat of Green API that is meant. */
function readChat (option, value, countryCode) {
  const chat = chatOf(value, 'c.us', countryCode);
  if (chat === undefined) throw invalidOption(option, CHAT_TEXT, value);
  return chat;
}

// ---- Messages of sessions ----------------------------------------------------------------------

const ID = /^[\w.:@+-]{1,128}$/;
const ID_TEXT = '1 to 128 characters of A-Z a-z 0-9 _ . : @ + -';

const isId = id => typeof id === 'string' && ID.test(id);

/** Checks the id of an instance. */
function checkId (id) {
  if (!isId(id)) throw invalidOption('id', ID_TEXT, id);
}

/** Checks a message of a session. Returns the chat that it is for. */
function readSessionMessage (id, to, content, countryCode) {
  const faults = new Faults('send');
  if (!isId(id)) faults.add('id', ID_TEXT, id);
  const chat = chatOf(to, 's.whatsapp.net', countryCode);
  if (chat === undefined) faults.add('to', CHAT_TEXT, to);
  if (!isText(content) && (content === null || typeof content !== 'object')) {
    faults.add('content', 'an object or a text', content);
  }
  faults.throwIfAny();
  return chat;
}

/** Checks the key of a message to a session. Returns { chat, id, participant?, fromMe }. */
function readSessionKey (id, key) {
  const faults = new Faults('markRead');
  if (!isId(id)) faults.add('id', ID_TEXT, id);
  // Baileys names the chat remoteJid, whatsapp-web.js remote.
  const { id: messageId, remoteJid, remote = remoteJid, participant } = key ?? {};
  const chat = chatOf(isObject(remote) ? remote._serialized : remote, 's.whatsapp.net');
  if (chat === undefined) faults.add('key.remoteJid', CHAT_TEXT, remote);
  if (typeof messageId !== 'string' || !MESSAGE_ID.test(messageId)) {
    faults.add('key.id', 'the id of a message', messageId);
  }
  faults.throwIfAny();
  return { chat, id: messageId, fromMe: false, ...participant && { participant } };
}

/** The same function, but a member of the message that cannot be read is a fault of the message. */
const reader = (call, path, look) => (input, ...rest) =>
  readInput(call, path, () => look(input, ...rest));

module.exports = {
  COUNTRY_CODE, checkId, checkMessageId, numberOf, readChat,
  readCloudMessage: reader('send', 'message', readCloudMessage),
  readGreenMessage: reader('send', 'message', readGreenMessage), readSessionMessage,
  readSessionKey: (id, key) => readInput('markRead', 'key', () => readSessionKey(id, key)),
  readUpload: reader('uploadMedia', 'media', readUpload),
};
