'use strict';

// The TCP proxy itself, in front of a server that answers each line with the same line.

const { execFile } = require('node:child_process');
const { once } = require('node:events');
const net = require('node:net');
const path = require('node:path');
const { promisify } = require('node:util');

const { startTcpProxy } = require('../../lib/testing');

const opened = [];
afterEach(async () => {
  for (const thing of opened.splice(0)) await thing.close();
});

/** A server that echoes, and remembers what it got from whom and how connections ended. */
async function startEcho () {
  const got = [];
  const server = net.createServer({ allowHalfOpen: true }, socket => {
    const one = { text: '', end: undefined };
    got.push(one);
    socket.on('data', chunk => {
      one.text += chunk;
      socket.write(chunk);
    });
    socket.on('end', () => {
      one.end ??= 'end';
      socket.end();
    });
    socket.on('error', error => { one.end = error.code; });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  opened.push({ close: () => new Promise(resolve => { server.close(resolve); }) });
  return { got, port: server.address().port };
}

async function start (faults) {
  const echo = await startEcho();
  const proxy = await startTcpProxy({ target: echo.port, faults });
  opened.unshift(proxy);
  return { echo, proxy };
}

/** Sends a text, and tells what came back by the time the connection was over. */
async function talk (proxy, text, { end = true } = {}) {
  const socket = net.connect({ port: proxy.port, host: proxy.host, allowHalfOpen: true });
  let back = '';
  let code;
  socket.on('data', chunk => { back += chunk; });
  socket.on('error', error => { code = error.code; });
  socket.on('end', () => socket.end());
  socket.write(text);
  if (end) socket.end();
  await new Promise(resolve => { socket.on('close', resolve); });
  return { back, code };
}

test('passes everything on, both ways, and the ends too', async () => {
  const { echo, proxy } = await start();
  const text = 'x'.repeat(3 << 20);
  expect((await talk(proxy, text)).back).toHaveLength(text.length);
  expect(echo.got[0]).toMatchObject({ end: 'end' });
  expect(proxy.counts).toEqual({ connections: 1, cuts: 0 });
});

test('cutUp lets exactly so many bytes through', async () => {
  const { echo, proxy } = await start({ cutUp: 5 });
  await talk(proxy, 'hello world', { end: false });
  expect(echo.got[0].text).toBe('hello');
  expect(proxy.counts.cuts).toBe(1);
});

test('cutDown likewise', async () => {
  const { echo, proxy } = await start({ cutDown: 5 });
  expect((await talk(proxy, 'hello world', { end: false })).back).toBe('hello');
  expect(echo.got[0].text).toBe('hello world');
});

test('reset resets', async () => {
  const { proxy } = await start({ cutUp: 0, reset: true });
  expect((await talk(proxy, 'x', { end: false })).code).toBe('ECONNRESET');
  proxy.set({ refuse: true, reset: true });
  expect((await talk(proxy, 'x', { end: false })).code).toMatch(/ECONNRESET|EPIPE/);
});

test('dropAnswers swallows answers', async () => {
  const { echo, proxy } = await start({ dropAnswers: true });
  expect((await talk(proxy, 'hello')).back).toBe('');
  expect(echo.got[0].text).toBe('hello');
});

test('halfClose ends one direction, and the other goes on', async () => {
  const { echo, proxy } = await start({ halfClose: 'up', cutUp: 5 });
  expect((await talk(proxy, 'hello world', { end: false })).back).toBe('hello');
  expect(echo.got[0]).toEqual({ text: 'hello', end: 'end' });
});

test('delayMs delays', async () => {
  const { proxy } = await start({ delayMs: [30, 40] });
  const began = performance.now();
  expect((await talk(proxy, 'hello')).back).toBe('hello');
  expect(performance.now() - began).toBeGreaterThan(55);
});

test('a function tells for each connection, and cutAll cuts what is there', async () => {
  const { proxy } = await start(connection => (connection === 1 ? { cutDown: 0 } : undefined));
  expect((await talk(proxy, 'one')).back).toBe('');
  expect((await talk(proxy, 'two')).back).toBe('two');
  const waiting = talk(proxy, 'three', { end: false });
  while (proxy.counts.connections < 3) await new Promise(resolve => { setImmediate(resolve); });
  proxy.cutAll();
  await waiting;
  expect(proxy.counts.cuts).toBe(2);
});

test('a reset while an end is being sent does not keep the process alive for ever', async () => {
  const program = `
    const { once } = require('node:events');
    const net = require('node:net');
    const { startTcpProxy } = require('./lib/testing');
    (async () => {
      const target = net.createServer(socket => socket.on('error', () => {}).resume());
      await once(target.listen(0, '127.0.0.1'), 'listening');
      const proxy = await startTcpProxy({
        target: target.address().port, faults: { reset: true },
      });
      const client = net.connect(proxy.port, '127.0.0.1').on('error', () => {});
      while (proxy.counts.connections < 1) await new Promise(setImmediate);
      const { end } = net.Socket.prototype;
      net.Socket.prototype.end = function (...args) {
        end.apply(this, args);
        if (this === client) return this;
        net.Socket.prototype.end = end;
        proxy.cutAll(); // It has just passed the end on.
        return this;
      };
      client.end();
      await new Promise(resolve => client.once('close', resolve)); // After an error.
      await proxy.close();
      target.close();
      console.log('closed');
    })();`;
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', program],
    { cwd: path.join(__dirname, '..', '..'), timeout: 120_000, killSignal: 'SIGKILL' });
  expect(stdout).toBe('closed\n');
});

test('a server that is not there', async () => {
  const proxy = await startTcpProxy({ target: 'http://127.0.0.1:1' });
  opened.push(proxy);
  expect((await talk(proxy, 'x')).back).toBe('');
});

test.each([
  [{}], [{ target: 'nowhere' }], [{ target: 1, faults: { cutUp: -1 } }],
  [{ target: 1, faults: { delayMs: 'x' } }], [{ target: 1, faults: { halfClose: 'both' } }],
  [{ target: 1, faults: { reset: 1 } }], [{ target: 1, faults: { cutup: 1 } }], [undefined],
  [{ target: 1, fault: null }],
])('rejects the options %j', async options => {
  await expect(startTcpProxy(options)).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
});
