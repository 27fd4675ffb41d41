'use strict';

// Files for the Cloud API: checked, and in the form in which they are uploaded.

const crypto = require('node:crypto');

const { Faults } = require('./input');

// What the API takes of the largest kind, a document.
const MEDIA_BYTES_MAX = 100 * 1024 * 1024;
const FILENAME_CHARACTERS_MAX = 240;
const MEDIA_TYPE = /^[a-z]+\/[a-z0-9][\w.+-]{0,100}(; ?codecs=[\w.,-]{1,100})?$/;
// None that would end the header in which the name stands.
const FILENAME = /^[^\u0000-\u001f\u007f"\\/]+$/;

/** Types of messages that are a file, uploaded before or somewhere in the web. */
const MEDIA_TYPES = new Set(['image', 'audio', 'video', 'document', 'sticker']);

/** The content of a message that is a file. */
function checkFile (faults, type, { id, link }) {
  const isText = value => typeof value === 'string' && value !== '';
  if ((id === undefined) === (link === undefined)) {
    faults.add(type, 'an object with either id or link', { id, link });
  } else if (id !== undefined && !isText(id)) {
    faults.add(`${type}.id`, 'the id of an upload', id);
  } else if (link !== undefined && !(isText(link) && /^https?:/.test(link))) {
    faults.add(`${type}.link`, 'an http or https address', link);
  }
}

function checkUpload (media) {
  const faults = new Faults('uploadMedia');
  const { data, type, filename } = media ?? {};
  if (!(data instanceof Uint8Array) || data.length === 0 || data.length > MEDIA_BYTES_MAX) {
    faults.add('data', `a Buffer or Uint8Array of 1 to ${MEDIA_BYTES_MAX} bytes`,
      data instanceof Uint8Array ? data.length : data);
  }
  if (typeof type !== 'string' || !MEDIA_TYPE.test(type)) {
    faults.add('type', 'a media type such as image/png', type);
  }
  const named = typeof filename === 'string' && filename.length <= FILENAME_CHARACTERS_MAX &&
    FILENAME.test(filename);
  if (filename !== undefined && !named) {
    faults.add('filename', `1 to ${FILENAME_CHARACTERS_MAX} characters without " \\ /`, filename);
  }
  faults.throwIfAny();
}

/**
 * @param {{ data: Uint8Array, type: string, filename?: string }} media
 * @returns {{ body: Buffer, contentType: string }} multipart/form-data
 * @throws {TypeError} ERR_INVALID_INPUT
 */
function readUpload (media) {
  checkUpload(media);
  const { data, type, filename = 'file' } = media;
  const boundary = `sekering-${crypto.randomUUID()}`;
  const field = (name, value) =>
    `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
  const head = field('messaging_product', 'whatsapp') + field('type', type) +
    `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${filename}"\r\n` +
    `Content-Type: ${type}\r\n\r\n`;
  return {
    body: Buffer.concat([Buffer.from(head), data, Buffer.from(`\r\n--${boundary}--\r\n`)]),
    contentType: `multipart/form-data; boundary=${boundary}`,
  };
}

module.exports = { MEDIA_TYPES, checkFile, readUpload };
