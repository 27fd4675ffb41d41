'use strict';

// Whom a message is for: telephone numbers of E.164, and the chats that WhatsApp names itself; and
// by which instance it goes.

const { invalidOption } = require('../base/errors');
const { Faults } = require('./input');

const ID = /^[\w.:@+-]{1,128}$/;
const ID_TEXT = '1 to 128 characters of A-Z a-z 0-9 _ . : @ + -';

const NUMBER_TEXT = 'a telephone number of E.164 with its country code, as in +6281234567890';
// No country code begins with 0, so that a number written as at home is found out.
const NUMBER = /^\+?([1-9]\d{6,14})$/;
// What people write between the digits.
const BETWEEN = /[ \u00a0\u202f().[\]\u2010-\u2015-]/g;
const NUMBER_CHARACTERS_MAX = 40;
const CHAT = /^(\d{5,20}(-\d{5,20})?@(c\.us|g\.us|s\.whatsapp\.net|lid)|status@broadcast)$/;
const CHAT_TEXT = `${NUMBER_TEXT}, or a chat of WhatsApp's`;

/** The digits of a number, as it may be written by hand; undefined if it is none. */
function digitsOf (value) {
  if (typeof value !== 'string' || value.length > NUMBER_CHARACTERS_MAX) return undefined;
  return NUMBER.exec(value.replace(BETWEEN, ''))?.[1];
}

/** A chat of WhatsApp's: as it is, or that of a number in the domain; undefined if it is none. */
function chatOf (value, domain) {
  if (typeof value !== 'string') return undefined;
  if (CHAT.test(value)) return value;
  const digits = digitsOf(value);
  return digits === undefined ? undefined : `${digits}@${domain}`;
}

const isId = id => typeof id === 'string' && ID.test(id);

/** The id of an instance. */
function checkId (id) {
  if (!isId(id)) throw invalidOption('id', ID_TEXT, id);
}

/**
 * Checks a message for a session.
 * @returns {string} the chat that it is for
 * @throws {TypeError} ERR_INVALID_INPUT
 */
function checkMessage (id, to, content) {
  const faults = new Faults('send');
  if (!isId(id)) faults.add('id', ID_TEXT, id);
  const chat = chatOf(to, 's.whatsapp.net');
  if (chat === undefined) faults.add('to', CHAT_TEXT, to);
  if (content === null || typeof content !== 'object') faults.add('content', 'an object', content);
  faults.throwIfAny();
  return chat;
}

module.exports = { checkId, checkMessage, CHAT_TEXT, NUMBER_TEXT, chatOf, digitsOf };
