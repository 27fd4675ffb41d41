'use strict';

// A WhatsApp server with a session for each customer, in Express. A failing session is stopped by
// its own breaker; the others go on. A fake stands in for the sockets.

const express = require('express');

const { createAdminRouter, createHealthRouter, problemHandler } = require('sekering/http');
const { createHealth } = require('sekering/gateway');
const { SessionPool } = require('sekering/whatsapp');
const { startSessionFake } = require('sekering/testing');

const TOKEN = 'a-token-of-an-operator';
const sockets = startSessionFake();

// 15 failures in 5 minutes open the breaker of an instance for 10 minutes: presets.whatsappSession.
const pool = new SessionPool({
  connect: sockets.connect, // Yours: async (id, { signal, fresh }) => makeWASocket(...)
  whenOpen: 'object',
});
pool.breakers.on('open', id => console.log(`${id}: the breaker is open`));
pool.breakers.on('close', id => console.log(`${id}: the breaker is closed`));

const app = express();
app.use(createHealthRouter({ health: createHealth(), sessions: pool }));
app.use(createAdminRouter({
  sessions: pool, tokens: [{ name: 'operations', role: 'operate', token: TOKEN }],
}));
app.post('/send/:id', express.json(), async (req, res) => {
  const { to, text } = req.body;
  const sent = await pool.send(req.params.id, to, { text });
  if (sent.circuit_breaker) res.status(503).json({ circuit_breaker: true });
  else res.json({ sent: sent.key.id });
});
app.post('/qr/:id', async (req, res) => {
  res.json(await pool.requestQr(req.params.id)); // Resets the breaker, too.
});
app.use(problemHandler({ onError: () => {} }));

async function main () {
  const server = await new Promise(resolve => {
    const listening = app.listen(0, '127.0.0.1', () => resolve(listening));
  });
  const call = async (method, path, body) => {
    const response = await fetch(`http://127.0.0.1:${server.address().port}${path}`, {
      method, body: JSON.stringify(body),
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${TOKEN}` },
    });
    return { status: response.status, body: await response.json() };
  };
  const send = id => call('POST', `/send/${id}`, { to: '+6281234567890', text: 'Hello' });

  console.log(await send('shop-1'));
  sockets.set('shop-2', 'send-rejects');
  for (let i = 0; i < 15; i++) await send('shop-2');
  console.log(await send('shop-2'));
  console.log(await send('shop-1'));

  const { body } = await call('GET', '/circuit-breaker-status/shop-2');
  console.log(body.circuit_breaker, body.recent_failures);
  const { total_instances: instances, health_score: score } = (await call('GET', '/health')).body;
  console.log({ instances, score });

  sockets.set('shop-2', null);
  console.log((await call('POST', '/reset-circuit-breaker/shop-2')).status);
  console.log(await send('shop-2'));

  pool.close();
  server.close();
}

main();
