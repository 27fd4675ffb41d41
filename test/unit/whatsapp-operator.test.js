'use strict';

// What an operator reads when a session fails.

const { operatorMessage } = require('../../lib/clients/whatsapp');

const coded = (message, code) => Object.assign(new Error(message), { code });
test.each([
  [coded('connect ETIMEDOUT 157.240.1.1:443', 'ETIMEDOUT'), /did not answer in time.*network/],
  [new Error('Timed out after 20000ms'), /did not answer in time/],
  [Object.assign(new Error('x'), { output: { statusCode: 408 } }), /did not answer in time/],
  [new DOMException('late', 'TimeoutError'), /did not answer in time/],
  [new Error('WebSocket Error (read ECONNRESET)'), /\(WebSocket\) failed.*proxy/],
  [new Error('Connection Closed'), /\(WebSocket\) failed/],
  [coded('socket hang up', 'ECONNRESET'), /\(WebSocket\) failed/],
  [new Error('Unable to create session'), /could not be created.*QR code/],
  [new Error('unable to create a session for shop-1'), /could not be created/],
  [coded('getaddrinfo ENOTFOUND web.whatsapp.com', 'ENOTFOUND'), /looked up.*DNS/],
  [Object.assign(new Error('Logged out'), { output: { statusCode: 401 } }), /ended the session/],
  [coded('Breaker is open', 'EOPENBREAKER'), /circuit breaker is open.*reset it by hand/],
  [new Error('outer', { cause: new Error('WebSocket Error ()') }), /\(WebSocket\) failed/],
  [new Error('something\nelse'), /^Instance shop-1: failed: something else$/],
  ['just text', /failed: just text/], [undefined, /unknown error/], [null, /unknown error/]
])('%p', (error, expected) => {
  expect(operatorMessage(error, 'shop-1')).toMatch(expected);
  expect(operatorMessage(error, 'shop-1')).toMatch(/^Instance shop-1: [^\n]+$/);
});
