'use strict';

// A mail server of few words, for replies that a real one gives only when something is wrong.

const net = require('node:net');

const AUTH = { user: 'shop', pass: 'planted-secret-5309' };
const LETTER = { from: 'shop@example.com', to: 'ann@example.com', subject: 'x', text: 'x' };

const opened = [];
const keep = thing => { opened.push(thing); return thing; };

/** Closes what the test has opened, the newest first. */
async function closeAll () {
  for (const thing of opened.splice(0).reverse()) await thing.close();
}

const FINE = {
  greeting: '220 hello', EHLO: '250-hello\r\n250 AUTH PLAIN LOGIN XOAUTH2',
  STARTTLS: '502 not here', AUTH: '235 welcome', MAIL: '250 fine', RCPT: '250 fine',
  DATA: '354 go on', body: '250 taken',
};

/**
 * Starts a server that answers each stage as `replies` says: greeting, EHLO, STARTTLS, AUTH, MAIL,
 * RCPT, DATA (the command), body (the mail itself). Both may be changed while it runs.
 * @param {Record<string, string | ((line: string) => string)>} [replies]
 * @returns {Promise<{ host: string, port: number, replies: object, lines: string[],
 *   taken: string[], sockets: Set<net.Socket>, connections: number, close: () => Promise<void> }>}
 *   `lines`: all lines it got, except mails; `taken`: the mails; `sockets`: those that are open;
 *   `connections`: how many there were
 */
async function start (replies = {}) {
  const sockets = new Set();
  const it = { host: '127.0.0.1', replies, lines: [], taken: [], sockets, connections: 0 };
  const replyTo = (stage, line) => {
    const reply = it.replies[stage] ?? FINE[stage];
    return typeof reply === 'function' ? reply(line) : reply;
  };
  const server = net.createServer(socket => {
    sockets.add(socket);
    it.connections += 1;
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    socket.setEncoding('utf8');
    const say = text => {
      socket.write(`${text}\r\n`);
      if (text.startsWith('421')) socket.end();
    };
    let rest = '';
    let body = null;
    const read = line => {
      if (body !== null) {
        if (line !== '.') {
          body.push(line);
          return;
        }
        const reply = replyTo('body', body.join('\n'));
        if (reply.startsWith('2')) it.taken.push(body.join('\n'));
        body = null;
        say(reply);
        return;
      }
      it.lines.push(line);
      const stage = line.split(' ', 1)[0].toUpperCase();
      const reply = replyTo(stage, line) ?? '250 fine';
      if (stage === 'DATA' && reply.startsWith('354')) body = [];
      say(reply);
    };
    socket.on('data', chunk => {
      const parts = (rest + chunk).split('\r\n');
      rest = parts.pop();
      parts.forEach(read);
    });
    say(replyTo('greeting', ''));
  });
  await new Promise(resolve => { server.listen(0, it.host, resolve); });
  it.port = server.address().port;
  it.close = () => new Promise(resolve => {
    server.close(resolve);
    for (const socket of sockets) socket.destroy();
  });
  return keep(it);
}

module.exports = { AUTH, LETTER, closeAll, keep, start };
